//! Finds the few conditions that may cover another one among very many.
//!
//! A wide condition covers a narrow one only if each of its matchers is covered by some matcher of the narrow one. It is
//! therefore enough to file it under one of its matchers, and to look under all those that could cover a matcher of the
//! narrow one. Each is filed where the fewest are, so that what many routes have in common does not matter.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;

use crate::route::{Condition, GrpcMatch, HostMatch, Matcher, PathMatch, TextMatch};

/// Where a pattern is filed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key<'c> {
    /// What is looked at, with the name of the field, parameter or cookie.
    of: Of<'c>,
    how: How,
    text: Text<'c>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Of<'c> {
    Host,
    Path,
    Method,
    Header(&'c str),
    Query(&'c str),
    Cookie(&'c str),
    Source,
    ServerName,
    Protocol,
    /// Calls of gRPC, by their path.
    Call,
    /// The same, where any service has the method.
    Procedure,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum How {
    /// This text.
    Exact,
    /// Everything below this one.
    Below,
    /// This expression.
    Regex,
    /// Any expression: it may take a text that is given.
    AnyRegex,
    /// It is there.
    Present,
    /// It is not there.
    Absent,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Text<'c> {
    Bytes(&'c [u8]),
    Network(IpNet),
}

/// Conditions by where they are filed, with the routes that they belong to.
#[derive(Debug, Default)]
pub(super) struct Candidates<'c> {
    filed: BTreeMap<Key<'c>, Vec<Filed<'c>>>,
    /// Those without a matcher that could be looked for.
    rest: Vec<Filed<'c>>,
}

#[derive(Clone, Copy, Debug)]
struct Filed<'c> {
    route: usize,
    condition: &'c Condition,
}

impl<'c> Candidates<'c> {
    /// Files a condition. Routes come in ascending order.
    pub(super) fn add(&mut self, condition: &'c Condition, route: usize) {
        let filed = Filed { route, condition };
        let crowd = |keys: &Vec<Key<'c>>| -> usize {
            keys.iter().map(|key| self.filed.get(key).map_or(0, Vec::len)).sum()
        };
        let places = condition.matchers.iter().filter_map(filed_under).map(|keys| (crowd(&keys), keys));
        match places.min_by_key(|(crowd, _)| *crowd) {
            Some((_, keys)) => {
                for key in keys {
                    self.filed.entry(key).or_default().push(filed);
                }
            }
            None => self.rest.push(filed),
        }
    }

    /// The first route with a condition that `covers`, if there is one among those that may cover `narrow`.
    pub(super) fn first(
        &self,
        narrow: &Condition,
        mut covers: impl FnMut(&Condition) -> bool,
    ) -> Option<usize> {
        let mut best = usize::MAX;
        let mut look = |list: &[Filed<'c>]| {
            let mut before = list.iter().take_while(|filed| filed.route < best);
            if let Some(found) = before.find(|filed| covers(filed.condition)) {
                best = found.route;
            }
        };
        look(&self.rest);
        for matcher in &narrow.matchers {
            looked_for(matcher, &mut |key| {
                if let Some(list) = self.filed.get(&key) {
                    look(list);
                }
            });
        }
        (best != usize::MAX).then_some(best)
    }
}

/// The places of a matcher: one or more for each of its alternatives.
fn filed_under(matcher: &Matcher) -> Option<Vec<Key<'_>>> {
    match matcher {
        Matcher::Host(hosts) => Some(hosts.iter().map(|host| host_place(Of::Host, host)).collect()),
        Matcher::ServerName(hosts) => {
            Some(hosts.iter().map(|host| host_place(Of::ServerName, host)).collect())
        }
        Matcher::Protocol(names) => {
            Some(names.iter().map(|name| key(Of::Protocol, How::Exact, name.as_bytes())).collect())
        }
        Matcher::Path(paths) => Some(paths.iter().flat_map(path_places).collect()),
        Matcher::Method(methods) => {
            Some(methods.iter().map(|method| key(Of::Method, How::Exact, method.as_bytes())).collect())
        }
        Matcher::Header(name, texts) => Some(all_text_places(Of::Header(name), texts)),
        Matcher::Query(name, texts) => Some(all_text_places(Of::Query(name), texts)),
        Matcher::Cookie(name, texts) => Some(all_text_places(Of::Cookie(name), texts)),
        Matcher::Source(networks) => {
            Some(networks.as_slice().iter().map(|network| source(*network)).collect())
        }
        Matcher::Grpc(calls) => Some(call_places(calls)),
        Matcher::Certificate(_) | Matcher::Not(_) => None,
    }
}

fn key<'c>(of: Of<'c>, how: How, text: &'c (impl AsRef<[u8]> + ?Sized)) -> Key<'c> {
    Key { of, how, text: Text::Bytes(text.as_ref()) }
}

fn source(network: IpNet) -> Key<'static> {
    Key { of: Of::Source, how: How::Below, text: Text::Network(network) }
}

fn host_place<'c>(of: Of<'c>, host: &'c HostMatch) -> Key<'c> {
    match host {
        HostMatch::Exact(name) => key(of, How::Exact, name.as_bytes()),
        HostMatch::Under(parent) => key(of, How::Below, parent.as_bytes()),
    }
}

fn path_places(path: &PathMatch) -> Vec<Key<'_>> {
    match path {
        PathMatch::Exact(path) => vec![key(Of::Path, How::Exact, path.as_bytes())],
        PathMatch::Prefix(prefix) => vec![key(Of::Path, How::Below, prefix.as_bytes())],
        PathMatch::Regex(regex) => {
            vec![key(Of::Path, How::Regex, regex.as_str()), key(Of::Path, How::AnyRegex, "")]
        }
    }
}

fn call_places(calls: &GrpcMatch) -> Vec<Key<'_>> {
    if calls.service().is_empty() {
        return calls
            .method()
            .iter()
            .map(|method| key(Of::Procedure, How::Exact, method.as_bytes()))
            .collect();
    }
    calls.paths().iter().map(call_place).collect()
}

fn call_place(path: &PathMatch) -> Key<'_> {
    match path {
        PathMatch::Exact(call) => key(Of::Call, How::Exact, call.as_bytes()),
        PathMatch::Prefix(service) => key(Of::Call, How::Below, service.as_bytes()),
        PathMatch::Regex(regex) => key(Of::Call, How::Regex, regex.as_str()),
    }
}

fn all_text_places<'c>(of: Of<'c>, texts: &'c [TextMatch]) -> Vec<Key<'c>> {
    texts.iter().flat_map(|text| text_places(of, text)).collect()
}

fn text_places<'c>(of: Of<'c>, text: &'c TextMatch) -> Vec<Key<'c>> {
    match text {
        TextMatch::Exact(text) => vec![key(of, How::Exact, text)],
        TextMatch::Prefix(prefix) => vec![key(of, How::Below, prefix)],
        TextMatch::Regex(regex) => vec![key(of, How::Regex, regex.as_str()), key(of, How::AnyRegex, "")],
        TextMatch::Present(true) => vec![key(of, How::Present, "")],
        TextMatch::Present(false) => vec![key(of, How::Absent, "")],
    }
}

/// The places of everything that may cover this matcher. What covers it covers each of its alternatives, so that the
/// first one tells enough.
fn looked_for<'k>(matcher: &'k Matcher, look: &mut dyn FnMut(Key<'k>)) {
    match matcher {
        Matcher::Host(hosts) => hosts.first().into_iter().for_each(|host| hosts_over(Of::Host, host, look)),
        Matcher::ServerName(hosts) => {
            hosts.first().into_iter().for_each(|host| hosts_over(Of::ServerName, host, look));
        }
        Matcher::Protocol(names) => {
            let first = names.first().into_iter();
            first.for_each(|name| look(key(Of::Protocol, How::Exact, name.as_bytes())));
        }
        Matcher::Path(paths) => paths.first().into_iter().for_each(|path| paths_over(path, look)),
        Matcher::Method(methods) => {
            methods
                .first()
                .into_iter()
                .for_each(|method| look(key(Of::Method, How::Exact, method.as_bytes())));
        }
        Matcher::Header(name, texts) => texts_over(Of::Header(name), texts, look),
        Matcher::Query(name, texts) => texts_over(Of::Query(name), texts, look),
        Matcher::Cookie(name, texts) => texts_over(Of::Cookie(name), texts, look),
        Matcher::Source(networks) => {
            networks.as_slice().first().into_iter().for_each(|network| networks_over(network, look));
        }
        Matcher::Grpc(calls) => calls_over(calls, look),
        Matcher::Certificate(_) | Matcher::Not(_) => {}
    }
}

fn hosts_over<'k>(of: Of<'k>, host: &'k HostMatch, look: &mut dyn FnMut(Key<'k>)) {
    look(host_place(of, host));
    let (HostMatch::Exact(name) | HostMatch::Under(name)) = host;
    for dot in memchr::memchr_iter(b'.', name.as_bytes()) {
        look(key(of, How::Below, &name.as_bytes()[dot + 1..]));
    }
}

fn paths_over<'k>(path: &'k PathMatch, look: &mut dyn FnMut(Key<'k>)) {
    look(key(Of::Path, How::Below, ""));
    match path {
        PathMatch::Exact(text) | PathMatch::Prefix(text) => {
            let text = text.as_bytes();
            if let PathMatch::Exact(_) = path {
                look(key(Of::Path, How::Exact, text));
                look(key(Of::Path, How::AnyRegex, ""));
            }
            let ends = memchr::memchr_iter(b'/', text).skip(1).chain([text.len()]);
            ends.for_each(|end| look(key(Of::Path, How::Below, &text[..end])));
        }
        PathMatch::Regex(regex) => look(key(Of::Path, How::Regex, regex.as_str())),
    }
}

fn calls_over<'k>(calls: &'k GrpcMatch, look: &mut dyn FnMut(Key<'k>)) {
    if let Some(method) = calls.method().first() {
        look(key(Of::Procedure, How::Exact, method.as_bytes()));
    }
    let Some(first) = calls.paths().first() else {
        return look(key(Of::Path, How::Below, ""));
    };
    look(call_place(first));
    paths_over(first, look);
    if let PathMatch::Exact(call) = first
        && let Some(slash) = memchr::memrchr(b'/', call.as_bytes())
    {
        look(key(Of::Call, How::Below, &call.as_bytes()[..slash]));
    }
}

fn texts_over<'k>(of: Of<'k>, texts: &'k [TextMatch], look: &mut dyn FnMut(Key<'k>)) {
    let Some(text) = texts.first() else { return };
    if let TextMatch::Present(false) = text {
        return look(key(of, How::Absent, ""));
    }
    look(key(of, How::Present, ""));
    match text {
        TextMatch::Exact(text) | TextMatch::Prefix(text) => {
            if let [TextMatch::Exact(_), ..] = texts {
                look(key(of, How::Exact, text));
                look(key(of, How::AnyRegex, ""));
            }
            (0..=text.len()).for_each(|end| look(key(of, How::Below, &text[..end])));
        }
        TextMatch::Regex(regex) => look(key(of, How::Regex, regex.as_str())),
        TextMatch::Present(_) => {}
    }
}

fn networks_over<'k>(network: &IpNet, look: &mut dyn FnMut(Key<'k>)) {
    let address: IpAddr = network.addr();
    for length in 0..=network.prefix_len() {
        if let Ok(wider) = IpNet::new(address, length) {
            look(source(wider.trunc()));
        }
    }
}
