//! Records of an established session: sealed and opened with the keys that the handshake agreed on.
//!
//! The handshake is rustls's, and so is everything that decides on keys. What is done here for each record is what a
//! kernel would do for a socket with TLS: RFC 8446 section 5.2 and, for TLS 1.2, RFC 5246 section 6.2.3.3 with the nonces of
//! RFC 5288 (AES-GCM) and RFC 7905 (ChaCha20-Poly1305). Nothing is allocated, and every byte is touched once.

use std::{error::Error, fmt, io::IoSlice};

use aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey,
};
use rustls::{AlertDescription, ConnectionTrafficSecrets};
use weir_model::tls::Version;

/// Content types (RFC 8446 section 5.1).
pub(super) const ALERT: u8 = 21;
pub(super) const HANDSHAKE: u8 = 22;
pub(super) const DATA: u8 = 23;

/// The header of a record.
pub(super) const HEADER: usize = 5;
/// The most content of a record.
pub(super) const MOST_CONTENT: usize = 1 << 14;
/// The most that a record may be longer than its content (RFC 5246 section 6.2.3), of what is read.
const MOST_EXPANSION: usize = 2048;
/// The largest record that is read, its header included.
pub(super) const MOST_RECORD: usize = HEADER + MOST_CONTENT + MOST_EXPANSION;

/// The tag of every AEAD that is spoken.
const TAG: usize = 16;
/// The part of a nonce that stands in the record, in TLS 1.2 with AES-GCM.
const EXPLICIT: usize = 8;
/// Records after which a key of AES-GCM is worn out (RFC 8446 section 5.5), with a margin.
const MOST_RECORDS: u64 = (1 << 24) - (1 << 10);

/// The other end has ended it.
const GIVEN_UP: &str = "the other end gave up the TLS session";

/// Why a session cannot go on, and what the other end is told about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) alert: AlertDescription,
    /// One plain sentence.
    pub(super) because: &'static str,
}

impl Broken {
    pub(super) const fn new(alert: AlertDescription, because: &'static str) -> Self {
        Self { alert, because }
    }

    /// The other end has said this alert.
    pub(super) const fn told(alert: AlertDescription) -> Self {
        Self::new(alert, GIVEN_UP)
    }

    /// The alert that the other end has said, if that is why.
    pub(super) fn said(self) -> Option<AlertDescription> {
        (self.because == GIVEN_UP).then_some(self.alert)
    }

    const UNREADABLE: Self =
        Self::new(AlertDescription::BadRecordMac, "a TLS record was not sealed with the keys of its session");
    const TOO_LARGE: Self = Self::new(AlertDescription::RecordOverflow, "a TLS record is too large");
    const UNEXPECTED: Self =
        Self::new(AlertDescription::UnexpectedMessage, "a TLS record is of a type that is not expected now");
    /// Nothing that a peer could do leads here.
    pub(super) const INTERNAL: Self =
        Self::new(AlertDescription::InternalError, "a TLS record could not be sealed");
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?})", self.because, self.alert)
    }
}

impl Error for Broken {}

/// How records are sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// The type is hidden behind the content.
    Tls13,
    /// Half of the nonce stands before the content.
    Tls12Gcm,
    Tls12ChaCha,
}

/// The keys of one direction.
pub(super) struct Keys {
    key: LessSafeKey,
    iv: [u8; NONCE_LEN],
    /// The number of the next record.
    next: u64,
    form: Form,
    most: u64,
}

/// The header of a record that has come whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    kind: u8,
    version: [u8; 2],
    /// Of what follows the header.
    pub(super) length: usize,
}

/// A record that was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Opened {
    pub(super) kind: u8,
    /// Where its content begins, counted from where it was opened to.
    pub(super) start: usize,
    pub(super) length: usize,
}

impl Keys {
    /// Keys with the number of the first record that they are for. `None` for a cipher that nobody offered.
    pub(super) fn new(version: Version, (next, secrets): (u64, ConnectionTrafficSecrets)) -> Option<Self> {
        let tls12 = |form| if version == Version::Tls13 { Form::Tls13 } else { form };
        let (algorithm, key, iv, form, most): (&'static Algorithm, _, _, _, _) = match &secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => {
                (&AES_128_GCM, key, iv, tls12(Form::Tls12Gcm), MOST_RECORDS)
            }
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => {
                (&AES_256_GCM, key, iv, tls12(Form::Tls12Gcm), MOST_RECORDS)
            }
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => {
                (&CHACHA20_POLY1305, key, iv, tls12(Form::Tls12ChaCha), u64::MAX)
            }
            _ => return None,
        };
        let key = LessSafeKey::new(UnboundKey::new(algorithm, key.as_ref()).ok()?);
        Some(Self { key, iv: iv.as_ref().try_into().ok()?, next, form, most })
    }

    /// Makes it as if it had sealed all records that it may.
    #[cfg(test)]
    pub(super) const fn wear_out(&mut self) {
        self.most = self.next;
    }

    /// True once another key has to take over.
    pub(super) const fn is_worn_out(&self) -> bool {
        self.next >= self.most
    }

    /// What a record of this much content is longer than that.
    pub(super) const fn expansion(&self) -> usize {
        match self.form {
            Form::Tls13 => HEADER + 1 + TAG,
            Form::Tls12Gcm => HEADER + EXPLICIT + TAG,
            Form::Tls12ChaCha => HEADER + TAG,
        }
    }

    /// The nonce of the next record: its number, hidden by what both ends know.
    fn nonce(&self) -> [u8; NONCE_LEN] {
        let mut nonce = self.iv;
        for (byte, number) in nonce[NONCE_LEN - 8..].iter_mut().zip(self.next.to_be_bytes()) {
            *byte ^= number;
        }
        nonce
    }

    /// What is authenticated beside the content in TLS 1.2.
    fn aad12(&self, kind: u8, version: [u8; 2], length: usize) -> [u8; 13] {
        let mut aad = [0; 13];
        aad[..8].copy_from_slice(&self.next.to_be_bytes());
        aad[8] = kind;
        aad[9..11].copy_from_slice(&version);
        aad[11..].copy_from_slice(&(length as u16).to_be_bytes());
        aad
    }

    /// Seals one record of at most [`MOST_CONTENT`] bytes into the front of `out`; returns its length.
    pub(super) fn seal(
        &mut self,
        kind: u8,
        content: Content<'_, '_>,
        out: &mut [u8],
    ) -> Result<usize, Broken> {
        let size = content.length;
        let total = size + self.expansion();
        let (header, rest) = out[..total].split_at_mut(HEADER);
        let outer = if self.form == Form::Tls13 { DATA } else { kind };
        header.copy_from_slice(&[outer, 3, 3, ((total - HEADER) >> 8) as u8, (total - HEADER) as u8]);
        let nonce = self.nonce();
        let aad12 = self.aad12(kind, [3, 3], size);
        let (explicit, inner, aad): (usize, &[u8], &[u8]) = match self.form {
            Form::Tls13 => (0, std::slice::from_ref(&kind), header),
            Form::Tls12Gcm => (EXPLICIT, &[], &aad12),
            Form::Tls12ChaCha => (0, &[], &aad12),
        };
        let (before, rest) = rest.split_at_mut(explicit);
        before.copy_from_slice(&nonce[NONCE_LEN - explicit..]);
        let (sealed, behind) = rest.split_at_mut(size);
        let (nonce, aad) = (Nonce::assume_unique_for_key(nonce), Aad::from(aad));
        self.next += 1;
        match content.as_one() {
            Some(one) => self.key.seal_out_of_place_scatter(nonce, aad, one, sealed, inner, behind),
            None => {
                content.copy_to(sealed);
                self.key.seal_in_place_scatter(nonce, aad, sealed, inner, behind)
            }
        }
        .map_err(|_| Broken::INTERNAL)?;
        Ok(total)
    }

    /// What a record may look like at most, and what it is: `None` until its header has come.
    pub(super) fn header(&self, bytes: &[u8]) -> Result<Option<Header>, Broken> {
        let &[kind, major, minor, high, low, ..] = bytes else { return Ok(None) };
        let length = usize::from(high) << 8 | usize::from(low);
        let least = self.expansion() - HEADER;
        let most = if self.form == Form::Tls13 { MOST_CONTENT + 256 } else { MOST_CONTENT + MOST_EXPANSION };
        if length > most {
            return Err(Broken::TOO_LARGE);
        }
        let expected = match self.form {
            Form::Tls13 => kind == DATA,
            _ => matches!(kind, ALERT | HANDSHAKE | DATA),
        };
        if !expected || major != 3 {
            return Err(Broken::UNEXPECTED);
        }
        if length < least {
            return Err(Broken::UNREADABLE);
        }
        Ok(Some(Header { kind, version: [major, minor], length }))
    }

    /// How much room the content of a record takes while it is opened.
    pub(super) const fn room_for(&self, header: Header) -> usize {
        match self.form {
            Form::Tls12Gcm => header.length - EXPLICIT - TAG,
            _ => header.length - TAG,
        }
    }

    /// Opens a record into other memory, of [`Keys::room_for`] bytes.
    pub(super) fn open_to(
        &mut self,
        header: Header,
        record: &[u8],
        into: &mut [u8],
    ) -> Result<Opened, Broken> {
        let sealed = &record[HEADER + self.explicit()..HEADER + header.length];
        let (content, tag) = sealed.split_at(sealed.len() - TAG);
        let (nonce, aad) = self.inbound(header, record);
        let opened = match &aad {
            Ok(aad) => self.key.open_separate_gather(nonce, Aad::from(aad), content, tag, into),
            Err(aad) => self.key.open_separate_gather(nonce, Aad::from(aad), content, tag, into),
        };
        opened.map_err(|_| Broken::UNREADABLE)?;
        self.next += 1;
        self.judge(header, into)
    }

    /// Opens a record where it stands; what is returned counts from the start of the record.
    pub(super) fn open_here(&mut self, header: Header, record: &mut [u8]) -> Result<Opened, Broken> {
        let before = HEADER + self.explicit();
        let (nonce, aad) = self.inbound(header, record);
        let sealed = &mut record[before..HEADER + header.length];
        let opened = match &aad {
            Ok(aad) => self.key.open_in_place(nonce, Aad::from(aad), sealed),
            Err(aad) => self.key.open_in_place(nonce, Aad::from(aad), sealed),
        };
        let content = opened.map_err(|_| Broken::UNREADABLE)?;
        self.next += 1;
        let opened = self.judge(header, content)?;
        Ok(Opened { start: before, ..opened })
    }

    const fn explicit(&self) -> usize {
        if matches!(self.form, Form::Tls12Gcm) { EXPLICIT } else { 0 }
    }

    /// The nonce of a record that has come, and what was authenticated beside it: in TLS 1.3 its header.
    fn inbound(&self, header: Header, record: &[u8]) -> (Nonce, Result<[u8; HEADER], [u8; 13]>) {
        let mut nonce = self.nonce();
        if self.form == Form::Tls12Gcm {
            nonce[..4].copy_from_slice(&self.iv[..4]);
            nonce[4..].copy_from_slice(&record[HEADER..HEADER + EXPLICIT]);
        }
        let aad = if self.form == Form::Tls13 {
            let mut own = [0; HEADER];
            own.copy_from_slice(&record[..HEADER]);
            Ok(own)
        } else {
            Err(self.aad12(header.kind, header.version, self.room_for(header)))
        };
        (Nonce::assume_unique_for_key(nonce), aad)
    }

    /// Finds the type, and takes padding off.
    fn judge(&self, header: Header, content: &[u8]) -> Result<Opened, Broken> {
        let (kind, length) = if self.form == Form::Tls13 {
            // Padding is rare: mostly the last byte is the type.
            let last = content.iter().rposition(|byte| *byte != 0).ok_or(Broken::UNEXPECTED)?;
            (content[last], last)
        } else {
            (header.kind, content.len())
        };
        if length > MOST_CONTENT {
            return Err(Broken::TOO_LARGE);
        }
        match kind {
            DATA => {}
            // Neither may be empty (RFC 8446 section 5.1).
            ALERT | HANDSHAKE if length > 0 => {}
            _ => return Err(Broken::UNEXPECTED),
        }
        Ok(Opened { kind, start: 0, length })
    }
}

/// The content of a record that is to be sealed: a stretch of several slices.
#[derive(Clone, Copy)]
pub(super) struct Content<'s, 'd> {
    slices: &'s [IoSlice<'d>],
    /// Bytes at the start of the slices that are not part of it.
    skipped: usize,
    pub(super) length: usize,
}

impl<'s, 'd> Content<'s, 'd> {
    /// At most a record's worth of these slices, after those that are skipped; fewer than `slices` may hold.
    pub(super) fn of(slices: &'s [IoSlice<'d>], skipped: usize) -> Self {
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        Self { slices, skipped, length: total.saturating_sub(skipped).min(MOST_CONTENT) }
    }

    /// Its pieces in order.
    fn pieces(self) -> impl Iterator<Item = &'s [u8]> {
        let (mut skipped, mut left) = (self.skipped, self.length);
        self.slices.iter().filter_map(move |slice| {
            let skip = skipped.min(slice.len());
            skipped -= skip;
            let piece = &slice[skip..];
            let piece = &piece[..piece.len().min(left)];
            left -= piece.len();
            (!piece.is_empty()).then_some(piece)
        })
    }

    /// The whole of it, if it lies in one piece.
    fn as_one(self) -> Option<&'s [u8]> {
        let first = self.pieces().next().unwrap_or(&[]);
        (first.len() == self.length).then_some(first)
    }

    fn copy_to(self, mut into: &mut [u8]) {
        for piece in self.pieces() {
            let (here, rest) = into.split_at_mut(piece.len());
            here.copy_from_slice(piece);
            into = rest;
        }
    }
}
