//! Counts the frames that come on a connection, by their headers alone: what the `h2` crate takes without a word, however much
//! of it there is, is bounded here.

use std::cell::{Cell, RefCell};

use h2::Reason;
use weir_model::time::Moment;

use super::{
    block::Blocks,
    budget::{Budget, Flood},
};

/// The header of a frame (RFC 9113 section 4.1).
const HEADER: usize = 9;
/// What a client begins with (RFC 9113 section 3.4).
const PREFACE: usize = 24;
/// One of the pairs that SETTINGS consist of.
const SETTING: usize = 6;
/// How much a stream may be sent at first.
const INITIAL_WINDOW_SIZE: u8 = 4;
/// CONTINUATION frames of one head: with frames of a few hundred bytes that is more than any head may have.
const MOST_CONTINUATIONS: u32 = 256;

/// Types of frames.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

/// Flags of frames.
const END_STREAM: u8 = 0x1;
const ACK: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const HAS_PRIORITY: u8 = 0x20;
/// What stands before a header block that has a priority.
const PRIORITY_LENGTH: usize = 5;

/// What is wrong with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A length that its kind cannot have.
    Size,
    /// A window that cannot be.
    Window,
    /// A header block that names what is in no table.
    Compression,
}

impl Fault {
    /// The code that tells it (RFC 9113 section 7).
    pub(crate) const fn reason(self) -> Reason {
        match self {
            Self::Size => Reason::FRAME_SIZE_ERROR,
            Self::Window => Reason::FLOW_CONTROL_ERROR,
            Self::Compression => Reason::COMPRESSION_ERROR,
        }
    }

    /// What it is, in words.
    pub(crate) const fn sentence(self) -> &'static str {
        match self {
            Self::Size => "a frame of a length that its kind cannot have",
            Self::Window => "an initial window beyond 2^31-1",
            Self::Compression => "a header block that names what is in no table, or wants too large a one",
        }
    }
}

/// What has come on one connection.
#[derive(Debug)]
pub(crate) struct Census {
    count: RefCell<Count>,
    /// Bytes sent since something came.
    sent: Cell<u64>,
    flood: Cell<Option<Flood>>,
    /// What a frame is, where the crate would say no more than that it is wrong.
    fault: Cell<Option<Fault>>,
    head_since: Cell<Option<Moment>>,
    settled: Cell<bool>,
    told_to_go: Cell<bool>,
}

#[derive(Debug)]
struct Count {
    /// Bytes before the next header, or before what is left of it.
    skip: usize,
    header: [u8; HEADER],
    /// Bytes of the header, or of the setting, that have come.
    filled: usize,
    /// Settings that come before the next header.
    settings: usize,
    /// A head ends with the payload that is being skipped.
    ends_head: bool,
    /// That payload is part of a head.
    part: Option<Part>,
    blocks: Blocks,
    continuations: u32,
    /// Bytes that such frames have made us send, or will: they pay for nothing.
    answers: u64,
    budget: Budget,
}

/// The payload of a frame with a part of a header block in it.
#[derive(Clone, Copy, Debug)]
struct Part {
    /// The first byte says how much padding there is.
    padded: bool,
    /// Bytes before the block.
    lead: usize,
    /// Bytes behind it.
    padding: usize,
}

impl Part {
    /// What belongs to the block of these bytes, which are `left` before the payload ends.
    fn of_block<'b>(&mut self, mut bytes: &'b [u8], mut left: usize) -> &'b [u8] {
        if self.padded
            && let [padding, rest @ ..] = bytes
        {
            (self.padded, self.padding) = (false, usize::from(*padding));
            (bytes, left) = (rest, left - 1);
        }
        let skipped = self.lead.min(bytes.len());
        self.lead -= skipped;
        (bytes, left) = (&bytes[skipped..], left - skipped);
        &bytes[..bytes.len().min(left.saturating_sub(self.padding))]
    }
}

impl Census {
    /// Of what a client sends.
    pub(crate) fn of_client(now: Moment) -> Self {
        Self::new(PREFACE, now)
    }

    /// Of what a backend sends.
    pub(crate) fn of_backend(now: Moment) -> Self {
        Self::new(0, now)
    }

    fn new(skip: usize, now: Moment) -> Self {
        let count = Count {
            skip,
            header: [0; HEADER],
            filled: 0,
            settings: 0,
            ends_head: false,
            part: None,
            blocks: Blocks::default(),
            continuations: 0,
            answers: 0,
            budget: Budget::new(now),
        };
        Self {
            count: RefCell::new(count),
            sent: Cell::new(0),
            flood: Cell::new(None),
            fault: Cell::new(None),
            head_since: Cell::new(None),
            settled: Cell::new(false),
            told_to_go: Cell::new(false),
        }
    }

    /// What there was too much of, if there was: the connection is to end, and nothing more is read from it.
    pub(crate) fn exceeded(&self) -> Option<Flood> {
        self.flood.get()
    }

    /// Since when a head has been coming that is not complete.
    pub(crate) fn head_since(&self) -> Option<Moment> {
        self.head_since.get()
    }

    /// True once the peer has said what it allows.
    pub(crate) fn is_settled(&self) -> bool {
        self.settled.get()
    }

    /// True once the peer has said that it takes no more streams.
    pub(crate) fn is_told_to_go(&self) -> bool {
        self.told_to_go.get()
    }

    /// So many bytes have been sent to the peer.
    pub(super) fn went(&self, bytes: usize) {
        self.sent.set(self.sent.get() + bytes as u64);
    }

    /// These bytes have come.
    pub(super) fn came(&self, mut bytes: &[u8], now: Moment) {
        let count = &mut *self.count.borrow_mut();
        let sent = self.sent.take();
        let answers = sent.min(count.answers);
        count.answers -= answers;
        count.budget.sent(sent - answers);
        while !bytes.is_empty() {
            if count.skip > 0 {
                let (skipped, rest) = bytes.split_at(count.skip.min(bytes.len()));
                if let Some(part) = &mut count.part
                    && !count.blocks.are_sound(part.of_block(skipped, count.skip))
                {
                    return self.fault.set(Some(Fault::Compression));
                }
                count.skip -= skipped.len();
                bytes = rest;
                self.end_head(count);
                continue;
            }
            let wanted = if count.settings > 0 { SETTING } else { HEADER };
            let taken = (wanted - count.filled).min(bytes.len());
            count.header[count.filled..count.filled + taken].copy_from_slice(&bytes[..taken]);
            count.filled += taken;
            bytes = &bytes[taken..];
            if count.filled == wanted {
                count.filled = 0;
                if count.settings > 0 {
                    count.settings -= 1;
                    self.setting(count);
                    continue;
                }
                self.frame(count, now);
                self.end_head(count);
            }
        }
    }

    /// The head is complete whose last payload has come.
    fn end_head(&self, count: &mut Count) {
        if count.skip == 0 && std::mem::take(&mut count.ends_head) {
            self.head_since.set(None);
        }
    }

    /// A setting that the crate would call wrong in general terms (RFC 9113 section 6.5.2).
    fn setting(&self, count: &Count) {
        let [_, id, high, ..] = count.header;
        if count.header[0] == 0 && id == INITIAL_WINDOW_SIZE && high & 0x80 != 0 {
            self.fault.set(Some(Fault::Window));
        }
    }

    /// What is wrong with a frame that has come: the connection is to end with its code.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.fault.get()
    }

    fn frame(&self, count: &mut Count, now: Moment) {
        let [high, middle, low, kind, flags, ..] = count.header;
        let length = u32::from_be_bytes([0, high, middle, low]) as usize;
        count.skip = length;
        count.part = None;
        if kind == PING && length != 8 || matches!(kind, WINDOW_UPDATE | RST_STREAM) && length != 4 {
            self.fault.set(Some(Fault::Size));
        }
        let spent = match kind {
            DATA if length == 0 && flags & END_STREAM == 0 => Some(Flood::EmptyData),
            DATA => None,
            HEADERS | PUSH_PROMISE => {
                count.budget.stream();
                count.continuations = 0;
                self.head_since.set(Some(now));
                count.ends_head = flags & END_HEADERS != 0;
                if kind == HEADERS {
                    let lead = if flags & HAS_PRIORITY != 0 { PRIORITY_LENGTH } else { 0 };
                    count.part = Some(Part { padded: flags & PADDED != 0, lead, padding: 0 });
                    count.blocks.begin();
                }
                None
            }
            CONTINUATION => {
                count.part = Some(Part { padded: false, lead: 0, padding: 0 });
                count.continuations += 1;
                count.ends_head = flags & END_HEADERS != 0;
                if count.continuations > MOST_CONTINUATIONS {
                    self.flood.set(Some(Flood::Continuation));
                }
                Some(Flood::Continuation)
            }
            PRIORITY => Some(Flood::Priority),
            RST_STREAM => Some(Flood::Reset),
            SETTINGS => {
                self.settled.set(true);
                if !length.is_multiple_of(SETTING) || flags & ACK != 0 && length > 0 {
                    self.fault.set(Some(Fault::Size));
                } else {
                    (count.settings, count.skip) = (length / SETTING, 0);
                }
                count.answers += HEADER as u64;
                Some(Flood::Settings)
            }
            PING => {
                count.answers += (HEADER + 8) as u64;
                Some(Flood::Ping)
            }
            GOAWAY => {
                self.told_to_go.set(true);
                // Two of them are usual, and none makes anybody work.
                Some(Flood::Unknown)
            }
            WINDOW_UPDATE => Some(Flood::WindowUpdate),
            _ => Some(Flood::Unknown),
        };
        if let Some(kind) = spent
            && count.budget.spend(kind, now)
        {
            self.flood.set(Some(kind));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment(5_000);

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u32).to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        frame.extend_from_slice(payload);
        frame
    }

    #[test]
    fn frames_are_told_apart_however_the_bytes_arrive() {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frame(SETTINGS, 0, &[]));
        bytes.extend(frame(HEADERS, 0, &[0x82; 40]));
        bytes.extend(frame(CONTINUATION, 0, &[]));
        bytes.extend(frame(CONTINUATION, END_HEADERS, &[0x84; 5]));
        // Payload that looks like frames.
        bytes.extend(frame(DATA, 0, &frame(GOAWAY, 0, &[0; 8])));
        for split in 0..=bytes.len() {
            let census = Census::of_client(NOW);
            census.came(&bytes[..split], NOW);
            census.came(&bytes[split..], NOW);
            assert!(census.is_settled() && !census.is_told_to_go(), "split at {split}");
            let count = census.count.borrow();
            assert_eq!((count.continuations, count.skip, count.filled), (2, 0, 0), "split at {split}");
            assert_eq!(census.head_since(), None);
        }
        let census = Census::of_client(NOW);
        bytes.chunks(1).for_each(|byte| census.came(byte, NOW));
        assert_eq!(census.count.borrow().continuations, 2);
    }

    #[test]
    fn a_head_is_known_to_be_open_until_its_last_byte() {
        let census = Census::of_backend(NOW);
        let head = [frame(HEADERS, 0, b"ab"), frame(CONTINUATION, END_HEADERS, b"cd")].concat();
        for (index, byte) in head.chunks(1).enumerate() {
            census.came(byte, NOW);
            let open = (8..head.len() - 1).contains(&index);
            assert_eq!(census.head_since().is_some(), open, "after byte {index}");
        }
    }

    #[test]
    fn only_the_block_of_a_head_is_judged() {
        // What would be no entry stands in the priority and in the padding.
        let sound =
            frame(HEADERS, END_HEADERS | PADDED | HAS_PRIORITY, b"\x03\x80\x80\x80\x80\x80\x82\x80\x80\x80");
        let bad = frame(HEADERS, END_HEADERS | PADDED | HAS_PRIORITY, b"\x03\0\0\0\0\0\x80\0\0\0");
        let later = [frame(HEADERS, 0, b"\x82"), frame(CONTINUATION, END_HEADERS, b"\xbe")].concat();
        for (bytes, fault) in
            [(&sound, None), (&bad, Some(Fault::Compression)), (&later, Some(Fault::Compression))]
        {
            for split in 0..bytes.len() {
                let census = Census::of_backend(NOW);
                census.came(&bytes[..split], NOW);
                if census.fault().is_none() {
                    census.came(&bytes[split..], NOW);
                }
                assert_eq!(census.fault(), fault, "split at {split}");
            }
        }
    }

    #[test]
    fn a_head_of_endless_pieces_is_a_flood() {
        let census = Census::of_backend(NOW);
        census.came(&frame(HEADERS, 0, b""), NOW);
        for _ in 0..MOST_CONTINUATIONS {
            assert_eq!(census.exceeded(), None);
            census.came(&frame(CONTINUATION, 0, b""), NOW);
        }
        census.came(&frame(CONTINUATION, 0, b""), NOW);
        assert_eq!(census.exceeded(), Some(Flood::Continuation));
    }

    #[test]
    fn answers_to_pings_pay_for_no_pings() {
        let census = Census::of_backend(NOW);
        let over = (0..1000).any(|_| {
            census.came(&frame(PING, 0, &[0; 8]), NOW);
            census.went(HEADER + 8);
            census.exceeded().is_some()
        });
        assert!(over);
    }

    #[test]
    fn each_flood_is_called_by_its_name() {
        let kinds = [
            (RST_STREAM, Flood::Reset),
            (SETTINGS, Flood::Settings),
            (PING, Flood::Ping),
            (PRIORITY, Flood::Priority),
            (DATA, Flood::EmptyData),
            (WINDOW_UPDATE, Flood::WindowUpdate),
            (0xee, Flood::Unknown),
        ];
        for (kind, flood) in kinds {
            let census = Census::of_backend(NOW);
            for _ in 0..1001 {
                census.came(&frame(kind, 0, b""), NOW);
            }
            assert_eq!(census.exceeded(), Some(flood));
        }
    }
}
