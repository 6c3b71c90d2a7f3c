//! `file`: a list of backends in a file of its own, read again whenever it changes.

use std::{path::Path, time::Duration};

use super::feed::Feed;
use crate::{
    config::{self, Surroundings},
    reload::Watch,
};

/// How often the file is looked at.
const GLANCE: Duration = Duration::from_millis(250);

/// Watches for ever.
pub(super) async fn follow(feed: &mut Feed, path: &Path) {
    let mut watch = Watch::new(path);
    loop {
        watch.before_reading();
        let read = path.to_owned();
        // A file system that hangs holds up nobody but this pool.
        let task = tokio::task::spawn_blocking(move || config::backends(&read, &Surroundings::of_process()));
        match task.await {
            Ok(Ok(backends)) if backends.is_empty() => {
                feed.failed(&format!("{} is an empty list", path.display()));
            }
            Ok(Ok(backends)) => feed.found(backends, Vec::new()),
            Ok(Err(refusal)) => feed.failed(&refusal.headline()),
            // The process ends.
            Err(_) => return,
        }
        watch.after_reading([path].into_iter());
        while !watch.has_changed(feed.now()) {
            tokio::time::sleep(GLANCE).await;
        }
    }
}
