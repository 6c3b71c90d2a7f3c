//! One established session, of either side: what [`Stream`](crate::io::Stream) reads and writes through.
//!
//! ```text
//!  kernel ── records ──> Inbox ── open ──> buffer of the caller
//!  kernel <── Outbox <── seal ── slices of the caller
//! ```
//!
//! Idle, it holds keys and facts and nothing else. Records are read into and written from memory that all sessions of a
//! thread share; only what the kernel did not take, or what came of a record that is not whole, is kept by the session.

mod hear;

use std::{
    cell::RefCell,
    fmt,
    io::{self, IoSlice},
    task::{Context, Poll, ready},
};

use rustls::{
    AlertDescription, ConnectionTrafficSecrets, client::ClientConnectionData, kernel::KernelConnection,
    server::ServerConnectionData,
};
use tokio::net::TcpStream;
use weir_model::tls::Version;

use super::{
    Facts,
    inbox::Inbox,
    outbox::Outbox,
    record::{ALERT, Broken, Content, DATA, HANDSHAKE, HEADER, Keys},
};
use crate::io::{receive, receive_unasked};

/// The message that announces new keys (RFC 8446 section 4.6.3).
const KEY_UPDATE: u8 = 24;

/// What keeps the keys of a session up to date.
pub(super) enum Schedule {
    /// TLS 1.2: nothing, they stay.
    Fixed,
    Server(KernelConnection<ServerConnectionData>),
    Client(KernelConnection<ClientConnectionData>),
}

type Secrets = (u64, ConnectionTrafficSecrets);

impl Schedule {
    fn next(&mut self, ours: bool) -> Result<Secrets, rustls::Error> {
        match (self, ours) {
            (Self::Fixed, _) => Err(rustls::Error::HandshakeNotComplete),
            (Self::Server(kernel), true) => kernel.update_tx_secret(),
            (Self::Server(kernel), false) => kernel.update_rx_secret(),
            (Self::Client(kernel), true) => kernel.update_tx_secret(),
            (Self::Client(kernel), false) => kernel.update_rx_secret(),
        }
    }
}

/// How the other end's direction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It said so.
    Closed,
    /// The connection ended without a word.
    Truncated,
    /// It, or we, gave up.
    Broken(Broken),
}

/// One established session.
pub(crate) struct Session {
    facts: Facts,
    inner: RefCell<Inner>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("facts", &self.facts).finish_non_exhaustive()
    }
}

struct Inner {
    version: Version,
    schedule: Schedule,
    opening: Keys,
    sealing: Keys,
    inbox: Inbox,
    outbox: Outbox,
    /// The beginning of a message that goes on in the next record.
    message: Vec<u8>,
    /// Records in a row that carried nothing for us.
    idle_records: u8,
    /// The other end wants us to use new keys, from our next record on (RFC 8446 section 4.6.3).
    owes_key_update: bool,
    /// We have said that nothing more comes.
    said_end: bool,
    end: Option<End>,
}

/// What opening one record led to.
enum Step {
    /// So much content is where it was to go.
    Content(usize),
    /// Content is in the inbox, or there was none.
    Other,
    /// There is no whole record.
    Incomplete,
}

impl Session {
    /// A session after its handshake, with what has come behind it, and what is to go out before anything else. `None` if it speaks a cipher that nobody offered.
    pub(super) fn new(
        facts: Facts,
        schedule: Schedule,
        (opening, sealing): (Secrets, Secrets),
        (inbox, last): (Inbox, Vec<u8>),
    ) -> Option<Self> {
        let version = facts.version;
        let inner = Inner {
            version,
            schedule,
            opening: Keys::new(version, opening)?,
            sealing: Keys::new(version, sealing)?,
            inbox,
            outbox: Outbox::with(last),
            message: Vec::new(),
            idle_records: 0,
            owes_key_update: false,
            said_end: false,
            end: None,
        };
        Some(Self { facts, inner: RefCell::new(inner) })
    }

    /// Makes the next record that is sealed the last one of its key.
    #[cfg(test)]
    pub(super) fn wear_out(&self) {
        self.inner.borrow_mut().sealing.wear_out();
    }

    /// Sends a record of this type.
    #[cfg(test)]
    pub(super) fn say_for_test(&self, tcp: &TcpStream, kind: u8, content: &[u8]) {
        let inner = &mut *self.inner.borrow_mut();
        let content = [IoSlice::new(content)];
        assert!(inner.outbox.seal(&mut inner.sealing, kind, Content::of(&content, 0)).is_ok());
        assert!(inner.outbox.flush(tcp));
    }

    /// What the handshake found out.
    pub(crate) const fn facts(&self) -> &Facts {
        &self.facts
    }

    /// True if there is something to read without asking the kernel; an end of the stream included.
    pub(crate) fn has_input(&self) -> bool {
        self.inner.borrow().has_input()
    }

    /// Reads without waiting; `None` if nothing is there. 0 is the end of the stream.
    pub(crate) fn read(&self, tcp: &TcpStream, into: &mut [u8]) -> Option<io::Result<usize>> {
        let mut inner = self.inner.borrow_mut();
        let read = inner.read(tcp, into);
        inner.inbox.settle();
        read
    }

    /// True if the other end's direction has ended, and the other end did not say so.
    pub(crate) fn is_truncated(&self) -> bool {
        matches!(self.inner.borrow().end, Some(End::Truncated | End::Broken(_)))
    }

    /// True unless the other end has closed, or sent something that is meant for us: tickets are not. Asks the kernel.
    pub(crate) fn is_silent(&self, tcp: &TcpStream) -> bool {
        let mut inner = self.inner.borrow_mut();
        let silent = inner.absorb(tcp);
        inner.inbox.settle();
        silent
    }

    /// Writes: ready with so many bytes once the kernel has them all, sealed. Until then it must be asked again with what
    /// begins with the same bytes.
    pub(crate) fn poll_write(
        &self,
        tcp: &TcpStream,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.inner.borrow_mut().poll_write(tcp, cx, from)
    }

    /// Says that nothing more comes; ready once the kernel has that.
    pub(crate) fn poll_finish(&self, tcp: &TcpStream, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.inner.borrow_mut();
        inner.say_end();
        inner.outbox.poll_flush(tcp, cx).map(drop)
    }

    /// The same without waiting: false if the kernel has no room for it now.
    pub(crate) fn finish(&self, tcp: &TcpStream) -> bool {
        let mut inner = self.inner.borrow_mut();
        inner.say_end();
        inner.outbox.flush(tcp)
    }
}

impl Inner {
    fn has_input(&self) -> bool {
        if self.end.is_some() || !self.inbox.content().is_empty() {
            return true;
        }
        let records = self.inbox.records();
        match self.opening.header(records) {
            Ok(Some(header)) => records.len() >= HEADER + header.length,
            Ok(None) => false,
            Err(_) => true,
        }
    }

    fn read(&mut self, tcp: &TcpStream, into: &mut [u8]) -> Option<io::Result<usize>> {
        let mut done = 0;
        loop {
            done += self.inbox.take_content(&mut into[done..]);
            if done > 0 && (done == into.len() || self.end.is_some()) {
                return Some(Ok(done));
            }
            match self.end {
                None => {}
                Some(End::Closed | End::Truncated) => return Some(Ok(0)),
                Some(End::Broken(broken)) => return Some(Err(as_io(broken))),
            }
            match self.open(&mut into[done..]) {
                Ok(Step::Content(count)) => done += count,
                // It may have been answered.
                Ok(Step::Other) => _ = self.outbox.flush(tcp),
                Ok(Step::Incomplete) if done > 0 => return Some(Ok(done)),
                Ok(Step::Incomplete) => match receive::<true>(tcp, self.inbox.space())? {
                    Ok(0) => self.end = Some(End::Truncated),
                    Ok(count) => self.inbox.filled_by(count),
                    Err(error) => return Some(Err(error)),
                },
                Err(broken) => self.give_up(tcp, broken),
            }
        }
    }

    /// Takes notice of what has come as long as none of it is for us; true if nothing was.
    fn absorb(&mut self, tcp: &TcpStream) -> bool {
        loop {
            if self.end.is_some() || !self.inbox.content().is_empty() {
                return false;
            }
            match self.open(&mut []) {
                Ok(Step::Content(_) | Step::Other) => {}
                Ok(Step::Incomplete) => match receive_unasked(tcp, self.inbox.space()) {
                    // A part of a record is the beginning of something.
                    None => return self.inbox.is_empty(),
                    Some(Ok(0)) => self.end = Some(End::Truncated),
                    Some(Ok(count)) => self.inbox.filled_by(count),
                    Some(Err(_)) => return false,
                },
                Err(broken) => self.give_up(tcp, broken),
            }
        }
    }

    /// Opens the next record, straight to where its content is wanted if there is room.
    fn open(&mut self, into: &mut [u8]) -> Result<Step, Broken> {
        let records = self.inbox.records_mut();
        let Some(header) = self.opening.header(records)? else { return Ok(Step::Incomplete) };
        let whole = HEADER + header.length;
        if records.len() < whole {
            return Ok(Step::Incomplete);
        }
        let room = self.opening.room_for(header);
        if room <= into.len() {
            let opened = self.opening.open_to(header, records, &mut into[..room])?;
            self.inbox.consume(whole);
            if opened.kind == DATA {
                self.note_data(opened.length)?;
                return Ok(Step::Content(opened.length));
            }
            self.hear(opened.kind, &into[..opened.length])?;
            return Ok(Step::Other);
        }
        let opened = self.opening.open_here(header, records)?;
        let content = opened.start..opened.start + opened.length;
        if opened.kind == DATA {
            self.inbox.keep_content(whole, content);
            self.note_data(opened.length)?;
        } else {
            let message = records[content].to_vec();
            self.inbox.consume(whole);
            self.hear(opened.kind, &message)?;
        }
        Ok(Step::Other)
    }

    /// Ends the session, and says why.
    #[cold]
    fn give_up(&mut self, tcp: &TcpStream, broken: Broken) {
        self.end = Some(End::Broken(broken));
        if !std::mem::replace(&mut self.said_end, true) {
            let fatal = [2, broken.alert.into()];
            _ = self.outbox.seal(&mut self.sealing, ALERT, Content::of(&[IoSlice::new(&fatal)], 0));
        }
        self.outbox.flush(tcp);
    }

    fn say_end(&mut self) {
        if !std::mem::replace(&mut self.said_end, true) {
            let close = [1, AlertDescription::CloseNotify.into()];
            // If it cannot be sealed, the end without it says that something was wrong.
            _ = self.outbox.seal(&mut self.sealing, ALERT, Content::of(&[IoSlice::new(&close)], 0));
        }
    }

    fn poll_write(
        &mut self,
        tcp: &TcpStream,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if !self.outbox.is_awaited() {
            if let Some(End::Broken(broken)) = self.end {
                return Poll::Ready(Err(as_io(broken)));
            }
            if self.said_end {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            if let Err(broken) = self.seal(from) {
                self.give_up(tcp, broken);
                return Poll::Ready(Err(as_io(broken)));
            }
        }
        let written = ready!(self.outbox.poll_flush(tcp, cx))?;
        debug_assert!(written <= from.iter().map(|slice| slice.len()).sum());
        Poll::Ready(Ok(written))
    }

    /// Seals what there is room for.
    fn seal(&mut self, from: &[IoSlice<'_>]) -> Result<(), Broken> {
        let mut sealed = 0;
        loop {
            let content = Content::of(from, sealed);
            if content.length == 0 || !self.outbox.has_room_for(content.length + self.sealing.expansion()) {
                break;
            }
            if self.owes_key_update || self.sealing.is_worn_out() {
                self.renew_keys()?;
            }
            self.outbox.seal(&mut self.sealing, DATA, content)?;
            sealed += content.length;
        }
        self.outbox.owe(sealed);
        Ok(())
    }

    #[cold]
    fn renew_keys(&mut self) -> Result<(), Broken> {
        if self.version == Version::Tls12 {
            return Err(Broken::new(
                AlertDescription::CloseNotify,
                "the keys of a TLS 1.2 session are worn out",
            ));
        }
        // It does not ask the other end for the same.
        let message = [KEY_UPDATE, 0, 0, 1, 0];
        self.outbox.seal(&mut self.sealing, HANDSHAKE, Content::of(&[IoSlice::new(&message)], 0))?;
        let secrets = self.schedule.next(true).map_err(|_| Broken::INTERNAL)?;
        self.sealing = Keys::new(self.version, secrets).ok_or(Broken::INTERNAL)?;
        self.owes_key_update = false;
        Ok(())
    }
}

fn as_io(broken: Broken) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, broken)
}

/// The alert by which the other end has ended a session, if that is what an error of reading or writing is about.
pub(super) fn said(error: &io::Error) -> Option<AlertDescription> {
    error.get_ref()?.downcast_ref::<Broken>().copied()?.said()
}
