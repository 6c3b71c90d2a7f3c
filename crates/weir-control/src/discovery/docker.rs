//! `docker`: running containers with a label, as a Docker engine knows them.
//!
//! ```text
//!  events ── something happened ──> list ──> inspect each ──> which take traffic? ──> Feed
//!     └── signals that end a container ─────────────────────────────┘
//! ```
//!
//! The events are asked for before the list, so that nothing can happen in between unseen.

mod containers;
mod engine;

use std::{collections::HashSet, time::Duration};

use tokio::time::{Instant, timeout_at};
use weir_model::discovery::Docker;

use super::feed::Feed;
use containers::{Inspected, chosen};
use engine::{Engine, Event, Events};

/// The longest time between two attempts to reach an engine.
const REFRESH: Duration = Duration::from_secs(30);
/// The containers are listed anew after this time without an event: events can be lost.
const AT_LATEST: Duration = Duration::from_secs(60);
/// Events come in crowds: the list is asked for when they pause for so long, or go on for so long.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_CROWD: Duration = Duration::from_millis(500);
/// Containers that are looked at.
const MOST: usize = 1000;

/// Asks for ever.
pub(super) async fn follow(feed: &mut Feed, docker: &Docker) {
    let engine = Engine::new(docker.socket.clone());
    loop {
        let sentence = match session(feed, docker, &engine).await {
            Ok(never) => match never {},
            Err(sentence) => sentence,
        };
        feed.failed(&sentence);
        tokio::time::sleep(feed.patience(REFRESH)).await;
    }
}

/// Nothing of this kind exists.
enum Never {}

/// Follows the containers for as long as the engine answers.
async fn session(feed: &mut Feed, docker: &Docker, engine: &Engine) -> Result<Never, String> {
    // Nobody knows whether those that were being stopped in the last one have begun anew since.
    let mut stopping = HashSet::new();
    let version = engine.version().await?;
    let mut events = engine.events(&version, &docker.label).await?;
    loop {
        let ids = engine.list(&version, &docker.label).await?;
        // Containers that are no more need not be remembered.
        stopping.retain(|id| ids.contains(id));
        let mut containers = Vec::new();
        for id in ids.iter().take(MOST).filter(|id| !stopping.contains(*id)) {
            containers.extend(engine.inspect(&version, id).await?);
        }
        tell(feed, docker, &containers, ids.len(), stopping.len());
        crowd(&mut events, &mut stopping).await?;
    }
}

/// Says what there is.
fn tell(feed: &mut Feed, docker: &Docker, containers: &[Inspected], listed: usize, stopping: usize) {
    let (entries, mut left_out) = chosen(containers, docker);
    if listed > MOST {
        left_out.push(format!("{} containers: {MOST} are the most", listed - MOST));
    }
    if entries.is_empty() {
        let why = match (listed, left_out.first()) {
            (0, _) => format!("no running container has the label `{}`", docker.label),
            (_, Some(first)) => format!("none of {listed} containers can be used: {first}"),
            (_, None) => format!("all {stopping} containers are being stopped"),
        };
        return feed.failed(&why);
    }
    feed.entries(entries, left_out);
}

/// Waits for events, and for the end of their crowd; or for the time to look without one.
async fn crowd(events: &mut Events, stopping: &mut HashSet<String>) -> Result<(), String> {
    let mut until = Instant::now() + AT_LATEST;
    let mut last = None;
    while let Ok(event) = timeout_at(until, events.next()).await {
        note(&event?, stopping);
        let now = Instant::now();
        let end = *last.get_or_insert(now + LONGEST_CROWD);
        until = end.min(now + PAUSE);
    }
    Ok(())
}

/// A container that was told to end takes no new traffic, while it may finish what it has.
fn note(event: &Event, stopping: &mut HashSet<String>) {
    if event.begins_end() {
        stopping.insert(event.id.clone());
    } else if event.is_start() {
        stopping.remove(&event.id);
    }
}

#[cfg(test)]
mod tests;
