//! Lines on their way from the workers to the thread that writes them.

use std::{
    cell::RefCell,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, RecvError, RecvTimeoutError, SyncSender, TryRecvError, sync_channel},
    },
    time::Duration,
};

use weir_model::{
    log::AccessLog,
    status::AccessLogStatus,
    time::{Millis, Moment},
};

use crate::{
    clock,
    telemetry::{Level, Voice},
};

/// Bytes of a batch that is handed on without waiting for the next tick.
const FULL: usize = 64 * 1024;
/// Batches that may wait for the writer: at most 16 MiB of usual lines.
const QUEUE: usize = 256;
/// A writer that falls behind is reported so often at most.
const SILENCE: Millis = Millis::secs(10);
/// A buffer that one huge line made larger than this is not kept.
const KEPT: usize = 2 * FULL;

/// Whole lines, each with its line end.
#[derive(Debug, Default)]
pub struct Batch {
    /// The lines.
    pub text: Vec<u8>,
    /// How many there are.
    pub lines: u64,
    /// The log that they were written for; a reload may change it while they are on their way.
    pub log: Option<Arc<AccessLog>>,
}

/// The workers' end of the access log.
#[derive(Debug, Clone)]
pub struct AccessQueue {
    queue: SyncSender<Batch>,
    shared: Arc<Shared>,
}

/// The writer's end of the access log.
#[derive(Debug)]
pub struct AccessReceiver {
    queue: Receiver<Batch>,
    shared: Arc<Shared>,
}

/// What both ends know.
#[derive(Debug)]
struct Shared {
    status: Arc<AccessLogStatus>,
    voice: Voice,
    /// Batches find no room.
    behind: AtomicBool,
    /// When that was last reported.
    told: AtomicU64,
}

/// Both ends. Whoever holds the receiver writes; it ends when the last queue has gone. Lines that find no room are
/// counted in `status`, and reported.
pub fn access_queue(status: Arc<AccessLogStatus>, voice: Voice) -> (AccessQueue, AccessReceiver) {
    let (queue, receiver) = sync_channel(QUEUE);
    let shared = Arc::new(Shared { status, voice, behind: false.into(), told: 0.into() });
    (AccessQueue { queue, shared: shared.clone() }, AccessReceiver { queue: receiver, shared })
}

impl AccessQueue {
    /// Hands a batch on, or drops it if the writer is that far behind.
    pub fn hand_on(&self, batch: Batch) {
        let lines = batch.lines;
        if self.queue.try_send(batch).is_err() && lines > 0 {
            self.shared.lose(lines);
        }
    }
}

impl Shared {
    #[cold]
    fn lose(&self, lines: u64) {
        self.status.dropped.fetch_add(lines, Ordering::Relaxed);
        let (now, told) = (clock::read(), Moment(self.told.load(Ordering::Relaxed)));
        if !self.behind.swap(true, Ordering::Relaxed) && (told == Moment(0) || now.since(told) > SILENCE) {
            self.told.store(now.0.max(1), Ordering::Relaxed);
            let text = "the access log is behind: its target takes lines more slowly than they come; they are \
                        dropped and counted";
            self.voice.say(Level::Warn, text.to_owned());
        }
    }
}

impl AccessReceiver {
    /// The next batch; waits for it.
    ///
    /// # Errors
    /// If there will be none any more.
    pub fn receive(&mut self) -> Result<Option<Batch>, RecvError> {
        match self.queue.try_recv() {
            Ok(batch) => Ok(Some(batch)),
            Err(TryRecvError::Disconnected) => Err(RecvError),
            Err(TryRecvError::Empty) => {
                self.shared.behind.store(false, Ordering::Relaxed);
                self.queue.recv().map(Some)
            }
        }
    }

    /// The next batch, or none if nothing comes within that time.
    ///
    /// # Errors
    /// If there will be none any more.
    pub fn receive_within(&mut self, time: Duration) -> Result<Option<Batch>, RecvError> {
        match self.queue.recv_timeout(time) {
            Ok(batch) => Ok(Some(batch)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(RecvError),
        }
    }
}

/// One worker's lines that have not been handed on yet.
#[derive(Debug)]
pub(crate) struct AccessBuffer {
    pending: RefCell<Batch>,
    queue: AccessQueue,
}

impl AccessBuffer {
    pub(crate) fn new(queue: AccessQueue) -> Self {
        Self { pending: RefCell::default(), queue }
    }

    /// Adds one line of this log, which `write` appends with its line end.
    #[inline]
    pub(crate) fn add(&self, log: &Arc<AccessLog>, write: impl FnOnce(&mut Vec<u8>)) {
        let mut pending = self.pending.borrow_mut();
        if !pending.log.as_ref().is_some_and(|own| Arc::ptr_eq(own, log)) {
            drop(pending);
            self.flush();
            pending = self.pending.borrow_mut();
            pending.log = Some(log.clone());
        }
        write(&mut pending.text);
        pending.lines += 1;
        if pending.text.len() >= FULL {
            let next = Batch { log: pending.log.clone(), ..Batch::default() };
            self.queue.hand_on(std::mem::replace(&mut pending, next));
        }
    }

    /// Hands on what is there; called with every tick, so that no line waits long.
    pub(crate) fn flush(&self) {
        let mut pending = self.pending.borrow_mut();
        if pending.lines == 0 {
            return;
        }
        // A copy of just the right size: what waits takes no more room than it has to, and the buffer stays.
        let text = pending.text.as_slice().to_vec();
        let batch = Batch { text, lines: pending.lines, log: pending.log.clone() };
        pending.lines = 0;
        pending.text.clear();
        if pending.text.capacity() > KEPT {
            pending.text = Vec::new();
        }
        self.queue.hand_on(batch);
    }
}

impl Drop for AccessBuffer {
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::journal;

    fn log() -> Arc<AccessLog> {
        Arc::new(AccessLog {
            target: weir_model::log::LogTarget::Stdout,
            format: weir_model::log::LogFormat::Json,
            sample: weir_model::log::Sample::ALL,
            response_fields: Vec::new(),
            shows_request_id: true,
        })
    }

    fn line(number: usize) -> Vec<u8> {
        format!("{number:0>99}\n").into_bytes()
    }

    #[test]
    fn every_line_is_handed_on_once_and_in_order() {
        let status = Arc::<AccessLogStatus>::default();
        let (voice, _said) = journal();
        let (queue, mut receiver) = access_queue(status.clone(), voice);
        let buffer = AccessBuffer::new(queue);
        let log = log();
        for number in 0..5000 {
            buffer.add(&log, |out| out.extend_from_slice(&line(number)));
            if number % 1700 == 0 {
                buffer.flush();
            }
        }
        drop(buffer);
        let batches: Vec<_> = std::iter::from_fn(|| receiver.receive().ok().flatten()).collect();
        assert!(batches.iter().all(|batch| batch.text.len() as u64 == 100 * batch.lines));
        let text: Vec<u8> = batches.into_iter().flat_map(|batch| batch.text).collect();
        assert_eq!(text, (0..5000).flat_map(line).collect::<Vec<_>>());
        assert_eq!(status.dropped.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn lines_of_two_logs_never_share_a_batch() {
        let (voice, _said) = journal();
        let (queue, mut receiver) = access_queue(Arc::default(), voice);
        let buffer = AccessBuffer::new(queue);
        let logs = [log(), log()];
        for number in [0, 0, 1, 0, 1, 1] {
            buffer.add(&logs[number], |out| out.extend_from_slice(&line(number)));
        }
        drop(buffer);
        let batches: Vec<_> = std::iter::from_fn(|| receiver.receive().ok().flatten()).collect();
        let told = batches.iter().map(|batch| (batch.lines, batch.log.as_ref().unwrap()));
        let expected = [(2, &logs[0]), (1, &logs[1]), (1, &logs[0]), (2, &logs[1])];
        assert!(
            told.zip(expected)
                .all(|(told, expected)| told.0 == expected.0 && Arc::ptr_eq(told.1, expected.1))
        );
        assert_eq!(batches.len(), 4);
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let status = Arc::<AccessLogStatus>::default();
        let (voice, said) = journal();
        let (queue, mut receiver) = access_queue(status.clone(), voice);
        let buffer = AccessBuffer::new(queue);
        let log = log();
        for number in 0..QUEUE + 44 {
            buffer.add(&log, |out| out.extend_from_slice(&line(number)));
            buffer.add(&log, |out| out.extend_from_slice(&line(number)));
            buffer.flush();
        }
        drop(buffer);
        let batches = std::iter::from_fn(|| receiver.receive().ok().flatten());
        let kept: u64 = batches.map(|batch| batch.lines).sum();
        drop(receiver);
        assert_eq!(said.iter().count(), 1, "it is reported once");
        assert_eq!(kept, 2 * QUEUE as u64);
        assert_eq!(status.dropped.load(Ordering::Relaxed), 88);
    }
}
