//! Addresses that several want: listeners can share one if the names that clients ask for tell them apart; nobody else can.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
};

use super::{address, condition};
use crate::{
    draft::{ListenerDraft, ProcessDraft, Text},
    listener::{Address, Listener, Protocol},
    problem::{Problem, Span},
};

/// Whoever wants an address.
#[derive(Clone, Copy)]
struct Claim<'d> {
    /// Where it says so.
    text: &'d Text,
    /// Its draft and what became of it; none for operators.
    listener: Option<(&'d ListenerDraft, &'d Listener)>,
}

/// Refuses a second use of an address, unless it is shared by listeners that can be told apart.
pub(super) fn binds(
    drafts: &BTreeMap<&str, &ListenerDraft>,
    listeners: &[Arc<Listener>],
    process: &ProcessDraft,
    problems: &mut Vec<Problem>,
) {
    let mut taken: BTreeMap<Address, Vec<Claim<'_>>> = BTreeMap::new();
    let mut compared = BTreeSet::new();
    let own = drafts.values().zip(listeners).flat_map(|(draft, listener)| {
        draft.binds.iter().map(|text| Claim { text, listener: Some((*draft, &**listener)) })
    });
    let admin = process.admin.iter().map(|text| Claim { text, listener: None });
    for claim in own.chain(admin) {
        let addresses = address::wanted(claim.text).into_iter().flatten().map(|bind| plain(bind.address));
        // Port 0 asks the system for any free port, so that two of them never meet.
        let fixed = addresses.filter(|address| address.ip().is_none_or(|address| address.port() != 0));
        let addresses: Vec<_> = fixed.collect();
        let met: Vec<_> =
            addresses.iter().filter_map(|address| taken.get(address)).flatten().copied().collect();
        // Each pair is told apart once, however many addresses it shares.
        let fresh = met.into_iter().filter(|other| match (&claim.listener, &other.listener) {
            (Some((own, _)), Some((other, _))) => {
                own.name.value == other.name.value || compared.insert((&own.name.value, &other.name.value))
            }
            _ => true,
        });
        let before = problems.len();
        fresh.for_each(|other| problems.extend(conflict(&claim, &other)));
        if problems.len() == before {
            addresses.into_iter().for_each(|address| taken.entry(address).or_default().push(claim));
        }
    }
}

/// An IPv4 address that is written as one of IPv6 is the same address.
fn plain(address: Address) -> Address {
    match address {
        Address::Ip(at) => Address::Ip(SocketAddr::new(at.ip().to_canonical(), at.port())),
        Address::Unix(_) => address,
    }
}

impl Claim<'_> {
    fn owner(&self) -> String {
        self.listener
            .map_or("`admin`".to_owned(), |(draft, _)| format!("the listener `{}`", draft.name.value))
    }
}

/// Why two cannot share an address.
fn conflict(claim: &Claim<'_>, other: &Claim<'_>) -> Vec<Problem> {
    let refuse = |why: &str, remedy: &str| {
        let (text, owner, first) = (&claim.text.value, claim.owner(), other.owner());
        let cause = format!("`{text}` of {owner} is already bound by {first}{why}");
        let problem = Problem::error(claim.text.span, cause, remedy);
        vec![problem.with_related(other.text.span, "it is bound here")]
    };
    let apart = "give each its own address or port";
    let (Some((draft, own)), Some((other_draft, first))) = (claim.listener, other.listener) else {
        return refuse("", apart);
    };
    if draft.name.value == other_draft.name.value {
        return refuse("", apart);
    }
    // What cannot be read may have been what tells them apart; `http` is told apart by nothing.
    let plain =
        |draft: &ListenerDraft| draft.protocol.as_ref().is_some_and(|word| word.value == Protocol::Http);
    if (draft.broken || other_draft.broken) && !plain(draft) && !plain(other_draft) {
        return Vec::new();
    }
    if !own.speaks_tls() || !first.speaks_tls() {
        return refuse(
            "",
            "give each its own address or port; only listeners with TLS can share one, by `sni`",
        );
    }
    if own.tcp != first.tcp {
        return refuse(", whose `tcp` is another", "give both the same options: they have the same sockets");
    }
    if own.accept_proxy != first.accept_proxy {
        let why = ", whose `accept_proxy_protocol` is another";
        return refuse(why, "give both the same: the header comes before the name that tells them apart");
    }
    if draft.sni.is_empty() && other_draft.sni.is_empty() {
        let why = ", and neither says whose connections it takes";
        return refuse(why, "give one of them, or both, the names that it is for: `sni: [a.example]`");
    }
    let first: Vec<(Span, _)> = names(other_draft).collect();
    let twice = names(draft).filter_map(|(span, name)| {
        let (related, _) = first.iter().find(|(_, other)| *other == name)?;
        let cause = format!(
            "`{name}` of {} belongs to {} already, and both have the address `{}`",
            claim.owner(),
            other.owner(),
            other.text.value
        );
        let problem = Problem::error(span, cause, "leave it to one of them");
        Some(problem.with_related(*related, "it is named here"))
    });
    twice.collect()
}

/// The names that a listener takes, with their places.
fn names(draft: &ListenerDraft) -> impl Iterator<Item = (Span, crate::route::HostMatch)> {
    draft.sni.iter().filter_map(|text| Some((text.span, condition::server_name(text).ok()?)))
}
