//! How a pool balances: the key of policies that hash, and their bound.

use std::sync::Arc;

use super::{condition, header};
use crate::{
    balance::{Balance, Key, Policy},
    draft::{BalanceDraft, Text},
    problem::{Located, Problem, Span, nearest},
};

/// What stands before the colon of a key, and keys without one.
const WITH_NAME: [&str; 3] = ["header", "cookie", "query"];
const ALONE: [&str; 4] = ["path", "source", "5tuple", "quic_cid"];

/// The balancing of a pool.
pub(super) fn balance(draft: Option<&Located<BalanceDraft>>, problems: &mut Vec<Problem>) -> Balance {
    let Some(Located { value: draft, .. }) = draft else { return Balance::default() };
    let policy = draft.policy;
    if !policy.hashes() {
        let given = [
            ("key", draft.key.as_ref().map(|key| key.span)),
            ("bounded_load", draft.bounded_load.as_ref().map(|bound| bound.span)),
        ];
        problems.extend(given.into_iter().filter_map(|(key, span)| Some(without_key(policy, key, span?))));
        return policy.into();
    }
    let key = draft.key.as_ref().and_then(|text| super::kept(self::key(text), problems));
    let bounded_load =
        super::within(&draft.bounded_load, 100..=1000, "`bounded_load`, in percent,", problems);
    Balance { policy, key: Some(key.unwrap_or(Key::Source)), bounded_load }
}

fn without_key(policy: Policy, key: &str, span: Span) -> Problem {
    let cause = format!("`{key}` has no meaning beside `policy: {}`, which hashes nothing", policy.word());
    Problem::error(span, cause, "remove it, or use `maglev`, `ring_hash` or `source_hash`")
}

/// `header:X-User`, `source`.
pub(super) fn key(text: &Text) -> Result<Key, Problem> {
    let (kind, name) = match text.value.split_once(':') {
        Some((kind, name)) => (kind.trim(), Some(name.trim())),
        None => (text.value.trim(), None),
    };
    let refuse = |cause: String, remedy: &str| Err(Problem::error(text.span, cause, remedy));
    if let (true, Some("") | None) = (WITH_NAME.contains(&kind), name) {
        let example = if kind == "header" { "X-User" } else { "uid" };
        let cause = format!("the key `{}` does not say which {kind} it means", text.value);
        return refuse(cause, &format!("write `{kind}:NAME`, such as `{kind}:{example}`"));
    }
    if let (true, Some(name)) = (ALONE.contains(&kind), name) {
        return refuse(format!("`{kind}` takes no name, found `{name}`"), &format!("write `{kind}`"));
    }
    Ok(match (kind, name) {
        ("header", Some(name)) => {
            header::name(&Located::new(name.to_owned(), text.span))?;
            Key::Header(name.into())
        }
        ("cookie", Some(name)) => {
            Key::Cookie(condition::cookie_name(&Located::new(name.to_owned(), text.span))?)
        }
        ("query", Some(name)) => Key::Query(Arc::from(name)),
        ("path", _) => Key::Path,
        ("source", _) => Key::Source,
        ("5tuple", _) => Key::FiveTuple,
        ("quic_cid", _) => Key::QuicCid,
        _ => {
            let near = nearest(kind, WITH_NAME.into_iter().chain(ALONE));
            let remedy = near.map_or_else(
                || {
                    "the keys are `header:NAME`, `cookie:NAME`, `query:NAME`, `path`, `source`, `5tuple` and `quic_cid`"
                        .into()
                },
                |near| match (WITH_NAME.contains(&near), name) {
                    (true, Some(name)) => format!("did you mean `{near}:{name}`?"),
                    (true, None) => format!("did you mean `{near}:NAME`?"),
                    (false, _) => format!("did you mean `{near}`?"),
                },
            );
            return refuse(format!("`{}` is not a key to balance by", text.value), &remedy);
        }
    })
}
