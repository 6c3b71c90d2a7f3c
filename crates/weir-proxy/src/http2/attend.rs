//! The tasks that serve streams. One that is done waits for the next stream of whatever connection of its worker: a task is
//! large, and to make it for each stream costs as much as a tenth of what it does.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::{Rc, Weak},
    task::{Poll, Waker},
};

use bytes::Bytes;
use h2::{Reason, RecvStream, server::SendResponse};
use http::Request;

use super::{Channel, head, serve::Open};
use crate::{
    http::{After, exchange_stream},
    worker::Worker,
};

/// Tasks that wait for a stream; more end when they are done.
const MOST_WAITING: usize = 128;

/// A stream that a client has opened.
pub(super) struct Job {
    pub(super) open: Open,
    pub(super) request: Request<RecvStream>,
    pub(super) respond: SendResponse<Bytes>,
}

/// Those of one worker that wait for a stream, the last one put aside first.
#[derive(Default)]
pub(crate) struct Attendants(RefCell<Vec<Rc<Desk>>>);

impl std::fmt::Debug for Attendants {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Attendants").field(&self.0.borrow().len()).finish()
    }
}

/// Where one of them is given its next stream.
#[derive(Default)]
struct Desk {
    job: Cell<Option<Job>>,
    waker: Cell<Option<Waker>>,
}

impl Attendants {
    /// Has a stream served.
    pub(super) fn serve(&self, worker: &Rc<Worker>, job: Job) {
        let free = self.0.borrow_mut().pop();
        let desk = free.unwrap_or_else(|| {
            let desk = Rc::new(Desk::default());
            drop(tokio::task::spawn_local(attend(Rc::downgrade(worker), desk.clone())));
            desk
        });
        desk.job.set(Some(job));
        if let Some(waker) = desk.waker.take() {
            waker.wake();
        }
    }

    /// Waits for the next stream, if there is room for another one who waits.
    fn wait(&self, desk: &Rc<Desk>) -> bool {
        let mut waiting = self.0.borrow_mut();
        let room = waiting.len() < MOST_WAITING;
        if room {
            waiting.push(desk.clone());
        }
        room
    }
}

async fn attend(worker: Weak<Worker>, desk: Rc<Desk>) {
    loop {
        let job = poll_fn(|cx| match desk.job.take() {
            Some(job) => Poll::Ready(job),
            None => {
                desk.waker.set(Some(cx.waker().clone()));
                Poll::Pending
            }
        });
        answer(job.await).await;
        let stays = worker.upgrade().is_some_and(|worker| worker.attendants.wait(&desk));
        if !stays {
            return;
        }
    }
}

/// Serves one stream.
async fn answer(job: Job) {
    let Job { open, request, respond } = job;
    let conn = open.conn();
    let (parts, content) = request.into_parts();
    let channel = Channel::asked(content, respond);
    let mut text = conn.worker.room.take_text();
    let written = head::write_request(&parts, &channel, conn.worker.draw(), &mut text);
    drop(parts);
    let timer = conn.worker.wheel.lend();
    let after = exchange_stream(conn, &channel, &timer, (text, written)).await;
    if after == After::Reset {
        channel.reset(Reason::INTERNAL_ERROR);
    }
}
