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
    /// As a line.
    pub(super) fn line(&self, start: Moment, style: Style) -> String {
        let (by, colour) = match self.by {
            By::Demo => ("demo", Paint::Yellow),
            By::Weir(Level::Warn) => ("weir", Paint::Red),
            By::Weir(_) if self.text.contains(" health=down") => ("weir", Paint::Red),
            By::Weir(Level::Info) => ("weir", Paint::Green),
        };
        let at = seconds(self.at.since(start));
        format!("{at:>8}  {}  {}\n", paint(style, colour, by), self.text)
    }
}
