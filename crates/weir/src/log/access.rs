//! The thread that writes the access log: takes batches of lines from the workers and puts them where they belong.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result};
use weir_model::{log::LogTarget, status::AccessLogStatus};
use weir_proxy::telemetry::{AccessQueue, AccessReceiver, Batch, Level, Voice, access_queue};

use super::{
    file::{Lines, Lost},
    syslog::Syslog,
};

/// How long a target that is not wanted any more is kept for lines that are still on their way.
const FAREWELL: Duration = Duration::from_secs(1);

/// An opened target of the access log.
#[derive(Debug)]
pub(crate) enum Target {
    Lines(Lines),
    Syslog(Box<Syslog>),
}

impl Target {
    /// Opens it. A syslog need not be there yet.
    ///
    /// # Errors
    /// If a file cannot be opened, in words.
    pub(crate) fn open(target: &LogTarget) -> Result<Self> {
        Ok(match target {
            LogTarget::Stdout => {
                Self::Lines(Lines::stdout().context("there is no standard output for `access_log`")?)
            }
            LogTarget::File(path) => Self::Lines(Lines::open(path).with_context(|| {
                format!(
                    "`access_log` cannot be written to {}; its folder must exist and be writable",
                    path.display()
                )
            })?),
            syslog => Self::Syslog(Box::new(Syslog::new(syslog.clone()))),
        })
    }

    fn write(&mut self, text: &[u8]) -> Result<(), Lost> {
        match self {
            Self::Lines(lines) => lines.write(text),
            Self::Syslog(syslog) => syslog.write(text),
        }
    }
}

/// What others want of the thread.
#[derive(Debug, Default)]
struct Wishes {
    /// Another target; inner none is none any more.
    next: Mutex<Option<Option<Target>>>,
    /// The path is to be opened again.
    reopen: AtomicBool,
}

/// The access log of the process.
#[derive(Debug)]
pub(crate) struct AccessWriter {
    /// Gone once the process stops: the thread ends with the last queue.
    queue: Option<AccessQueue>,
    wishes: Arc<Wishes>,
    thread: Option<JoinHandle<()>>,
}

impl AccessWriter {
    /// Starts the thread, with a target if there is one.
    pub(crate) fn start(target: Option<Target>, status: Arc<AccessLogStatus>, voice: Voice) -> Result<Self> {
        let (queue, receiver) = access_queue(status.clone(), voice.clone());
        let wishes = Arc::<Wishes>::default();
        let thread = Writer { target, wishes: wishes.clone(), status, voice, lost: None };
        let thread = thread::Builder::new()
            .name("weir-access-log".to_owned())
            .spawn(move || thread.run(receiver))
            .context("the thread of the access log could not be started")?;
        Ok(Self { queue: Some(queue), wishes, thread: Some(thread) })
    }

    /// The end that a worker writes to.
    pub(crate) fn queue(&self) -> Option<AccessQueue> {
        self.queue.clone()
    }

    /// Opens the path again, for whoever has renamed the file. Returns at once; what is written from then on goes to
    /// the new file.
    pub(crate) fn reopen(&self) {
        self.wishes.reopen.store(true, Ordering::Release);
        self.wake();
    }

    /// Writes to another target from now on, or to none.
    pub(crate) fn change(&self, target: Option<Target>) {
        *self.wishes.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(target);
        self.wake();
    }

    /// An empty batch. If the queue is full, the thread will look soon enough without it.
    fn wake(&self) {
        if let Some(queue) = &self.queue {
            queue.hand_on(Batch::default());
        }
    }

    /// Ends it once everything is written; a target that takes nothing is not waited for long.
    pub(crate) fn finish(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            super::join(thread);
        }
    }
}

/// What the thread works with.
struct Writer {
    target: Option<Target>,
    wishes: Arc<Wishes>,
    status: Arc<AccessLogStatus>,
    voice: Voice,
    /// Lines lost since the target failed, if it does.
    lost: Option<u64>,
}

impl Writer {
    fn run(mut self, mut receiver: AccessReceiver) {
        let mut leaving = false;
        loop {
            let batch = if leaving { receiver.receive_within(FAREWELL) } else { receiver.receive() };
            self.obey(&mut leaving);
            match batch {
                Ok(Some(batch)) => self.write(&batch),
                // Nothing has come for the old target for a while.
                Ok(None) => {
                    self.target = None;
                    leaving = false;
                }
                Err(_) => return,
            }
        }
    }

    /// Does what was asked for since the last batch.
    fn obey(&mut self, leaving: &mut bool) {
        if let Some(next) = self.wishes.next.lock().unwrap_or_else(PoisonError::into_inner).take() {
            *leaving = next.is_none();
            if next.is_some() {
                self.target = next;
            }
        }
        if self.wishes.reopen.swap(false, Ordering::AcqRel)
            && let Some(Target::Lines(lines)) = &mut self.target
            && let Err(error) = lines.reopen()
        {
            let text = format!("the access log cannot be opened again: {error}; the old file is written to");
            self.voice.say(Level::Warn, text);
        }
    }

    fn write(&mut self, batch: &Batch) {
        if batch.lines == 0 {
            return;
        }
        let written = match &mut self.target {
            Some(target) => target.write(&batch.text).err(),
            None => Some(Lost { error: std::io::ErrorKind::NotFound.into(), lines: batch.lines }),
        };
        let lines = written.as_ref().map_or(0, |lost| lost.lines);
        self.status.written.fetch_add(batch.lines - lines, Ordering::Relaxed);
        self.status.dropped.fetch_add(lines, Ordering::Relaxed);
        match (written, self.lost) {
            (Some(lost), None) => {
                let text = format!(
                    "the access log cannot be written: {}; lines are dropped and counted",
                    lost.error
                );
                self.voice.say(Level::Warn, text);
                self.lost = Some(lost.lines);
            }
            (Some(lost), Some(before)) => self.lost = Some(before + lost.lines),
            (None, Some(before)) => {
                self.voice
                    .say(Level::Info, format!("the access log is written again; {before} lines were lost"));
                self.lost = None;
            }
            (None, None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{env, fs, path::PathBuf};

    use weir_proxy::telemetry::journal;

    use super::*;

    fn path(name: &str) -> PathBuf {
        env::temp_dir().join(format!("weir-access-{name}-{}.log", std::process::id()))
    }

    fn batch(lines: &[&str]) -> Batch {
        let text = lines.iter().flat_map(|line| [line.as_bytes(), b"\n"].concat()).collect();
        Batch { text, lines: lines.len() as u64 }
    }

    #[test]
    fn everything_is_written_before_the_end() {
        let path = path("end");
        let target = Target::open(&LogTarget::File(path.clone())).unwrap();
        let status = Arc::<AccessLogStatus>::default();
        let mut writer = AccessWriter::start(Some(target), status.clone(), journal().0).unwrap();
        let queue = writer.queue().unwrap();
        let expected: String = (0..100).map(|number| format!("{number}\n")).collect();
        for number in 0..100 {
            queue.hand_on(batch(&[&number.to_string()]));
        }
        drop(queue);
        writer.finish();
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        assert_eq!(status.written.load(Ordering::Relaxed), 100);
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_target_that_fails_is_reported_once_and_every_line_counted() {
        let target = Target::open(&LogTarget::File("/dev/full".into())).unwrap();
        let status = Arc::<AccessLogStatus>::default();
        let (voice, lines) = journal();
        let mut writer = AccessWriter::start(Some(target), status.clone(), voice).unwrap();
        let queue = writer.queue().unwrap();
        (0..50).for_each(|_| queue.hand_on(batch(&["a", "b"])));
        drop(queue);
        writer.finish();
        assert_eq!(status.dropped.load(Ordering::Relaxed), 100);
        let said: Vec<_> = lines.iter().map(|line| line.text).collect();
        assert!(matches!(&said[..], [one] if one.contains("No space left")), "{said:?}");
    }

    #[test]
    fn another_target_takes_over() {
        let (first, second) = (path("first"), path("second"));
        let open = |path: &PathBuf| Target::open(&LogTarget::File(path.clone())).unwrap();
        let status = Arc::<AccessLogStatus>::default();
        let mut writer = AccessWriter::start(Some(open(&first)), status.clone(), journal().0).unwrap();
        let queue = writer.queue().unwrap();
        queue.hand_on(batch(&["one"]));
        while status.written.load(Ordering::Relaxed) < 1 {
            thread::sleep(Duration::from_millis(1));
        }
        writer.change(Some(open(&second)));
        queue.hand_on(batch(&["two"]));
        drop(queue);
        writer.finish();
        assert_eq!(fs::read_to_string(&first).unwrap(), "one\n");
        assert_eq!(fs::read_to_string(&second).unwrap(), "two\n");
        fs::remove_file(&first).unwrap();
        fs::remove_file(&second).unwrap();
    }
}
