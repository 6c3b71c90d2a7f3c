//! Server ids of a pool that is balanced by `quic_cid`.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    balance::{Balance, Key},
    draft::{BackendDraft, PoolDraft},
    pool::{Backend, Servers},
    problem::{Problem, Span},
    quic::{ServerId, USUAL_LENGTH},
};

/// Gives every backend its server id, and says which of them own which.
pub(super) fn servers(
    draft: &PoolDraft,
    balance: &Balance,
    backends: &mut [Backend],
    problems: &mut Vec<Problem>,
) -> Option<Arc<Servers>> {
    if balance.key != Some(Key::QuicCid) {
        refuse_ids(draft, problems);
        backends.iter_mut().for_each(|backend| backend.server_id = None);
        return None;
    }
    let given = backends.iter().find_map(|backend| Some((backend.server_id?.octets().len(), &backend.name)));
    let (length, first) = given.map_or((USUAL_LENGTH, None), |(length, name)| (length, Some(name.clone())));
    let mut owners: BTreeMap<ServerId, Arc<str>> = BTreeMap::new();
    for backend in backends.iter_mut() {
        let own = backend.server_id.or_else(|| ServerId::of_name(&backend.name, length));
        let Some(id) = own else { continue };
        let octets = id.octets().len();
        let problem = if octets != length {
            let first = first.as_deref().unwrap_or_default();
            let cause = format!(
                "the server id `{id}` has {octets} octets, and that of `{first}` has {length}: in one pool all have \
                 the same length"
            );
            Some((cause, "make it as long as the others, or leave it out and it follows from the name"))
        } else if let Some(other) = owners.get(&id) {
            let cause = format!(
                "`{other}` and `{}` have the same server id `{id}`; unless given, it follows from the name",
                backend.name
            );
            Some((cause, "give one of them another `server_id`"))
        } else {
            None
        };
        backend.server_id = Some(id).filter(|_| problem.is_none());
        match problem {
            None => drop(owners.insert(id, backend.name.clone())),
            Some((cause, remedy)) => problems.push(at_backend(draft, &backend.name, cause, remedy)),
        }
    }
    Some(Servers::new(length, backends))
}

/// Who is discovered must not stop the others: it is placed by the hash alone.
fn at_backend(draft: &PoolDraft, name: &str, cause: String, remedy: &str) -> Problem {
    let is_named = |backend: &&BackendDraft| backend.name.as_ref().unwrap_or(&backend.address).value == name;
    let span = |backend: &BackendDraft| {
        let written = backend.server_id.as_ref().or(backend.name.as_ref());
        written.unwrap_or(&backend.address).span
    };
    match (draft.backends.iter().find(is_named), &draft.discover) {
        (None, Some(discover)) => Problem::warning(discover.span, cause, ""),
        (written, _) => Problem::error(written.map_or(Span::default(), span), cause, remedy),
    }
}

/// Ids that nobody asks for.
fn refuse_ids(draft: &PoolDraft, problems: &mut Vec<Problem>) {
    for id in draft.backends.iter().filter_map(|backend| backend.server_id.as_ref()) {
        let cause = format!(
            "`server_id` has no meaning in the pool `{}`, which is not balanced by `key: quic_cid`",
            draft.name.value
        );
        problems.push(Problem::error(id.span, cause, "remove it"));
    }
}
