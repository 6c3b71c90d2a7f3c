//! Routes at the top of files: which listeners they belong to.

use std::collections::BTreeMap;

use crate::{
    draft::{Draft, ListenerDraft, RouteDraft},
    problem::{Problem, nearest},
};

/// The shared routes of each listener, in the order of the files.
#[derive(Debug, Default)]
pub(super) struct Shared<'d> {
    by_listener: BTreeMap<&'d str, Vec<&'d RouteDraft>>,
    /// False if a shared route could not be read: a listener may then have more than it seems.
    pub(super) complete: bool,
}

impl<'d> Shared<'d> {
    /// Those of one listener.
    pub(super) fn of(&self, listener: &str) -> &[&'d RouteDraft] {
        self.by_listener.get(listener).map_or(&[], Vec::as_slice)
    }
}

/// Finds the listeners that shared routes name.
pub(super) fn by_listener<'d>(
    draft: &'d Draft,
    listeners: &BTreeMap<&'d str, &'d ListenerDraft>,
    problems: &mut Vec<Problem>,
) -> Shared<'d> {
    let mut shared = Shared {
        by_listener: BTreeMap::new(),
        complete: !draft.routes_incomplete && draft.routes.iter().all(|shared| !shared.route.broken),
    };
    for route in &draft.routes {
        for (place, name) in route.listeners.iter().enumerate() {
            if let Some(first) = route.listeners[..place].iter().find(|first| first.value == name.value) {
                let cause = format!("the listener `{}` is named twice", name.value);
                let problem = Problem::error(name.span, cause, "name it once");
                problems.push(problem.with_related(first.span, "the first one is here"));
            } else if listeners.contains_key(name.value.as_str()) {
                shared.by_listener.entry(&name.value).or_default().push(&route.route);
            } else if !draft.listeners_incomplete {
                let remedy = match nearest(&name.value, listeners.keys().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "add it under `listeners`, or name one that is there".into(),
                };
                problems.push(Problem::error(
                    name.span,
                    format!("there is no listener `{}`", name.value),
                    remedy,
                ));
            }
        }
    }
    shared
}
