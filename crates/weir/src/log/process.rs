//! The process's own log: one thread that writes what the others say.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError, mpsc::Receiver},
    thread::JoinHandle,
};

use weir_model::{
    log::{LogLevel, ProcessLog, ProcessLogFormat},
    template::Escape,
};
use weir_proxy::telemetry::{Level, LogLine, timestamp};

/// What writes one line.
type Write1 = Box<dyn FnMut(&LogLine, ProcessLogFormat) + Send>;

/// Where log lines go.
pub struct Sink(Write1);

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sink")
    }
}

impl Sink {
    /// Nowhere.
    pub fn none() -> Self {
        Self(Box::new(|_, _| {}))
    }

    /// To standard error, a line each.
    pub fn stderr() -> Self {
        Self::lines(io::stderr())
    }

    /// To a writer, a line each, as `log.format` says.
    pub fn lines(mut out: impl Write + Send + 'static) -> Self {
        Self(Box::new(move |line, format| {
            let text = match format {
                ProcessLogFormat::Text => text(line),
                ProcessLogFormat::Json => json(line),
            };
            // A log that cannot be written must not stop traffic.
            let _ = out.write_all(&text);
        }))
    }

    /// To a function.
    pub fn function(mut function: impl FnMut(&LogLine) + Send + 'static) -> Self {
        Self(Box::new(move |line, _| function(line)))
    }
}

const fn word(level: Level) -> &'static str {
    match level {
        Level::Warn => "warn",
        Level::Info => "info",
    }
}

/// A line for people, with its line end.
fn text(line: &LogLine) -> Vec<u8> {
    format!("{} {} {}\n", timestamp(line.at), word(line.level), line.text).into_bytes()
}

/// A line for machines: time, level and message, and the facts of a failure by name.
fn json(line: &LogLine) -> Vec<u8> {
    let mut out =
        format!("{{\"time\":\"{}\",\"level\":\"{}\"", timestamp(line.at), word(line.level)).into_bytes();
    let message = line.fields.iter().all(|(name, _)| *name != "message");
    let message = message.then_some(("message", line.text.as_str()));
    let fields = line.fields.iter().map(|(name, value)| (*name, value.as_str()));
    for (name, value) in message.into_iter().chain(fields) {
        out.extend_from_slice(format!(",\"{name}\":\"").as_bytes());
        Escape::Json.put(value.as_bytes(), &mut out);
        out.push(b'"');
    }
    out.extend_from_slice(b"}\n");
    out
}

/// The thread that writes the log; ends when nobody can say anything any more.
#[derive(Debug)]
pub(crate) struct LogWriter {
    thread: Option<JoinHandle<()>>,
    settings: Arc<Mutex<ProcessLog>>,
}

impl LogWriter {
    pub(crate) fn start(lines: Receiver<LogLine>, mut sink: Sink, settings: ProcessLog) -> io::Result<Self> {
        let settings = Arc::new(Mutex::new(settings));
        let current = settings.clone();
        let thread = std::thread::Builder::new().name("weir-log".to_owned()).spawn(move || {
            for line in lines {
                let settings = *current.lock().unwrap_or_else(PoisonError::into_inner);
                if line.level == Level::Warn || settings.level == LogLevel::Info {
                    (sink.0)(&line, settings.format);
                }
            }
        });
        Ok(Self { thread: Some(thread?), settings })
    }

    /// Writes as these settings say from now on.
    pub(crate) fn change(&self, settings: ProcessLog) {
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = settings;
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            super::join(thread);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_say_the_same() {
        let line = LogLine {
            at: (0, 0),
            level: Level::Warn,
            text: "failed cause=no_route client=1.2.3.4:5: no route of the listener matches".into(),
            fields: vec![
                ("message", "no route".into()),
                ("cause", "no_route".into()),
                ("request", "\"\n".into()),
            ],
        };
        assert_eq!(
            String::from_utf8(text(&line)).unwrap(),
            "1970-01-01T00:00:00.000Z warn failed cause=no_route client=1.2.3.4:5: no route of the listener matches\n"
        );
        assert_eq!(
            String::from_utf8(json(&line)).unwrap(),
            "{\"time\":\"1970-01-01T00:00:00.000Z\",\"level\":\"warn\",\"message\":\"no route\",\
             \"cause\":\"no_route\",\"request\":\"\\\"\\n\"}\n"
        );
        let plain = LogLine { at: (0, 0), level: Level::Info, text: "a\nb".into(), fields: Vec::new() };
        assert!(
            String::from_utf8(json(&plain)).unwrap().ends_with("\"level\":\"info\",\"message\":\"a\\nb\"}\n")
        );
    }
}
