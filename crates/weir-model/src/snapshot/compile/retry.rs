//! What a route tries again, and for how long an exchange may last.

use super::{condition, kept, value, within};
use crate::{
    draft::{RetryDraft, RetryMethodsDraft, RouteDraft, Text},
    listener::Protocol,
    problem::{Located, Problem},
    route::{Retry, RetryMethods, RetryOn},
    time::Millis,
};

/// The time-out and retries of a route; refused where no request is forwarded.
pub(super) fn patience(
    draft: &RouteDraft,
    protocol: Protocol,
    forwards: bool,
    problems: &mut Vec<Problem>,
) -> (Millis, Retry) {
    let given = [
        ("timeout", draft.timeout.as_ref().map(|setting| setting.span)),
        ("retry", draft.retry.as_ref().map(|setting| setting.span)),
    ];
    let why = match protocol {
        Protocol::Tcp => Some("for `protocol: tcp`, which knows no requests"),
        Protocol::Http if !forwards => Some("here: the request is answered and not forwarded"),
        Protocol::Http => None,
    };
    if let Some(why) = why {
        for (key, span) in given {
            if let Some(span) = span {
                problems.push(Problem::error(span, format!("`{key}` has no meaning {why}"), "remove it"));
            }
        }
    }
    let retry = draft.retry.as_ref().map_or_else(Retry::default, |draft| retry(&draft.value, problems));
    (value(&draft.timeout, Millis::NONE), retry)
}

fn retry(draft: &RetryDraft, problems: &mut Vec<Problem>) -> Retry {
    let defaults = Retry::default();
    let retry = Retry {
        retries: within(&draft.retries, 0..=10, "`retries`", problems).unwrap_or(defaults.retries),
        on: draft.retry_on.as_ref().map_or(defaults.on, |words| retry_on(&words.value, problems)),
        per_try: value(&draft.per_try, defaults.per_try),
        budget: value(&draft.budget, defaults.budget),
        methods: methods(draft.methods.as_ref(), problems),
    };
    if let (0, Some(retry_on)) = (retry.retries, &draft.retry_on) {
        let cause = "`retry_on` has no meaning with `retries: 0`, which tries nothing again";
        problems.push(Problem::warning(retry_on.span, cause, "remove it, or raise `retries`"));
    }
    retry
}

fn retry_on(words: &[Text], problems: &mut Vec<Problem>) -> RetryOn {
    let mut on = RetryOn { connect: false, reset: false, timeout: false, statuses: Vec::new() };
    for word in words {
        match word.value.as_str() {
            "connect" => on.connect = true,
            "reset" => on.reset = true,
            "timeout" => on.timeout = true,
            other => on.statuses.extend(kept(status(other, word), problems)),
        }
    }
    on.statuses.sort_unstable();
    on.statuses.dedup();
    on
}

fn status(text: &str, word: &Text) -> Result<u16, Problem> {
    let code = text.parse().ok().filter(|code| (400..=599).contains(code));
    code.ok_or_else(|| {
        let cause = format!("`{text}` is nothing that can be tried again");
        let near = crate::problem::nearest(text, ["connect", "reset", "timeout"]);
        let remedy = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => "write `connect`, `reset`, `timeout` or a status code from 400 to 599".into(),
        };
        Problem::error(word.span, cause, remedy)
    })
}

fn methods(draft: Option<&Located<RetryMethodsDraft>>, problems: &mut Vec<Problem>) -> RetryMethods {
    match draft.map(|draft| &draft.value) {
        None | Some(RetryMethodsDraft::Idempotent) => RetryMethods::Idempotent,
        Some(RetryMethodsDraft::All) => RetryMethods::All,
        Some(RetryMethodsDraft::These(texts)) => RetryMethods::These(
            texts.iter().filter_map(|text| kept(condition::method(text), problems)).collect(),
        ),
    }
}
