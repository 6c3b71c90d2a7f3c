//! Session tickets (RFC 5077, RFC 8446 section 4.6.1): what lets a client come back without a full handshake, whichever
//! worker it meets, after a reload, and after an upgrade in place.
//!
//! A ticket is sealed by one key of the whole process, which is replaced every [`PERIOD`]; the one before it still opens
//! tickets for as long. What a ticket vouches for was judged by the rules of one listener, its client certificates above all:
//! it opens for a listener with the same rules only.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use arc_swap::ArcSwap;
use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand,
};
use rustls::server::ProducesTickets;

use crate::clock;

/// How long a key seals tickets, in seconds; it opens them for as long again.
pub(super) const PERIOD: u64 = 12 * 3600;
/// The longest session that is given as a ticket. The certificates of the client are part of it, and clients need not take
/// a ticket of any length: who has very many certificates shakes hands in full every time.
const MOST: usize = 8 * 1024;
/// What says which key a ticket is sealed with.
const NAME: usize = 16;
const KEY: usize = 32;
/// What binds tickets to the rules of a listener.
pub(super) type Rules = [u8; 32];

/// A key of tickets as another process of the same weir takes it over.
#[derive(Clone, PartialEq, Eq)]
pub struct TicketKey {
    /// What says in a ticket that it is sealed with this key.
    pub name: [u8; NAME],
    /// The key of AES-256-GCM.
    pub key: [u8; KEY],
    /// Since when it seals tickets, in seconds since 1970.
    pub since: u64,
}

impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketKey").field("since", &self.since).finish_non_exhaustive()
    }
}

/// The keys of all tickets of a process.
#[derive(Debug, Default)]
pub struct Tickets {
    /// Made when they are first needed: the first random number of a process takes some hundredths of a second.
    keys: OnceLock<ArcSwap<Keys>>,
}

#[derive(Debug)]
pub(super) struct Keys {
    current: Key,
    before: Option<Key>,
}

#[derive(Clone)]
struct Key {
    raw: TicketKey,
    /// None only if the crypto library takes no key at all: then there are no tickets.
    aead: Option<Arc<LessSafeKey>>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.raw.fmt(f)
    }
}

impl Key {
    fn new(raw: TicketKey) -> Self {
        let aead = UnboundKey::new(&AES_256_GCM, &raw.key).ok().map(LessSafeKey::new).map(Arc::new);
        Self { raw, aead }
    }

    /// A key that nobody knows.
    fn random(now: u64) -> Self {
        let mut raw = TicketKey { name: [0; NAME], key: [0; KEY], since: now };
        let drawn = rand::fill(&mut raw.name).and_then(|()| rand::fill(&mut raw.key));
        let mut key = Self::new(raw);
        // Without randomness a key would be known to everybody.
        if drawn.is_err() {
            key.aead = None;
        }
        key
    }
}

fn now() -> u64 {
    clock::wall().0
}

impl Tickets {
    /// Goes on with the keys of another process, the current one first; with new ones if there are none.
    pub fn with(keys: Vec<TicketKey>) -> Self {
        let mut keys = keys.into_iter().map(Key::new);
        match keys.next() {
            Some(current) => {
                Self { keys: OnceLock::from(ArcSwap::from_pointee(Keys { current, before: keys.next() })) }
            }
            None => Self::default(),
        }
    }

    /// Makes the keys, if there are none yet.
    pub(super) fn begin(&self) -> &ArcSwap<Keys> {
        self.keys.get_or_init(|| ArcSwap::from_pointee(Keys { current: Key::random(now()), before: None }))
    }

    /// The keys, the current one first: for the process that takes over. None if nobody has needed any.
    pub fn keys(&self) -> Vec<TicketKey> {
        let Some(keys) = self.keys.get().map(ArcSwap::load) else { return Vec::new() };
        [Some(&keys.current), keys.before.as_ref()].into_iter().flatten().map(|key| key.raw.clone()).collect()
    }

    /// Replaces a key that has served its time. The clock may have been set back: a key from the future has, too.
    fn turn(&self, now: u64) {
        let is_old = |key: &Key| !(key.raw.since..key.raw.since.saturating_add(PERIOD)).contains(&now);
        let current = self.begin();
        if !is_old(&current.load().current) {
            return;
        }
        let next = Key::random(now);
        current.rcu(|keys| {
            if !is_old(&keys.current) {
                return keys.clone();
            }
            // Who had nobody to serve for long does not open tickets that are as old as that.
            let still = now.saturating_sub(keys.current.raw.since) < 2 * PERIOD;
            Arc::new(Keys { current: next.clone(), before: still.then(|| keys.current.clone()) })
        });
    }

    fn seal(&self, rules: &Rules, session: &[u8], now: u64) -> Option<Vec<u8>> {
        self.turn(now);
        let keys = self.begin().load();
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let Key { raw, aead } = &keys.current;
        let mut ticket = Vec::with_capacity(NAME + NONCE_LEN + session.len() + AES_256_GCM.tag_len());
        ticket.extend_from_slice(&raw.name);
        ticket.extend_from_slice(&nonce);
        ticket.extend_from_slice(session);
        let sealed = &mut ticket[NAME + NONCE_LEN..];
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = aead.as_ref()?.seal_in_place_separate_tag(nonce, Aad::from(rules), sealed).ok()?;
        ticket.extend_from_slice(tag.as_ref());
        Some(ticket)
    }

    fn open(&self, rules: &Rules, ticket: &[u8], now: u64) -> Option<Vec<u8>> {
        self.turn(now);
        let keys = self.begin().load();
        let (name, rest) = ticket.split_at_checked(NAME)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        let known = [Some(&keys.current), keys.before.as_ref()].into_iter().flatten();
        let key = known.into_iter().find(|key| key.raw.name == name)?;
        let mut session = sealed.to_vec();
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let length = key.aead.as_ref()?.open_in_place(nonce, Aad::from(rules), &mut session).ok()?.len();
        session.truncate(length);
        Some(session)
    }
}

/// Tickets as one listener gives and takes them.
#[derive(Debug)]
pub(super) struct Ticketer {
    pub(super) tickets: Arc<Tickets>,
    pub(super) rules: Rules,
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        PERIOD as u32
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        if plain.len() > MOST {
            return None;
        }
        self.tickets.seal(&self.rules, plain, now())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.tickets.open(&self.rules, cipher, now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = [7; 32];

    #[test]
    fn a_ticket_opens_for_two_periods_and_no_longer() {
        let tickets = Tickets::with(vec![Key::random(1000).raw]);
        let ticket = tickets.seal(&RULES, b"session", 1000).unwrap();
        assert_eq!(tickets.open(&RULES, &ticket, 1000 + PERIOD - 1).as_deref(), Some(&b"session"[..]));
        assert_eq!(tickets.open(&RULES, &ticket, 1000 + PERIOD).as_deref(), Some(&b"session"[..]));
        assert_eq!(tickets.open(&RULES, &ticket, 1000 + 2 * PERIOD), None);
        // Nobody came for so long that the key was never replaced.
        let tickets = Tickets::with(vec![Key::random(1000).raw]);
        let ticket = tickets.seal(&RULES, b"session", 1000).unwrap();
        assert_eq!(tickets.open(&RULES, &ticket, 1000 + 2 * PERIOD), None);
    }

    #[test]
    fn a_ticket_opens_for_the_same_rules_and_unchanged_only() {
        let tickets = Tickets::default();
        let ticket = tickets.seal(&RULES, b"session", now()).unwrap();
        assert!(tickets.open(&RULES, &ticket, now()).is_some());
        assert_eq!(tickets.open(&[8; 32], &ticket, now()), None);
        for index in 0..ticket.len() {
            let mut forged = ticket.clone();
            forged[index] ^= 1;
            assert_eq!(tickets.open(&RULES, &forged, now()), None, "byte {index}");
            assert_eq!(tickets.open(&RULES, &ticket[..index], now()), None, "{index} bytes");
        }
    }

    #[test]
    fn another_process_goes_on_with_the_keys() {
        let first = Tickets::with(vec![Key::random(1000).raw]);
        let old = first.seal(&RULES, b"old", 1000).unwrap();
        let new = first.seal(&RULES, b"new", 1000 + PERIOD).unwrap();
        let second = Tickets::with(first.keys());
        for (ticket, session) in [(&old, &b"old"[..]), (&new, b"new")] {
            assert_eq!(second.open(&RULES, ticket, 1001 + PERIOD).as_deref(), Some(session));
        }
        assert_ne!(old[..NAME], new[..NAME]);
    }

    #[test]
    fn a_clock_that_was_set_back_leads_to_a_new_key_and_old_tickets_open() {
        let tickets = Tickets::with(vec![Key::random(1_000_000).raw]);
        let ticket = tickets.seal(&RULES, b"session", 1_000_000).unwrap();
        assert!(tickets.open(&RULES, &ticket, 999_000).is_some());
        assert_eq!(tickets.keys().len(), 2);
    }
}
