//! What the two processes talk over: a line of JSON per message, with open files beside it.

use std::{
    io::{self, IoSlice, IoSliceMut},
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, bail};
use rustix::{
    cmsg_space,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
        SendFlags, recvmsg, sendmsg,
    },
};
use serde::{Serialize, de::DeserializeOwned};

/// Files in one message of the kernel, which takes 253.
const FILES: usize = 64;
/// Bytes of a message.
const MOST: usize = 64 << 20;
/// Between two looks whether to go on waiting.
const LOOK: Duration = Duration::from_millis(50);

/// One end.
#[derive(Debug)]
pub(super) struct Channel {
    stream: UnixStream,
    /// What was read and is no whole line yet.
    bytes: Vec<u8>,
    /// Files that have come, in order.
    files: Vec<OwnedFd>,
}

/// Why nothing came.
#[derive(Debug)]
pub(super) enum Broken {
    /// The other end is gone.
    Gone,
    /// Nothing came in time.
    Late,
    /// Whoever waits does not want to any more.
    GivenUp,
    /// What came is not what is expected, or the system failed.
    Wrong(anyhow::Error),
}

impl Channel {
    /// Talks over this socket.
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(LOOK))?;
        stream.set_write_timeout(Some(LOOK))?;
        Ok(Self { stream, bytes: Vec::new(), files: Vec::new() })
    }

    /// Says something, and hands over files with it.
    pub(super) fn send(
        &self,
        message: &impl Serialize,
        files: &[BorrowedFd<'_>],
        patience: Duration,
        given_up: &dyn Fn() -> bool,
    ) -> Result<(), Broken> {
        let deadline = Instant::now() + patience;
        let mut text = serde_json::to_vec(message).map_err(|error| Broken::Wrong(error.into()))?;
        text.push(b'\n');
        // Each part of the files needs a byte that it comes with: white space, before the message.
        for part in files.chunks(FILES) {
            self.put(b" ", part, deadline, given_up)?;
        }
        let mut rest = &text[..];
        while !rest.is_empty() {
            rest = &rest[self.put(rest, &[], deadline, given_up)?..];
        }
        Ok(())
    }

    fn put(
        &self,
        bytes: &[u8],
        files: &[BorrowedFd<'_>],
        deadline: Instant,
        given_up: &dyn Fn() -> bool,
    ) -> Result<usize, Broken> {
        loop {
            let mut space = [std::mem::MaybeUninit::uninit(); cmsg_space!(ScmRights(FILES))];
            let mut beside = SendAncillaryBuffer::new(&mut space);
            if !files.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(files)) {
                return Err(Broken::Wrong(anyhow!("too many files for one message")));
            }
            match sendmsg(&self.stream, &[IoSlice::new(bytes)], &mut beside, SendFlags::NOSIGNAL) {
                Ok(count) => return Ok(count),
                Err(error) => wait(error.into(), deadline, given_up)?,
            }
        }
    }

    /// The next message, once it is there.
    pub(super) fn receive<T: DeserializeOwned>(
        &mut self,
        patience: Duration,
        given_up: &dyn Fn() -> bool,
    ) -> Result<T, Broken> {
        let deadline = Instant::now() + patience;
        let mut looked = 0;
        loop {
            if let Some(end) = self.bytes[looked..].iter().position(|byte| *byte == b'\n') {
                let line: Vec<_> = self.bytes.drain(..=looked + end).collect();
                return serde_json::from_slice(&line).map_err(|error| Broken::Wrong(error.into()));
            }
            looked = self.bytes.len();
            if looked > MOST {
                return Err(Broken::Wrong(anyhow!("a message of more than {MOST} bytes")));
            }
            match self.take() {
                Ok(0) => return Err(Broken::Gone),
                Ok(_) => {}
                Err(error) => wait(error, deadline, given_up)?,
            }
        }
    }

    fn take(&mut self) -> io::Result<usize> {
        let mut bytes = [0; 64 << 10];
        let mut space = [std::mem::MaybeUninit::uninit(); cmsg_space!(ScmRights(FILES))];
        let mut beside = RecvAncillaryBuffer::new(&mut space);
        let slices = &mut [IoSliceMut::new(&mut bytes)];
        let received = recvmsg(self.stream.as_fd(), slices, &mut beside, RecvFlags::CMSG_CLOEXEC)?;
        for message in beside.drain() {
            if let RecvAncillaryMessage::ScmRights(files) = message {
                self.files.extend(files);
            }
        }
        self.bytes.extend_from_slice(&bytes[..received.bytes]);
        Ok(received.bytes)
    }

    /// The files that have come so far.
    pub(super) fn take_files(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.files)
    }
}

/// Nothing if it is worth trying again.
fn wait(error: io::Error, deadline: Instant, given_up: &dyn Fn() -> bool) -> Result<(), Broken> {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted => {}
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => return Err(Broken::Gone),
        _ => return Err(Broken::Wrong(error.into())),
    }
    if given_up() {
        return Err(Broken::GivenUp);
    }
    if Instant::now() >= deadline { Err(Broken::Late) } else { Ok(()) }
}

impl Broken {
    /// The same as an error, for those who have nothing better to say.
    pub(super) fn into_error(self, whom: &str) -> anyhow::Error {
        match self {
            Self::Gone => anyhow!("{whom} is gone"),
            Self::Late => anyhow!("{whom} did not answer in time"),
            Self::GivenUp => anyhow!("weir is shutting down"),
            Self::Wrong(error) => error.context(format!("{whom} cannot be understood")),
        }
    }
}

/// Takes so many files from the front.
pub(super) fn split(files: &mut std::vec::IntoIter<OwnedFd>, count: usize) -> Result<Vec<OwnedFd>> {
    let part: Vec<_> = files.by_ref().take(count).collect();
    if part.len() < count {
        bail!("fewer files came than were announced");
    }
    Ok(part)
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Read as _, os::fd::AsFd as _, thread};

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    fn pair() -> (Channel, Channel) {
        let (one, two) = UnixStream::pair().unwrap();
        (Channel::new(one).unwrap(), Channel::new(two).unwrap())
    }

    #[test]
    fn messages_and_files_arrive_whole_and_in_order() {
        let (sender, mut receiver) = pair();
        let (mut reader, writer) = io::pipe().unwrap();
        let file = File::from(OwnedFd::from(writer));
        // More files than one message of the kernel takes, and more text than a socket holds.
        let (count, text) = (150, "x".repeat(1_000_000));
        let sending = thread::spawn(move || {
            let files: Vec<_> = (0..count).map(|_| file.as_fd()).collect();
            sender.send(&text, &files, LONG, &|| false).unwrap();
            sender.send(&7, &[], LONG, &|| false).unwrap();
        });
        let text: String = receiver.receive(LONG, &|| false).unwrap();
        assert_eq!(text.len(), 1_000_000);
        let mut files = receiver.take_files().into_iter();
        assert_eq!(files.len(), count);
        assert!(split(&mut files, 149).is_ok() && split(&mut files, 2).is_err());
        assert_eq!(receiver.receive::<u32>(LONG, &|| false).unwrap(), 7);
        sending.join().unwrap();
        drop(files);
        assert_eq!(reader.read(&mut [0; 1]).unwrap(), 0, "nobody holds the other end any more");
        assert!(matches!(receiver.receive::<u32>(LONG, &|| false), Err(Broken::Gone)));
    }

    #[test]
    fn who_waits_is_told_why_nothing_came() {
        let (sender, mut receiver) = pair();
        assert!(matches!(receiver.receive::<u32>(Duration::ZERO, &|| false), Err(Broken::Late)));
        assert!(matches!(receiver.receive::<u32>(LONG, &|| true), Err(Broken::GivenUp)));
        sender.send(&"text", &[], LONG, &|| false).unwrap();
        assert!(matches!(receiver.receive::<u32>(LONG, &|| false), Err(Broken::Wrong(_))));
        // Nobody reads: it is noticed, and nothing hangs.
        let text = "x".repeat(10_000_000);
        assert!(matches!(sender.send(&text, &[], Duration::ZERO, &|| false), Err(Broken::Late)));
        drop(receiver);
        assert!(matches!(sender.send(&text, &[], LONG, &|| false), Err(Broken::Gone)));
    }
}
