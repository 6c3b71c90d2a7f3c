//! Finds the few routes that may take a request among very many, by host and path.
//!
//! Every condition of every route becomes one entry per host and path pattern, numbered in order of evaluation, in
//! the bucket of its host and there in the list of its path. A request can only be taken by entries of a handful of
//! lists: its own host, each parent domain, "any host"; and in each of these its own path, each parent path, "any
//! path". The entry with the lowest number that holds wins, exactly as if all routes had been tried in order.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use super::{Condition, HostMatch, PathMatch, Route};

/// One condition of one route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Index of the route; entries of a list ascend by it.
    pub(super) route: u32,
    /// Index of the condition; routes without conditions have [`Entry::NO_CONDITION`].
    pub(super) condition: u32,
}

impl Entry {
    /// The entry takes everything.
    pub(super) const NO_CONDITION: u32 = u32::MAX;
}

/// The entries of all routes by host and path.
#[derive(Debug, Default)]
pub(super) struct Index {
    exact: Map<Bucket>,
    /// By what follows `*.`.
    under: Map<Bucket>,
    /// The most labels a key of `under` has: parents with more need not be looked up.
    under_labels: usize,
    any: Bucket,
}

/// Entries of one host pattern, by path.
#[derive(Debug, Default)]
struct Bucket {
    exact: Map<Vec<Entry>>,
    prefix: Map<Vec<Entry>>,
    /// The most slashes a key of `prefix` has: parents with more need not be looked up.
    prefix_slashes: usize,
    any: Vec<Entry>,
}

impl Index {
    /// An index of routes.
    pub(super) fn new<'r>(routes: impl IntoIterator<Item = &'r Route>) -> Self {
        let mut index = Self::default();
        let everything = Condition::default();
        for (number, route) in (0u32..).zip(routes) {
            if route.conditions.is_empty() {
                index.add(&everything, Entry { route: number, condition: Entry::NO_CONDITION });
            }
            for (condition_number, condition) in (0u32..).zip(&route.conditions) {
                index.add(condition, Entry { route: number, condition: condition_number });
            }
        }
        index
    }

    fn add(&mut self, condition: &Condition, entry: Entry) {
        let Some(hosts) = condition.hosts() else {
            return self.any.add(condition.places(), entry);
        };
        for host in hosts {
            let bucket = match host {
                HostMatch::Exact(name) => self.exact.entry(name.as_bytes().into()).or_default(),
                HostMatch::Under(parent) => {
                    let labels = 1 + memchr::memchr_iter(b'.', parent.as_bytes()).count();
                    self.under_labels = self.under_labels.max(labels);
                    self.under.entry(parent.as_bytes().into()).or_default()
                }
            };
            bucket.add(condition.places(), entry);
        }
    }

    /// The first route before `end` with an entry that may take this host and path and that `holds`. A host or path
    /// of `None` asks only for entries that take any.
    pub(super) fn first(
        &self,
        host: Option<&[u8]>,
        path: Option<&[u8]>,
        end: u32,
        mut holds: impl FnMut(Entry) -> bool,
    ) -> Option<usize> {
        let mut best = end;
        if let Some(host) = host {
            if let Some(bucket) = self.exact.get(host) {
                bucket.first(path, &mut best, &mut holds);
            }
            for dot in memchr::memrchr_iter(b'.', host).take(self.under_labels) {
                // A dot in front of everything has no label before it.
                if let Some(bucket) = self.under.get(&host[dot + 1..]).filter(|_| dot > 0) {
                    bucket.first(path, &mut best, &mut holds);
                }
            }
        }
        self.any.first(path, &mut best, &mut holds);
        (best != end).then_some(best as usize)
    }
}

impl Bucket {
    fn add(&mut self, paths: Option<&[PathMatch]>, entry: Entry) {
        let Some(paths) = paths else {
            return push(&mut self.any, entry);
        };
        for path in paths {
            let list = match path {
                PathMatch::Exact(path) => self.exact.entry(path.as_bytes().into()).or_default(),
                PathMatch::Prefix(path) if !path.is_empty() => {
                    let slashes = memchr::memchr_iter(b'/', path.as_bytes()).count();
                    self.prefix_slashes = self.prefix_slashes.max(slashes);
                    self.prefix.entry(path.as_bytes().into()).or_default()
                }
                PathMatch::Prefix(_) | PathMatch::Regex(_) => &mut self.any,
            };
            push(list, entry);
        }
    }

    /// Lowers `best` to the lowest route of an entry that holds.
    fn first(&self, path: Option<&[u8]>, best: &mut u32, holds: &mut impl FnMut(Entry) -> bool) {
        if let Some(path) = path {
            if let Some(list) = self.exact.get(path) {
                lower(list, best, holds);
            }
            if self.prefix_slashes > 0 {
                // The k-th slash (from 0) ends a parent with k slashes; the first one ends the empty parent.
                let ends = memchr::memchr_iter(b'/', path).skip(1).chain([path.len()]);
                for end in ends.take(self.prefix_slashes) {
                    if let Some(list) = self.prefix.get(&path[..end]) {
                        lower(list, best, holds);
                    }
                }
            }
        }
        lower(&self.any, best, holds);
    }
}

fn push(list: &mut Vec<Entry>, entry: Entry) {
    // The same pattern twice in one condition needs one entry only.
    if list.last() != Some(&entry) {
        list.push(entry);
    }
}

fn lower(list: &[Entry], best: &mut u32, holds: &mut impl FnMut(Entry) -> bool) {
    for entry in list {
        if entry.route >= *best {
            return;
        }
        if holds(*entry) {
            *best = entry.route;
            return;
        }
    }
}

type Map<T> = HashMap<Box<[u8]>, T, BuildHasherDefault<Fnv>>;

/// FNV-1a. The keys come from the configuration, so nobody can fill a table with collisions from outside.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
