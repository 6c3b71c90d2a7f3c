//! Which of the listeners of one address a connection belongs to: the name that its client asks for decides.

use std::collections::HashMap;

use crate::route::HostMatch;

/// The listeners of one address by the names that they take. The most specific one wins: a name before a pattern, a longer
/// pattern before a shorter one, and last the listener that names nothing.
#[derive(Debug, Default)]
pub struct NameTable {
    exact: HashMap<Box<str>, usize>,
    /// By what stands behind `*.`.
    under: HashMap<Box<str>, usize>,
    /// The one that takes what no other has.
    rest: Option<usize>,
}

impl NameTable {
    /// The table of listeners that take these names; none of their names takes what no other does. They are known by their
    /// places here.
    pub fn new<'n>(listeners: impl IntoIterator<Item = &'n [HostMatch]>) -> Self {
        let mut table = Self::default();
        for (place, names) in listeners.into_iter().enumerate() {
            if names.is_empty() {
                table.rest.get_or_insert(place);
            }
            for name in names {
                match name {
                    HostMatch::Exact(name) => table.exact.entry(name.clone()).or_insert(place),
                    HostMatch::Under(parent) => table.under.entry(parent.clone()).or_insert(place),
                };
            }
        }
        table
    }

    /// The place of the listener that takes connections for this name (in lower case, without a final dot), or for none.
    pub fn find(&self, name: Option<&str>) -> Option<usize> {
        name.and_then(|name| self.named(name)).or(self.rest)
    }

    fn named(&self, name: &str) -> Option<usize> {
        if let Some(place) = self.exact.get(name) {
            return Some(*place);
        }
        if self.under.is_empty() {
            return None;
        }
        // Each parent in turn, the longest one first; there is at least one label in front of it.
        let dots = name.bytes().enumerate().filter(|(at, byte)| *byte == b'.' && *at > 0);
        dots.into_iter().find_map(|(at, _)| self.under.get(&name[at + 1..]).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(name: &str) -> HostMatch {
        HostMatch::Exact(name.into())
    }

    fn under(parent: &str) -> HostMatch {
        HostMatch::Under(parent.into())
    }

    #[test]
    fn the_most_specific_name_wins() {
        let listeners = [
            vec![under("example.com")],
            vec![exact("a.example.com"), exact("other.example")],
            vec![under("b.example.com")],
            vec![],
        ];
        let table = NameTable::new(listeners.iter().map(|names| &**names));
        for (name, place) in [
            ("a.example.com", 1),
            ("other.example", 1),
            ("x.a.example.com", 0),
            ("c.example.com", 0),
            ("x.y.example.com", 0),
            ("b.example.com", 0),
            ("x.b.example.com", 2),
            ("x.y.b.example.com", 2),
            ("example.com", 3),
            (".example.com", 3),
            ("badexample.com", 3),
            ("com", 3),
            ("", 3),
        ] {
            assert_eq!(table.find(Some(name)), Some(place), "{name}");
        }
        assert_eq!(table.find(None), Some(3));
        let table = NameTable::new(listeners[..3].iter().map(|names| &**names));
        assert_eq!((table.find(None), table.find(Some("example.com"))), (None, None));
    }
}
