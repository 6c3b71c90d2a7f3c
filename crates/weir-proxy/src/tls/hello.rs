//! The ClientHello: the first thing a client says in TLS (RFC 8446 section 4.1.2, RFC 5246 section 7.4.1.2), read without
//! taking it away. What it says decides which listener and which route a connection belongs to, before anything is
//! decrypted.
//!
//! Nothing is kept of the bytes while they come: they stay where they were received, to be handed on as they are.

mod body;
mod name;
#[cfg(test)]
mod tests;

use std::fmt;

use weir_model::route::ProtocolNames;

/// The most bytes that a ClientHello may take up, with the heads of its records; post-quantum keys make one some 1,800 bytes.
pub(crate) const LARGEST: usize = 64 * 1024;

/// The head of a record (RFC 8446 section 5.1).
const RECORD_HEAD: usize = 5;
/// The most that one record may carry.
const LARGEST_RECORD: usize = 1 << 14;
/// The head of a handshake message.
const MESSAGE_HEAD: usize = 4;

/// A record of the handshake.
const HANDSHAKE: u8 = 22;
/// Its message.
const CLIENT_HELLO: u8 = 1;

/// What a client asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hello {
    /// The host that it wants to reach (RFC 6066 section 3), in lower case and without a final dot. Without one if it sent
    /// none, or an address instead of a name, which is none.
    pub(crate) server_name: Option<Box<str>>,
    /// The protocols that it offers (RFC 7301), as they were sent: each behind its length.
    alpn: Box<[u8]>,
    /// The newest version that it offers, as a number of the protocol: 0x0303 is TLS 1.2.
    pub(crate) newest: u16,
    /// It wants to resume a session.
    pub(crate) resumes: bool,
    /// Its real hello is encrypted inside (RFC 9849): the name is that of whoever can open it.
    pub(crate) encrypted: bool,
}

impl Hello {
    /// One of which nothing is known but the name that is asked for.
    pub(crate) fn asking_for(server_name: Option<&str>) -> Self {
        Self { server_name: server_name.map(Box::from), ..Self::default() }
    }

    /// The protocols that it offers, the preferred one first.
    pub(crate) const fn alpn(&self) -> ProtocolNames<'_> {
        ProtocolNames::offered(&self.alpn)
    }
}

/// In words, for the log.
impl fmt::Display for Hello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.server_name {
            Some(name) => write!(f, "for `{name}`")?,
            None => f.write_str("without a name")?,
        }
        match self.newest {
            0x0304 => f.write_str(", TLS 1.3")?,
            0x0303 => f.write_str(", TLS 1.2")?,
            other => write!(f, ", version {other:#06x}")?,
        }
        for (number, protocol) in self.alpn().enumerate() {
            let before = if number == 0 { ", ALPN " } else { " " };
            write!(f, "{before}{}", protocol.escape_ascii())?;
        }
        f.write_str(if self.resumes { ", resuming" } else { "" })?;
        f.write_str(if self.encrypted { ", with an encrypted hello inside" } else { "" })
    }
}

/// What the bytes are so far.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The beginning of a ClientHello.
    NeedMore,
    /// Something that no TLS begins with.
    NotTls,
    /// TLS, but not a ClientHello that can be believed.
    Bad(Bad),
    /// A whole one.
    Whole(Hello),
}

/// What is wrong with one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bad {
    /// It begins with another record or message.
    OtherMessage,
    /// A record that is empty, or larger than allowed.
    RecordLength,
    /// It is larger than [`LARGEST`].
    TooLarge,
    /// Its lengths do not fit, or a field is missing.
    Malformed,
    /// An extension came twice.
    Repeated,
    /// The name is not the name of a host.
    Name,
}

impl Bad {
    /// In words.
    pub(crate) const fn sentence(self) -> &'static str {
        match self {
            Self::OtherMessage => "the first message is not a ClientHello",
            Self::RecordLength => "a record of the ClientHello is empty or too large",
            Self::TooLarge => "the ClientHello is larger than 64 KiB",
            Self::Malformed => "the ClientHello is malformed",
            Self::Repeated => "the ClientHello says something twice",
            Self::Name => "the server name is not a host name",
        }
    }

    /// The alert that says so (RFC 8446 section 6.2).
    pub(crate) const fn alert(self) -> Alert {
        match self {
            Self::OtherMessage => Alert::UNEXPECTED_MESSAGE,
            Self::RecordLength => Alert::RECORD_OVERFLOW,
            Self::TooLarge | Self::Repeated | Self::Name => Alert::ILLEGAL_PARAMETER,
            Self::Malformed => Alert::DECODE_ERROR,
        }
    }
}

/// A fatal alert, for a client with which nothing has been agreed (RFC 8446 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Alert(u8);

impl Alert {
    const UNEXPECTED_MESSAGE: Self = Self(10);
    const RECORD_OVERFLOW: Self = Self(22);
    const ILLEGAL_PARAMETER: Self = Self(47);
    const DECODE_ERROR: Self = Self(50);
    /// It has to say a name, and says none (RFC 8446 section 9.2).
    pub(crate) const MISSING_EXTENSION: Self = Self(109);
    /// Nobody is of that name (RFC 6066 section 3).
    pub(crate) const UNRECOGNIZED_NAME: Self = Self(112);

    /// As a record.
    pub(crate) const fn record(self) -> [u8; RECORD_HEAD + 2] {
        [21, 3, 3, 0, 2, 2, self.0]
    }
}

/// Reads a ClientHello that comes in pieces: each byte is looked at a fixed number of times, however small the pieces and the
/// records are.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    /// Where the next record begins; everything before is whole records.
    next: usize,
    /// Bytes of the handshake in there.
    carried: usize,
    /// The head of the message, as far as it is there.
    head: [u8; MESSAGE_HEAD],
}

impl Reader {
    /// What this is. Called again with more whenever more has come, and always with everything from the first byte on.
    pub(crate) fn read(&mut self, received: &[u8]) -> Progress {
        loop {
            let record = &received[self.next.min(received.len())..];
            let length = match record_length(record, self.next == 0) {
                Ok(Some(length)) => length,
                Ok(None) => return self.more_or_too_large(received.len()),
                Err(refused) => return refused,
            };
            let behind = &record[RECORD_HEAD..];
            // The head of the message is judged as soon as it is there, before its record is.
            let there = length.min(behind.len());
            for (nth, byte) in behind[..there.min(MESSAGE_HEAD)].iter().enumerate() {
                if let Some(place) = self.head.get_mut(self.carried + nth) {
                    *place = *byte;
                }
            }
            let known = self.carried + there;
            if known > 0 && self.head[0] != CLIENT_HELLO {
                return Progress::Bad(Bad::OtherMessage);
            }
            let whole = (known >= MESSAGE_HEAD).then(|| self.message_length());
            if whole.is_some_and(|whole| whole > LARGEST - RECORD_HEAD) {
                return Progress::Bad(Bad::TooLarge);
            }
            if behind.len() < length {
                return self.more_or_too_large(received.len());
            }
            self.next += RECORD_HEAD + length;
            self.carried += length;
            match whole {
                Some(whole) if self.carried == whole => return self.finish(&received[..self.next]),
                // Nothing may follow it before it was answered.
                Some(whole) if self.carried > whole => return Progress::Bad(Bad::Malformed),
                _ => {}
            }
        }
    }

    const fn more_or_too_large(&self, received: usize) -> Progress {
        if received >= LARGEST { Progress::Bad(Bad::TooLarge) } else { Progress::NeedMore }
    }

    fn message_length(&self) -> usize {
        let [_, high, middle, low] = self.head;
        MESSAGE_HEAD + (usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low))
    }

    /// The message out of whole records, which hold it and nothing else.
    fn finish(&self, records: &[u8]) -> Progress {
        let mut gathered;
        let message = if self.next == RECORD_HEAD + self.carried {
            &records[RECORD_HEAD..]
        } else {
            gathered = Vec::with_capacity(self.carried);
            let mut rest = records;
            while let Some((head, behind)) = rest.split_at_checked(RECORD_HEAD) {
                let length = usize::from(u16::from_be_bytes([head[3], head[4]])).min(behind.len());
                gathered.extend_from_slice(&behind[..length]);
                rest = &behind[length..];
            }
            &gathered[..]
        };
        match body::parse(message.get(MESSAGE_HEAD..).unwrap_or_default()) {
            Ok(hello) => Progress::Whole(hello),
            Err(bad) => Progress::Bad(bad),
        }
    }
}

/// How much a record carries; none if its head is not whole. Judged byte by byte, so that a client that speaks something else
/// and waits for an answer is told apart at once.
fn record_length(record: &[u8], first: bool) -> Result<Option<usize>, Progress> {
    match record {
        // An alert or data of a session that has not begun; anything else begins no record of TLS.
        [20 | 21 | 23, 3, ..] => return Err(Progress::Bad(Bad::OtherMessage)),
        [20 | 21 | 23] => return Ok(None),
        [kind, ..] if *kind != HANDSHAKE && first => return Err(Progress::NotTls),
        [kind, ..] if *kind != HANDSHAKE => return Err(Progress::Bad(Bad::OtherMessage)),
        [_, major, ..] if *major != 3 && first => return Err(Progress::NotTls),
        [_, major, ..] if *major != 3 => return Err(Progress::Bad(Bad::Malformed)),
        _ => {}
    }
    let Some(length) = record.get(3..RECORD_HEAD) else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
    // A fragment of the handshake is never empty (RFC 8446 section 5.1).
    if !(1..=LARGEST_RECORD).contains(&length) {
        return Err(Progress::Bad(Bad::RecordLength));
    }
    Ok(Some(length))
}
