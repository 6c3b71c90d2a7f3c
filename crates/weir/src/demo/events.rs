//! What happens while the demo runs, in order: weir's own log, and the hand of the demo.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use weir_control::config::Style;
use weir_model::time::Moment;
use weir_proxy::{clock, telemetry::Level};

use super::{
    screen::{Paint, paint},
    summary::seconds,
};
use crate::log::Sink;

/// Events that nobody has shown yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Events(Arc<Mutex<Vec<Event>>>);

/// Something that happened.
#[derive(Debug)]
pub(super) struct Event {
    at: Moment,
    by: By,
    text: String,
}

/// Who says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Demo,
    Weir(Level),
}

impl Events {
    /// A log that keeps its lines here.
    pub(super) fn sink(&self) -> Sink {
        let events = self.clone();
        Sink::function(move |line| events.push(By::Weir(line.level), &line.text))
    }

    /// Something that the demo itself does.
    pub(super) fn tell(&self, text: &str) {
        self.push(By::Demo, text);
    }

    fn push(&self, by: By, text: &str) {
        let event = Event { at: clock::read(), by, text: text.to_owned() };
        self.lock().push(event);
    }

    /// Forgets the rest.
    pub(super) fn keep_warnings(&self) {
        self.lock().retain(|event| event.by == By::Weir(Level::Warn));
    }

    /// All of them, once.
    pub(super) fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Event>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Event {
    /// As a line, or as several if it is wider than `width`.
    pub(super) fn text(&self, start: Moment, width: Option<usize>, style: Style) -> String {
        let (by, colour) = match self.by {
            By::Demo => ("demo", Paint::Yellow),
            By::Weir(Level::Warn) => ("weir", Paint::Red),
            By::Weir(_) if self.text.contains(" health=down") => ("weir", Paint::Red),
            By::Weir(Level::Info) => ("weir", Paint::Green),
        };
        let at = seconds(self.at.since(start));
        let margin = format!("\n{:MARGIN$}", "");
        let lines = wrap(&self.text, width.map(|width| width - MARGIN)).join(&margin);
        format!("{at:>8}  {}  {lines}\n", paint(style, colour, by))
    }
}

/// What stands before the text of an event.
const MARGIN: usize = 16;

/// Lines of at most so many characters, as long as no word is longer.
fn wrap(text: &str, width: Option<usize>) -> Vec<String> {
    let Some(width) = width else { return vec![text.to_owned()] };
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_wrapped_between_words() {
        assert_eq!(wrap("one two three", None), ["one two three"]);
        assert_eq!(wrap("one two three", Some(7)), ["one two", "three"]);
        assert_eq!(wrap("one two three", Some(2)), ["one", "two", "three"]);
    }
}
