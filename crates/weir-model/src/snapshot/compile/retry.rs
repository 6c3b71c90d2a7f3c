//! What a route tries again.

use super::{condition, kept, value, within};
use crate::{
    draft::{RetryDraft, RetryMethodsDraft, Text},
    problem::{Located, Problem},
    route::{Retry, RetryMethods, RetryOn},
};

/// The retries of a route.
pub(super) fn retry(draft: Option<&Located<RetryDraft>>, problems: &mut Vec<Problem>) -> Retry {
    let defaults = Retry::default();
    let Some(Located { value: draft, .. }) = draft else { return defaults };
    Retry {
        retries: within(&draft.retries, 0..=10, "`retries`", problems).unwrap_or(defaults.retries),
        on: draft.retry_on.as_ref().map_or(defaults.on, |words| retry_on(&words.value, problems)),
        per_try: value(&draft.per_try, defaults.per_try),
        budget: value(&draft.budget, defaults.budget),
        methods: methods(draft.methods.as_ref(), problems),
    }
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
