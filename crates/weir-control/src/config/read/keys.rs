//! Every key of the language, by the map it stands in: its name, the form of its value, its default, what it means.
//!
//! The reader refuses what is not in these tables; the schema for editors and the reference page are made from them.
//! `later` holds the keys that the language defines and this version does not do: they are refused with words of their
//! own, never ignored.

mod form;
mod listener;
mod pool;
mod process;
mod route;

pub(in crate::config) use form::Form;
pub(super) use listener::{
    ACCEPT_PROXY, ACME, CERTIFICATE, CLIENT_AUTH, LISTENER, LISTENER_LIMITS, NORMALIZE, TCP, TIMEOUTS, TLS,
};
pub(super) use pool::{
    BACKEND, BALANCE, DISCOVER, DOCKER, GRPC_PROBE, HEALTH, HTTP_PROBE, KEEPALIVE, OUTLIER, POOL,
    POOL_LIMITS, POOL_TLS, SEND_PROXY, STICKY, TCP_PROBE, TLS_PROBE, UDP_PROBE,
};
pub(in crate::config) use process::TOP;
pub(super) use process::{
    ACCESS_LOG, ADMIN, DEFAULTS, LIMITS, LISTENER_DEFAULTS, LOG, POOL_DEFAULTS, ROUTE_DEFAULTS, SHUTDOWN,
    UPGRADE, WORKERS,
};
pub(super) use route::{
    ARM, CLIENT_CERT, EDITS, GRPC, MATCH, PATH_REGEX, REDIRECT, RESPOND, RETRY, REWRITE, ROUTE, SHARED_ROUTE,
    TEXT,
};

/// The keys of one kind of map.
#[derive(Debug)]
pub(in crate::config) struct Keys {
    /// The name of the table; in lower case it names the kind in the schema.
    pub(in crate::config) id: &'static str,
    /// What the map is, with an article.
    pub(in crate::config) what: &'static str,
    /// Names of the keys that work.
    pub(in crate::config) ready: &'static [&'static str],
    /// Names of the keys that will work one day.
    pub(in crate::config) later: &'static [&'static str],
    /// The keys that work, unless they are those of `like`.
    own: &'static [Key],
    /// The map that the others of its keys are taken from.
    like: Option<&'static Self>,
    /// Keys of which there must be exactly one.
    pub(in crate::config) one_of: &'static [&'static str],
}

/// One key.
#[derive(Debug)]
pub(in crate::config) struct Key {
    pub(in crate::config) name: &'static str,
    pub(in crate::config) form: Form,
    pub(in crate::config) default: Default,
    /// What it means, in one or two sentences.
    pub(in crate::config) about: &'static str,
}

/// What holds if a key is absent.
#[derive(Debug)]
pub(in crate::config) enum Default {
    /// The key has to be there.
    Required,
    /// Nothing, or something that `about` explains.
    Nothing,
    /// The same as if this was written.
    Is(&'static str),
}

impl Keys {
    /// The keys that work, in order.
    pub(in crate::config) fn keys(&self) -> impl Iterator<Item = &'static Key> {
        self.ready.iter().filter_map(|name| self.key(name))
    }

    /// What the map is, as the beginning of a sentence.
    pub(in crate::config) fn title(&self) -> String {
        let mut letters = self.what.chars();
        letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
    }

    /// True if this version does not do the key yet.
    pub(in crate::config) fn has_later(&self, name: &str) -> bool {
        self.later.contains(&name) || self.like.is_some_and(|like| like.has_later(name))
    }

    /// Where a key belongs that listeners, routes or pools have and their defaults cannot have, and why.
    pub(super) fn without_default(&self, name: &str) -> Option<(&'static str, String)> {
        let mut defaults = [&LISTENER_DEFAULTS, &ROUTE_DEFAULTS, &POOL_DEFAULTS].into_iter();
        let like = self.like.filter(|_| defaults.any(|keys: &Self| std::ptr::eq(keys, self)))?;
        like.key(name)?;
        let what = like.what;
        let why = match name {
            "rewrite" => "it goes by what a route matches".to_owned(),
            "sticky" => "pools that set the same cookie take each other's clients away".to_owned(),
            _ => format!("it is a matter of {} alone", what.replacen('a', "one", 1)),
        };
        Some((what, why))
    }

    fn key(&self, name: &str) -> Option<&'static Key> {
        let own = self.own.iter().find(|key| key.name == name);
        own.or_else(|| self.like.and_then(|like| like.key(name)))
    }
}

/// Tables of keys: `NAME = "what it is" { "key" = form, default, "about"; … } later [ … ];`
macro_rules! keys {
    ($(
        $name:ident = $what:literal {
            $($key:literal = $form:expr, $default:expr, $about:literal;)*
        } $(exactly one of [$($one:literal),+])? $(later [$($later:literal),* $(,)?])?;
    )+) => {
        $(pub(in crate::config) static $name: Keys = Keys {
            id: stringify!($name),
            what: $what,
            ready: &[$($key),*],
            later: &[$($($later),*)?],
            own: &[$($crate::config::read::keys::Key {
                name: $key,
                form: $form,
                default: $default,
                about: $about,
            }),*],
            like: None,
            one_of: &[$($($one),+)?],
        };)+
    };
}
use keys;

/// In the order of nesting, so that neighbours here are neighbours in a file.
static ALL: [&Keys; 48] = [
    &TOP,
    &LISTENER,
    &ACCEPT_PROXY,
    &TLS,
    &ACME,
    &CERTIFICATE,
    &CLIENT_AUTH,
    &TIMEOUTS,
    &LISTENER_LIMITS,
    &NORMALIZE,
    &TCP,
    &ROUTE,
    &RETRY,
    &MATCH,
    &CLIENT_CERT,
    &GRPC,
    &TEXT,
    &ARM,
    &REDIRECT,
    &RESPOND,
    &REWRITE,
    &PATH_REGEX,
    &EDITS,
    &POOL,
    &STICKY,
    &SEND_PROXY,
    &POOL_TLS,
    &BACKEND,
    &DISCOVER,
    &DOCKER,
    &HEALTH,
    &HTTP_PROBE,
    &GRPC_PROBE,
    &TCP_PROBE,
    &TLS_PROBE,
    &UDP_PROBE,
    &OUTLIER,
    &KEEPALIVE,
    &POOL_LIMITS,
    &BALANCE,
    &ADMIN,
    &LIMITS,
    &WORKERS,
    &ACCESS_LOG,
    &LOG,
    &SHUTDOWN,
    &UPGRADE,
    &DEFAULTS,
];

/// Another map that has this key: the nearest one, where it was probably meant to stand.
pub(super) fn with(key: &str, here: &'static Keys) -> Option<&'static Keys> {
    let has = |keys: &Keys| keys.ready.contains(&key) || keys.later.contains(&key);
    let known = here.like.unwrap_or(here);
    let place = ALL.iter().position(|keys| std::ptr::eq(*keys, known)).unwrap_or(0);
    let others = ALL.iter().enumerate().filter(|(_, keys)| !std::ptr::eq(**keys, here) && has(keys));
    others.min_by_key(|(index, _)| index.abs_diff(place)).map(|(_, keys)| *keys)
}

/// Every table that can be reached from the top, in the order of a walk through the language.
pub(in crate::config) fn reachable() -> Vec<&'static Keys> {
    let mut found: Vec<&'static Keys> = vec![&TOP];
    let mut next = 0;
    while let Some(keys) = found.get(next).copied() {
        for key in keys.keys() {
            key.form.maps(&mut |map| {
                if !found.iter().any(|known| std::ptr::eq(*known, map)) {
                    found.push(map);
                }
            });
        }
        next += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_described_and_is_done_or_not_done() {
        for keys in reachable() {
            assert_eq!(keys.keys().count(), keys.ready.len(), "a key of {} is not described", keys.what);
            for key in keys.keys() {
                assert!(!keys.later.contains(&key.name), "{} in {}", key.name, keys.what);
                assert!(key.about.len() > 5 && key.about.ends_with('.'), "{}: {}", key.name, key.about);
            }
            assert!(keys.one_of.iter().all(|key| keys.ready.contains(key)), "{}", keys.what);
        }
    }

    #[test]
    fn every_map_is_known_where_keys_are_looked_for() {
        for keys in reachable().into_iter().filter(|keys| keys.like.is_none()) {
            assert!(ALL.iter().any(|known| std::ptr::eq(*known, keys)), "{}", keys.what);
        }
        for keys in ALL {
            assert!(
                reachable().iter().any(|found| std::ptr::eq(*found, keys)),
                "{} is used nowhere",
                keys.what
            );
        }
    }
}
