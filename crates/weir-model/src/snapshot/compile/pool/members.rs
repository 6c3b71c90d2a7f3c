//! The backends of a pool as a whole: pools that nobody could ever be given traffic in, and zones.

use std::sync::Arc;

use crate::{
    balance::Zones,
    draft::PoolDraft,
    pool::Backend,
    problem::{Problem, Span},
    status::State,
};

/// What is wrong with the backends together.
pub(super) fn judge(draft: &PoolDraft, backends: &[Backend], problems: &mut Vec<Problem>) {
    // What is discovered comes and goes.
    if draft.broken || draft.discover.is_some() || backends.len() != draft.backends.len() {
        return;
    }
    let (name, span) = (&draft.name.value, draft.name.span);
    if backends.is_empty() {
        let cause = format!("the pool `{name}` has no backend");
        problems.push(Problem::error(span, cause, "add at least one: `backends: [10.0.0.1:8080]`"));
    } else if backends.iter().all(|backend| backend.weight == 0) {
        let cause = format!("every backend of the pool `{name}` has weight 0, so that none takes traffic");
        problems.push(Problem::error(span, cause, "give at least one of them a weight of 1 or more"));
    } else if backends.iter().all(|backend| backend.state != State::Active || backend.weight == 0) {
        let cause = format!(
            "every backend of the pool `{name}` is draining, disabled or of weight 0, so that none takes traffic"
        );
        problems.push(Problem::warning(span, cause, "leave at least one of them `state: active`"));
    } else if backends.iter().all(|backend| backend.backup || backend.weight == 0) {
        let cause =
            format!("no backend of the pool `{name}` is a primary: its backups take all of its traffic");
        problems.push(Problem::warning(span, cause, "remove `backup` from those that are to take it first"));
    }
}

/// The zones of a pool that prefers weir's own.
pub(super) fn zones(
    draft: &PoolDraft,
    own: Option<&Arc<str>>,
    backends: &[Backend],
    problems: &mut Vec<Problem>,
) -> Option<Zones> {
    let name = &draft.name.value;
    let Some(key) = draft.zone_aware.as_ref().filter(|key| key.value) else {
        if let Some(zone) = draft.backends.iter().find_map(|backend| backend.zone.as_ref()) {
            let cause = format!("`zone` has no effect: the pool `{name}` does not prefer any");
            let remedy = "add `zone_aware: prefer` to the pool, or remove it";
            problems.push(Problem::warning(zone.span, cause, remedy));
        }
        return None;
    };
    let Some(own) = own else {
        let cause =
            format!("the pool `{name}` prefers weir's own zone, and the file does not say which that is");
        let remedy = "add `zone: NAME` at the top of the file; `${ZONE}` takes it from the environment";
        problems.push(Problem::error(key.span, cause, remedy));
        return None;
    };
    if !draft.broken && draft.discover.is_none() && backends.len() == draft.backends.len() {
        problems.extend(nobody_near(name, key.span, own, backends));
    }
    Some(Zones::new(own, backends.iter().map(|backend| backend.zone.as_ref())))
}

/// Zones that cannot have the effect that was meant.
fn nobody_near(name: &str, span: Span, own: &str, backends: &[Backend]) -> Option<Problem> {
    let mut zones = backends.iter().filter_map(|backend| backend.zone.as_deref());
    if backends.is_empty() || zones.clone().any(|zone| zone == own) {
        return None;
    }
    if zones.next().is_none() {
        let cause = format!("no backend of the pool `{name}` says which zone it is in");
        return Some(Problem::warning(span, cause, format!("add `zone: {own}` to those that are near")));
    }
    let near = crate::problem::nearest(own, backends.iter().filter_map(|backend| backend.zone.as_deref()));
    let remedy = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => "correct the names, or remove `zone_aware`".into(),
    };
    let cause =
        format!("no backend of the pool `{name}` is in weir's zone `{own}`: all of its traffic leaves it");
    Some(Problem::warning(span, cause, remedy))
}
