//! What a route tries again.

use super::{condition, kept, value, within};
use crate::{
    draft::{RetryDraft, RetryMethodsDraft, RouteDraft, Text},
    grpc,
    problem::{Located, Problem},
    route::{Retry, RetryMethods, RetryOn},
};

/// The retries of a route.
pub(super) fn retry(draft: Option<&Located<RetryDraft>>, problems: &mut Vec<Problem>) -> Retry {
    let defaults = Retry::default();
    let Some(Located { value: draft, .. }) = draft else { return defaults };
    problems.extend(never_repeated(draft));
    problems.extend(nothing_again(draft));
    Retry {
        retries: within(&draft.retries, 0..=10, "`retries`", problems).unwrap_or(defaults.retries),
        on: draft.retry_on.as_ref().map_or(defaults.on, |words| retry_on(&words.value, problems)),
        per_try: value(&draft.per_try, defaults.per_try),
        budget: value(&draft.budget, defaults.budget),
        methods: methods(draft.methods.as_ref(), problems),
    }
}

/// Reasons to try again, where nothing is tried again.
fn nothing_again(draft: &RetryDraft) -> Option<Problem> {
    draft.retries.as_ref().filter(|retries| retries.value == 0)?;
    let on = draft.retry_on.as_ref().filter(|on| !on.value.is_empty())?;
    let cause = "`retry_on` has no effect beside `retries: 0`: nothing is tried again";
    Some(Problem::warning(on.span, cause, "remove it, or allow a retry"))
}

/// A single attempt that may take longer than the whole exchange.
pub(super) fn too_late(draft: &RouteDraft) -> Option<Problem> {
    let whole = draft.timeout.as_ref().filter(|whole| !whole.value.is_none())?;
    let one = draft.retry.as_ref()?.value.per_try.as_ref()?;
    (!one.value.is_none() && one.value > whole.value).then(|| {
        let cause = "`per_try` is longer than the `timeout` of the route, which strikes first";
        let problem = Problem::warning(one.span, cause, "make it shorter, or `timeout` longer");
        problem.with_related(whole.span, "the whole exchange may take this long")
    })
}

/// Calls of gRPC are POST requests: a status that they end with means nothing where those are never sent twice.
fn never_repeated(draft: &RetryDraft) -> Option<Problem> {
    let repeated = match draft.methods.as_ref().map(|methods| &methods.value) {
        None | Some(RetryMethodsDraft::Idempotent) => false,
        Some(RetryMethodsDraft::All) => true,
        Some(RetryMethodsDraft::These(methods)) => methods.iter().any(|method| method.value == "POST"),
    };
    let of_grpc = |word: &&Text| RetryOn::GRPC.into_iter().any(|status| grpc::word(status) == word.value);
    let word = draft.retry_on.as_ref()?.value.iter().find(of_grpc).filter(|_| !repeated)?;
    let cause = format!(
        "`{}` is never tried again: calls of gRPC are POST requests, which `methods` leaves out",
        word.value
    );
    Some(Problem::warning(word.span, cause, "add `methods: all` where calls may run twice, or remove it"))
}

fn retry_on(words: &[Text], problems: &mut Vec<Problem>) -> RetryOn {
    let mut on = RetryOn { connect: false, reset: false, timeout: false, statuses: Vec::new(), grpc: 0 };
    for word in words {
        match word.value.as_str() {
            "connect" => on.connect = true,
            "reset" => on.reset = true,
            "timeout" => on.timeout = true,
            other => match RetryOn::GRPC.into_iter().find(|status| grpc::word(*status) == other) {
                Some(status) => on.grpc |= 1 << status,
                None => on.statuses.extend(kept(status(other, word), problems)),
            },
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
        let words = ["connect", "reset", "timeout"].into_iter().chain(RetryOn::GRPC.map(grpc::word));
        let near = crate::problem::nearest(text, words);
        let remedy = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => "write `connect`, `reset`, `timeout`, a status code from 400 to 599, or a status of gRPC such as \
                     `unavailable`"
                .into(),
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
