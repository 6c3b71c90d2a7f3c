//! The process's own log: one thread that writes what the others say.

use std::{
    io::{self, Write},
    sync::mpsc::Receiver,
    thread::JoinHandle,
};

use weir_proxy::telemetry::{Level, LogLine};

/// Where log lines go.
pub struct Sink(Box<dyn FnMut(&LogLine) + Send>);

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sink")
    }
}

impl Sink {
    /// Nowhere.
    pub fn none() -> Self {
        Self(Box::new(|_| {}))
    }

    /// To standard error, a line each.
    pub fn stderr() -> Self {
        Self::lines(io::stderr())
    }

    /// To a writer, a line each.
    pub fn lines(mut out: impl Write + Send + 'static) -> Self {
        Self(Box::new(move |line| {
            // A log that cannot be written must not stop traffic.
            let _ = writeln!(out, "{} {} {}", timestamp(line.at), word(line.level), line.text);
        }))
    }

    /// To a function.
    pub fn function(function: impl FnMut(&LogLine) + Send + 'static) -> Self {
        Self(Box::new(function))
    }
}

const fn word(level: Level) -> &'static str {
    match level {
        Level::Warn => "warn",
        Level::Info => "info",
    }
}

/// The thread that writes the log; ends when nobody can say anything any more.
#[derive(Debug)]
pub(crate) struct LogWriter {
    thread: Option<JoinHandle<()>>,
}

impl LogWriter {
    pub(crate) fn start(lines: Receiver<LogLine>, mut sink: Sink) -> io::Result<Self> {
        let thread = std::thread::Builder::new().name("weir-log".to_owned()).spawn(move || {
            for line in lines {
                (sink.0)(&line);
            }
        });
        Ok(Self { thread: Some(thread?) })
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// RFC 3339 in UTC with milliseconds. Days to a date as in Hinnant, "chrono-Compatible Low-Level Date Algorithms".
pub(crate) fn timestamp((seconds, micros): (u64, u32)) -> String {
    let days = (seconds / 86_400) as i64 + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", micros / 1000)
}

#[cfg(test)]
mod tests {
    use super::timestamp;

    #[test]
    fn dates_are_right() {
        assert_eq!(timestamp((0, 0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(timestamp((951_827_696, 999_999)), "2000-02-29T12:34:56.999Z");
        assert_eq!(timestamp((1_795_216_269, 5_000)), "2026-11-20T23:11:09.005Z");
    }
}
