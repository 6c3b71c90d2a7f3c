//! What is said at the end.

use std::fmt::Write as _;

use weir_control::config::Style;
use weir_model::{
    snapshot::Snapshot,
    status::HistogramView,
    time::{Millis, Moment},
};

use super::{
    backends::ZOMBIE,
    screen::{Paint, paint},
    story::Chapter,
    table::{Over, Table, millis},
    traffic::Tally,
};

/// Everything that there is to say.
pub(super) struct Summary<'a> {
    /// Columns that there are, if it matters.
    pub(super) width: Option<usize>,
    pub(super) start: Moment,
    /// When the end began.
    pub(super) end: Moment,
    pub(super) drained_for: Millis,
    /// Connections that did not finish in time.
    pub(super) cut: u64,
    pub(super) table: &'a Table,
    pub(super) tally: &'a Tally,
    pub(super) chapters: &'a [Chapter],
    pub(super) snapshot: &'a Snapshot,
}

impl Summary<'_> {
    /// As text.
    pub(super) fn text(&self, style: Style) -> String {
        let mut lines = vec![String::new()];
        let title = format!("Summary after {}", seconds(self.end.since(self.start)));
        lines.push(paint(style, Paint::Bold, &title));
        lines.push(String::new());
        lines.extend(self.table.lines(Over::All, self.width, style));
        lines.push(String::new());
        lines.extend(self.clients());
        lines.extend(self.zombie());
        lines.push(format!(
            "end      drained for {}; connections that had to be cut: {}",
            seconds(self.drained_for),
            self.cut
        ));
        lines.push(String::new());
        lines.push("Next: put your own backends into the configuration above, save it, and run".to_owned());
        lines.push("      weir check -c weir.yaml && weir run -c weir.yaml".to_owned());
        lines.join("\n") + "\n"
    }

    fn clients(&self) -> Vec<String> {
        let tally = self.tally;
        let mut requests = format!("clients  {} requests: ", tally.requests());
        for (code, count) in &tally.answered {
            // Writing to a String cannot fail.
            let _ = write!(requests, "{count} answered {code}, ");
        }
        let _ = write!(requests, "{} without an answer", tally.unanswered);
        let waited: HistogramView = self
            .snapshot
            .listeners
            .iter()
            .filter(|listener| &*listener.name == "web")
            .flat_map(|listener| listener.routes.routes())
            .flat_map(|route| &route.status)
            .flat_map(|status| status.shards.iter().map(|shard| &shard.duration))
            .collect();
        let waited = format!(
            "they waited {} ms (p50), {} ms (p99)",
            millis(waited.quantile(0.5)),
            millis(waited.quantile(0.99))
        );
        let (sessions, lines, back) = (tally.sessions, tally.lines, tally.lines_back);
        let echo = format!("{sessions} TCP connections: {back} of {lines} lines came back");
        let mut all = vec![requests];
        let bad: u64 = tally.answered.range(500..).map(|(_, count)| count).sum();
        if bad > 0 && bad == self.table.server_errors(ZOMBIE) {
            all.push(indented(&format!("each 5xx came from {ZOMBIE}, before weir had taken it out")));
        }
        all.extend([waited, echo].iter().map(|line| indented(line)));
        if let Some(failure) = &tally.first_failure {
            all.push(indented(&format!("the first failure was {failure}")));
        }
        all
    }

    fn zombie(&self) -> Vec<String> {
        let Some(chapter) = self.chapters.first() else {
            return vec!["zombie   had no time to break: that takes 3 seconds".to_owned()];
        };
        let at = |moment: Moment| seconds(moment.since(self.start));
        let mut lines = Vec::new();
        let broke = format!("zombie   broke at {}", at(chapter.broke));
        if let Some((out, why)) = &chapter.out {
            lines.push(format!("{broke}, was taken out {} later:", seconds(out.since(chapter.broke))));
            lines.push(indented(why));
        } else {
            lines.push(format!("{broke}, and was still in at the end"));
        }
        if let Some(repaired) = chapter.repaired {
            let back = chapter.back.map(|back| format!("was back {} later", seconds(back.since(repaired))));
            let back = back.unwrap_or_else(|| "was not yet back at the end".to_owned());
            lines.push(indented(&format!("was repaired at {}, {back}", at(repaired))));
        }
        if let more @ 1.. = self.chapters.len() - 1 {
            lines.push(indented(&format!("broke {more} more times")));
        }
        lines
    }
}

fn indented(line: &str) -> String {
    format!("         {line}")
}

/// A length of time as people say it.
pub(super) fn seconds(length: Millis) -> String {
    format!("{:.1} s", length.0 as f64 / 1000.0)
}
