//! The thread that writes the access log: takes batches of lines from the workers and puts them where they belong.

use std::{
    os::unix::fs::FileTypeExt as _,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use weir_control::trouble::Trouble;
use weir_model::{log::LogTarget, status::AccessLogStatus};
use weir_proxy::telemetry::{AccessQueue, AccessReceiver, Batch, Level, Voice, access_queue};

use super::{
    file::{Lines, Lost},
    syslog::Syslog,
};

/// How long a target that is wanted no more is kept for lines that are still on their way.
const FAREWELL: Duration = Duration::from_secs(1);

/// An opened target of the access log, and what it was opened for.
#[derive(Debug)]
pub(crate) struct Opened {
    of: LogTarget,
    target: Target,
}

#[derive(Debug)]
enum Target {
    Lines(Lines),
    Syslog(Box<Syslog>),
}

impl Opened {
    /// Opens it. A syslog need not be there yet.
    ///
    /// # Errors
    /// If a file cannot be opened, in words.
    pub(crate) fn open(of: &LogTarget) -> Result<Self> {
        let target = match of {
            LogTarget::Stdout => {
                Target::Lines(Lines::stdout().context("there is no standard output for `access_log`")?)
            }
            LogTarget::File(path) => {
                let trouble = |error| {
                    let cause = format!("`access_log` cannot be written to {}: {error:#}", path.display());
                    let remedy = match is_fifo(path) {
                        // That is what opening one says, and nothing of its folder.
                        true => "nobody reads the FIFO: start its reader first",
                        false => "its folder must exist and be writable",
                    };
                    Trouble::new(cause, remedy)
                };
                Target::Lines(Lines::open(path).map_err(trouble)?)
            }
            syslog => Target::Syslog(Box::new(Syslog::new(syslog.clone()))),
        };
        Ok(Self { of: of.clone(), target })
    }
}

fn is_fifo(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.file_type().is_fifo())
}

impl Target {
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
    /// Other targets, in order; none is none any more.
    next: Mutex<Vec<Option<Opened>>>,
    /// The path is to be opened again.
    reopen: AtomicBool,
}

/// The access log of the process.
#[derive(Debug)]
pub(crate) struct AccessWriter {
    /// Gone once the process stops: the thread ends with the last queue.
    queue: Mutex<Option<AccessQueue>>,
    wishes: Arc<Wishes>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl AccessWriter {
    /// Starts the thread, with a target if there is one.
    pub(crate) fn start(target: Option<Opened>, status: Arc<AccessLogStatus>, voice: Voice) -> Result<Self> {
        let (queue, receiver) = access_queue(status.clone(), voice.clone());
        let wishes = Arc::<Wishes>::default();
        let wanted = target.as_ref().map(|opened| opened.of.clone());
        let targets = target.into_iter().collect();
        let thread =
            Writer { targets, wanted, leaving: None, wishes: wishes.clone(), status, voice, lost: None };
        let thread = thread::Builder::new()
            .name("weir-access-log".to_owned())
            .spawn(move || thread.run(receiver))
            .context("the thread of the access log could not be started")?;
        Ok(Self { queue: Mutex::new(Some(queue)), wishes, thread: Mutex::new(Some(thread)) })
    }

    /// The end that a worker writes to.
    pub(crate) fn queue(&self) -> Option<AccessQueue> {
        lock(&self.queue).clone()
    }

    /// Opens the path again, for whoever has renamed the file. Returns at once; what is written from then on goes to
    /// the new file.
    pub(crate) fn reopen(&self) {
        self.wishes.reopen.store(true, Ordering::Release);
        self.wake();
    }

    /// Writes to another target from now on, or to none.
    pub(crate) fn change(&self, target: Option<Opened>) {
        lock(&self.wishes.next).push(target);
        self.wake();
    }

    /// An empty batch. If the queue is full, the thread will look soon enough without it.
    fn wake(&self) {
        if let Some(queue) = &*lock(&self.queue) {
            queue.hand_on(Batch::default());
        }
    }

    /// Ends it once everything is written; a target that takes nothing is not waited for long.
    pub(crate) fn finish(&self) {
        drop(lock(&self.queue).take());
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread {
            super::join(thread);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the thread works with.
struct Writer {
    /// The one that is wanted, and those that lines may still be on their way to.
    targets: Vec<Opened>,
    wanted: Option<LogTarget>,
    /// When the others are let go.
    leaving: Option<Instant>,
    wishes: Arc<Wishes>,
    status: Arc<AccessLogStatus>,
    voice: Voice,
    /// Lines lost since the target failed, if it does.
    lost: Option<u64>,
}

impl Writer {
    fn run(mut self, mut receiver: AccessReceiver) {
        loop {
            let batch =
                if self.leaving.is_some() { receiver.receive_within(FAREWELL) } else { receiver.receive() };
            self.obey();
            match batch {
                Ok(Some(batch)) => self.write(&batch),
                Ok(None) => {}
                Err(_) => return,
            }
            if self.leaving.is_some_and(|leaving| Instant::now() >= leaving) {
                self.targets.retain(|opened| Some(&opened.of) == self.wanted.as_ref());
                self.leaving = None;
            }
        }
    }

    /// Does what was asked for since the last batch.
    fn obey(&mut self) {
        let wishes = std::mem::take(&mut *lock(&self.wishes.next));
        for next in wishes {
            self.wanted = next.as_ref().map(|opened| opened.of.clone());
            self.targets.retain(|opened| Some(&opened.of) != self.wanted.as_ref());
            self.targets.extend(next);
            self.leaving = Some(Instant::now() + FAREWELL);
        }
        if !self.wishes.reopen.swap(false, Ordering::AcqRel) {
            return;
        }
        for opened in &mut self.targets {
            if let Target::Lines(lines) = &mut opened.target
                && let Err(error) = lines.reopen()
            {
                let text =
                    format!("the access log cannot be opened again: {error}; the old file is written to");
                self.voice.say(Level::Warn, text);
            }
        }
    }

    fn write(&mut self, batch: &Batch) {
        if batch.lines == 0 {
            return;
        }
        let target = batch.log.as_ref().map(|log| &log.target);
        let written = match self.targets.iter_mut().find(|opened| Some(&opened.of) == target) {
            Some(opened) => opened.target.write(&batch.text).err(),
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

    use weir_model::log::{AccessLog, LogFormat, Sample};
    use weir_proxy::telemetry::journal;

    use super::*;

    fn path(name: &str) -> PathBuf {
        env::temp_dir().join(format!("weir-access-{name}-{}.log", std::process::id()))
    }

    fn batch(target: &LogTarget, lines: &[&str]) -> Batch {
        let log = Arc::new(AccessLog {
            target: target.clone(),
            format: LogFormat::Json,
            sample: Sample::ALL,
            response_fields: Vec::new(),
            shows_request_id: true,
        });
        let text = lines.iter().flat_map(|line| [line.as_bytes(), b"\n"].concat()).collect();
        Batch { text, lines: lines.len() as u64, log: Some(log) }
    }

    #[test]
    fn everything_is_written_before_the_end() {
        let path = path("end");
        let to = LogTarget::File(path.clone());
        let target = Opened::open(&to).unwrap();
        let status = Arc::<AccessLogStatus>::default();
        let writer = AccessWriter::start(Some(target), status.clone(), journal().0).unwrap();
        let queue = writer.queue().unwrap();
        let expected: String = (0..100).map(|number| format!("{number}\n")).collect();
        for number in 0..100 {
            queue.hand_on(batch(&to, &[&number.to_string()]));
        }
        drop(queue);
        writer.finish();
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        assert_eq!(status.written.load(Ordering::Relaxed), 100);
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_target_that_fails_is_reported_once_and_every_line_counted() {
        let to = LogTarget::File("/dev/full".into());
        let target = Opened::open(&to).unwrap();
        let status = Arc::<AccessLogStatus>::default();
        let (voice, lines) = journal();
        let writer = AccessWriter::start(Some(target), status.clone(), voice).unwrap();
        let queue = writer.queue().unwrap();
        (0..50).for_each(|_| queue.hand_on(batch(&to, &["a", "b"])));
        drop(queue);
        writer.finish();
        assert_eq!(status.dropped.load(Ordering::Relaxed), 100);
        let said: Vec<_> = lines.iter().map(|line| line.text).collect();
        assert!(matches!(&said[..], [one] if one.contains("No space left")), "{said:?}");
    }

    #[test]
    fn lines_go_to_the_target_that_they_were_written_for() {
        let paths = [path("first"), path("second")];
        let [first, second] = paths.clone().map(LogTarget::File);
        let status = Arc::<AccessLogStatus>::default();
        let writer = AccessWriter::start(Some(Opened::open(&first).unwrap()), status.clone(), journal().0);
        let writer = writer.unwrap();
        let queue = writer.queue().unwrap();
        queue.hand_on(batch(&first, &["one"]));
        writer.change(Some(Opened::open(&second).unwrap()));
        queue.hand_on(batch(&second, &["two"]));
        queue.hand_on(batch(&first, &["late"]));
        writer.change(None);
        queue.hand_on(batch(&second, &["later"]));
        drop(queue);
        writer.finish();
        let texts = paths.each_ref().map(|path| fs::read_to_string(path).unwrap());
        assert_eq!(texts, ["one\nlate\n", "two\nlater\n"]);
        assert_eq!(status.dropped.load(Ordering::Relaxed), 0);
        paths.iter().for_each(|path| fs::remove_file(path).unwrap());
    }
}
