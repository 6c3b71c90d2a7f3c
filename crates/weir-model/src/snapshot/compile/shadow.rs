//! Routes that no request can reach: earlier ones take everything that they would take, or they refuse it themselves.
//!
//! Only what is certain is reported: two expressions that happen to match the same texts are not compared.

mod candidates;

use candidates::Candidates;

use crate::{
    problem::{Problem, Span},
    route::{Condition, Matcher, PathMatch, Route},
};

/// Where a route stands, and whether what was compiled is what was meant.
pub(super) struct Place {
    /// Where it starts.
    pub(super) span: Span,
    /// False if a part of its match could not be read: then nothing is concluded from it.
    pub(super) trusted: bool,
    /// True if it stands at the top of a file and not in its listener.
    pub(super) shared: bool,
}

/// Files a problem for every route that cannot be reached.
pub(super) fn check(listener: &str, routes: &[Route], places: &[Place], problems: &mut Vec<Problem>) {
    let everything = [Condition::default()];
    let mut index = Candidates::default();
    for (number, (route, place)) in routes.iter().zip(places).enumerate() {
        if !place.trusted {
            continue;
        }
        let conditions = if route.conditions.is_empty() { &everything[..] } else { &route.conditions };
        let mut conditions = conditions.iter().filter(|condition| !is_empty(condition)).peekable();
        if conditions.peek().is_none() {
            let cause = format!("no request can match the route `{}`", route.name);
            let remedy = "its `not` holds for everything that the rest of its match takes: change one of them, or remove the route";
            problems.push(Problem::error(place.span, cause, remedy));
            continue;
        }
        let conditions: Vec<_> = conditions.collect();
        let covering: Option<Vec<usize>> =
            conditions.iter().map(|narrow| index.first(narrow, |wide| covers(wide, narrow))).collect();
        if let Some(&first) = covering.as_ref().and_then(|covering| covering.first()) {
            let cause = format!("no request can reach the route `{}`", route.name);
            let before = &routes[first].name;
            let remedy = if place.shared && !places[first].shared {
                // Wherever it stands at the top, those of the listener come first.
                format!(
                    "move it into the `routes` of the listener `{listener}`, before the route `{before}`, or remove it"
                )
            } else {
                format!("move it before the route `{before}`, or remove it")
            };
            let problem = Problem::error(place.span, cause, remedy);
            problems.push(
                problem.with_related(places[first].span, "this route already takes everything it would take"),
            );
        }
        conditions.into_iter().for_each(|wide| index.add(wide, number));
    }
}

/// True if nothing is known to be taken: what must not hold holds whenever the rest does.
fn is_empty(condition: &Condition) -> bool {
    condition.matchers.iter().any(|matcher| match matcher {
        Matcher::Not(refused) => refused.iter().any(|refused| covers(refused, condition)),
        _ => false,
    })
}

/// True if `wide` is known to hold whenever `narrow` does.
fn covers(wide: &Condition, narrow: &Condition) -> bool {
    wide.matchers.iter().all(|ours| narrow.matchers.iter().any(|theirs| matcher_covers(ours, theirs)))
}

fn matcher_covers(wide: &Matcher, narrow: &Matcher) -> bool {
    match (wide, narrow) {
        (Matcher::Host(ours), Matcher::Host(theirs)) => {
            all_in(theirs, ours, |ours, theirs| ours.covers(theirs))
        }
        (Matcher::Path(ours), Matcher::Path(theirs)) => {
            all_in(theirs, ours, |ours, theirs| ours.covers(theirs))
        }
        (Matcher::Method(ours), Matcher::Method(theirs)) => {
            all_in(theirs, ours, |ours, theirs| ours == theirs)
        }
        (Matcher::Header(our_name, ours), Matcher::Header(their_name, theirs))
        | (Matcher::Query(our_name, ours), Matcher::Query(their_name, theirs))
        | (Matcher::Cookie(our_name, ours), Matcher::Cookie(their_name, theirs)) => {
            our_name == their_name && all_in(theirs, ours, |ours, theirs| ours.covers(theirs))
        }
        (Matcher::Source(ours), Matcher::Source(theirs)) => {
            all_in(theirs.as_slice(), ours.as_slice(), |ours, theirs| ours.contains(theirs))
        }
        (Matcher::ServerName(ours), Matcher::ServerName(theirs)) => {
            all_in(theirs, ours, |ours, theirs| ours.covers(theirs))
        }
        (Matcher::Protocol(ours), Matcher::Protocol(theirs)) => {
            all_in(theirs, ours, |ours, theirs| ours == theirs)
        }
        (Matcher::Certificate(ours), Matcher::Certificate(theirs)) => ours.covers(theirs),
        (Matcher::Grpc(ours), Matcher::Grpc(theirs)) => ours.covers(theirs),
        (Matcher::Path(ours), Matcher::Grpc(theirs)) => match theirs.paths() {
            // Calls of every service may have any path but the root.
            [] => ours.iter().any(|ours| ours.covers(&PathMatch::Prefix("".into()))),
            theirs => all_in(theirs, ours, |ours, theirs| ours.covers(theirs)),
        },
        // "None of ours" is the wider one if each of ours is among theirs.
        (Matcher::Not(ours), Matcher::Not(theirs)) => all_in(ours, theirs, covers),
        _ => false,
    }
}

fn all_in<T>(narrow: &[T], wide: &[T], covers: impl Fn(&T, &T) -> bool) -> bool {
    narrow.iter().all(|theirs| wide.iter().any(|ours| covers(ours, theirs)))
}

#[cfg(test)]
mod tests;
