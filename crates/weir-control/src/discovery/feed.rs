//! What a source says, and what becomes of it: handed over, or written down as a failure.

use std::{sync::Arc, time::Duration};

use weir_model::{
    discovery::Source,
    draft::{BackendDraft, Text},
    problem::{Located, Span},
    status::PoolStatus,
};

use super::{Found, Shared};
use crate::health::Log;

/// The shortest time between two questions.
const SHORTEST: Duration = Duration::from_secs(1);
/// Words of others are cut off here.
const LONGEST_SENTENCE: usize = 500;

/// The way from one source to its pool.
pub(super) struct Feed {
    pool: Arc<str>,
    pub(super) source: Arc<Source>,
    status: Arc<PoolStatus>,
    shared: Arc<Shared>,
    /// What was handed over last.
    last: Option<Vec<Entry>>,
    /// Questions in a row that came to nothing.
    failed: u32,
    /// What was said of them.
    said: String,
}

/// One backend as sources other than files know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// `ADDRESS:PORT`.
    pub(super) address: String,
    /// Its name, if that is not the address.
    pub(super) name: Option<String>,
    /// Its weight, if the source knows one.
    pub(super) weight: Option<u32>,
    /// Whether it takes traffic only when the others cannot.
    pub(super) backup: bool,
    /// Where it stands, if the source knows that.
    pub(super) zone: Option<String>,
}

impl Entry {
    /// A backend named by its address.
    pub(super) fn at(address: impl ToString) -> Self {
        Self { address: address.to_string(), name: None, weight: None, backup: false, zone: None }
    }
}

impl From<&Entry> for BackendDraft {
    fn from(entry: &Entry) -> Self {
        let text = |value: &String| Text::new(value.clone(), Span::default());
        Self {
            address: text(&entry.address),
            name: entry.name.as_ref().map(text),
            weight: entry.weight.map(|weight| Located::new(weight, Span::default())),
            backup: entry.backup.then(|| Located::new(true, Span::default())),
            zone: entry.zone.as_ref().map(text),
            ..Self::default()
        }
    }
}

impl Feed {
    /// A feed that has said nothing yet.
    pub(super) fn new(
        pool: Arc<str>,
        source: Arc<Source>,
        status: Arc<PoolStatus>,
        shared: Arc<Shared>,
    ) -> Self {
        Self { pool, source, status, shared, last: None, failed: 0, said: String::new() }
    }

    /// The time since the start of the process.
    pub(super) fn now(&self) -> weir_model::time::Moment {
        (self.shared.clock)()
    }

    /// These are all the backends there are. Handed over unless it is what was handed over last.
    pub(super) fn entries(&mut self, entries: Vec<Entry>, left_out: Vec<String>) {
        // Where none of it is used any more, a reload has let it go in the meantime.
        let is_used = self.status.discovery.found() > 0;
        if self.last.as_ref() == Some(&entries) && left_out.is_empty() && is_used {
            return self.went_well();
        }
        let backends = entries.iter().map(BackendDraft::from).collect();
        self.last = Some(entries);
        self.found(backends, left_out);
    }

    /// The same for backends in the words of the language.
    pub(super) fn found(&mut self, backends: Vec<BackendDraft>, left_out: Vec<String>) {
        self.went_well();
        self.shared.reloader.found(self.pool.clone(), Found { backends, left_out });
    }

    fn went_well(&mut self) {
        self.status.discovery.succeeded((self.shared.wall)());
        if std::mem::take(&mut self.failed) > 0 {
            self.said.clear();
            self.say(&self.shared.log, "answers again");
        }
    }

    /// Nothing came of a question: why, in one sentence without a full stop. Said once, until that changes.
    pub(super) fn failed(&mut self, sentence: &str) {
        let sentence = shortened(sentence);
        let discovery = &self.status.discovery;
        discovery.failed(&sentence);
        self.failed = self.failed.saturating_add(1);
        if self.said != sentence {
            let stays = match (discovery.is_decided(), discovery.found()) {
                (true, 1) => "the backend found before stays".to_owned(),
                (true, count) if count > 1 => format!("the {count} backends found before stay"),
                _ => "no backend was found yet".to_owned(),
            };
            self.say(&self.shared.warn, &format!("{sentence}; {stays}"));
            self.said = sentence;
        }
        // Those who wait for the first answer wait for this one no longer.
        discovery.decide();
    }

    fn say(&self, log: &Log, text: &str) {
        log(&format!("discovery: pool={} {}: {text}", self.pool, self.source));
    }

    /// How long to wait after questions that came to nothing: longer each time, but not longer than `most`.
    pub(super) fn patience(&self, most: Duration) -> Duration {
        let steps = self.failed.saturating_sub(1).min(16);
        SHORTEST.saturating_mul(1 << steps).min(most)
    }
}

/// When to ask again after an answer that may be kept so long.
pub(super) fn again_after(time_to_live: Duration, refresh: Duration) -> Duration {
    time_to_live.max(SHORTEST).min(refresh)
}

/// A sentence that fits into a log line, whoever wrote it.
fn shortened(sentence: &str) -> String {
    let mut letters = sentence.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
    let mut short: String = letters.by_ref().take(LONGEST_SENTENCE).collect();
    if letters.next().is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_live_is_kept_within_bounds() {
        let seconds = Duration::from_secs;
        for (time_to_live, refresh, expected) in [
            (seconds(5), seconds(10), seconds(5)),
            (seconds(0), seconds(10), seconds(1)),
            (seconds(3600), seconds(10), seconds(10)),
            (seconds(0), Duration::from_millis(200), Duration::from_millis(200)),
        ] {
            assert_eq!(again_after(time_to_live, refresh), expected, "{time_to_live:?} {refresh:?}");
        }
    }

    #[test]
    fn words_of_others_are_short_and_plain() {
        assert_eq!(shortened("one\ntwo\u{1b}[2J"), "one two [2J");
        let long = shortened(&"ä".repeat(10_000));
        assert_eq!(long.chars().count(), LONGEST_SENTENCE + 1);
    }
}
