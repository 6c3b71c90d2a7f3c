//! Sessions that stay at one backend: a cookie that weir sets, and reads again.
//!
//! The value is a hash of the names of pool and backend, in 16 hexadecimal digits. It says nothing to who reads it, needs no
//! memory, and is the same in every process with the same names, over reloads and restarts.

use std::{fmt::Write as _, sync::Arc};

use twox_hash::XxHash3_64;

use super::Pool;
use crate::{
    route::{RequestFacts, cookie},
    time::Moment,
};

/// How sessions of a pool stay at one backend.
#[derive(Clone, Debug)]
pub struct Sticky {
    /// The name of the cookie.
    pub cookie: Arc<str>,
    /// What stands behind the value, from the first `;`.
    pub attributes: Arc<str>,
    /// What the values of backends mean, in the order of the values.
    backends: Arc<[(u64, usize)]>,
    /// The header field that binds a client to each backend, with its line end.
    fields: Arc<[Box<str>]>,
}

/// What was configured is the same; the backends are compared for themselves.
impl PartialEq for Sticky {
    fn eq(&self, other: &Self) -> bool {
        (&self.cookie, &self.attributes) == (&other.cookie, &other.attributes)
    }
}

/// What a client says that it is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bond(u64);

impl Sticky {
    /// The sticky sessions of a pool with backends of these names.
    pub fn new<'n>(
        cookie: &str,
        attributes: &str,
        pool: &str,
        backends: impl Iterator<Item = &'n str>,
    ) -> Self {
        let values: Vec<_> = backends.map(|name| value(pool, name)).collect();
        let field = |value: &u64| {
            let mut field = format!("Set-Cookie: {cookie}={value:016x}");
            // Writing to a String cannot fail.
            let _ = write!(field, "{attributes}\r\n");
            field.into()
        };
        let fields = values.iter().map(field).collect();
        let mut backends: Vec<_> =
            values.into_iter().enumerate().map(|(index, value)| (value, index)).collect();
        backends.sort_unstable();
        Self { cookie: cookie.into(), attributes: attributes.into(), backends: backends.into(), fields }
    }

    /// What a request says that its client is bound to; nothing if that is nothing weir ever says.
    pub fn bond(&self, facts: &impl RequestFacts) -> Option<Bond> {
        let mut bond = None;
        facts.any_header("cookie", &mut |field| {
            bond = cookie(field, self.cookie.as_bytes()).and_then(read);
            bond.is_some()
        });
        bond
    }

    /// The backend that a client is bound to, if there still is one.
    pub fn backend(&self, bond: Bond) -> Option<usize> {
        let place = self.backends.binary_search_by_key(&bond.0, |(value, _)| *value).ok()?;
        self.backends.get(place).map(|(_, index)| *index)
    }

    /// The header field that binds a client to a backend, with its line end.
    pub fn field(&self, backend: usize) -> &str {
        self.fields.get(backend).map_or("", |field| field)
    }
}

fn value(pool: &str, backend: &str) -> u64 {
    // Neither name holds a line break.
    XxHash3_64::oneshot(format!("{pool}\n{backend}").as_bytes())
}

/// Exactly what is written.
fn read(value: &[u8]) -> Option<Bond> {
    let digits = value.len() == 16 && value.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let text = std::str::from_utf8(value).ok().filter(|_| digits)?;
    u64::from_str_radix(text, 16).ok().map(Bond)
}

impl Pool {
    /// The backend that a client is bound to, if it may still have what is bound to it.
    pub fn bound(&self, bond: Bond, now: Moment) -> Option<usize> {
        let index = self.sticky.as_ref()?.backend(bond)?;
        self.backends.get(index)?.keeps(now).then_some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sticky() -> Sticky {
        Sticky::new("WEIR", "; Path=/", "app", ["one", "two", "three"].into_iter())
    }

    #[test]
    fn a_value_leads_back_to_its_backend() {
        let sticky = sticky();
        for index in 0..3 {
            let field = sticky.field(index);
            let value = field.strip_prefix("Set-Cookie: WEIR=").and_then(|rest| rest.split(';').next());
            let bond = value.and_then(|value| read(value.as_bytes())).expect("it is a value");
            assert_eq!(sticky.backend(bond), Some(index));
            assert!(field.ends_with("; Path=/\r\n"), "{field}");
        }
        // Values do not depend on the order, and differ between pools.
        let turned = Sticky::new("WEIR", "; Path=/", "app", ["three", "one"].into_iter());
        assert_eq!(turned.field(1), sticky.field(0));
        let other = Sticky::new("WEIR", "; Path=/", "shop", ["one"].into_iter());
        assert_ne!(other.field(0), sticky.field(0));
    }

    #[test]
    fn the_values_are_those_of_every_version() {
        // A client keeps its cookie while weir is replaced.
        assert_eq!(value("app", "10.0.0.1:80"), XxHash3_64::oneshot(b"app\n10.0.0.1:80"));
        assert_eq!(sticky().field(0), format!("Set-Cookie: WEIR={:016x}; Path=/\r\n", value("app", "one")));
    }

    #[test]
    fn what_is_no_value_binds_to_nothing() {
        for value in
            ["", "1", "0123456789ABCDEF", "0123456789abcdefg", "+123456789abcdef", "0123456789abcde "]
        {
            assert_eq!(read(value.as_bytes()), None, "{value}");
        }
        let bond = read(b"0123456789abcdef").expect("it has the form of a value");
        assert_eq!(sticky().backend(bond), None);
    }
}
