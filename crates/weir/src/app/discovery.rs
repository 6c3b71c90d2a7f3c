//! What was discovered, on its way into the snapshot: only its pools are compiled anew, and published with one swap.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use weir_control::{discovery::Found, reload::plan};
use weir_model::{
    draft::Draft,
    snapshot::{
        compile::{Anew, anew},
        diff::Diff,
    },
};
use weir_proxy::{clock, telemetry::Level};

use super::reload::Reloading;

/// What is left out of a pool and shown one by one.
const SHOWN: usize = 20;

impl Reloading {
    /// A reload keeps what was discovered for the pools that go on discovering: nobody has said that it is gone.
    pub(super) fn carry_found_over(&self, draft: &mut Draft) {
        for pool in draft.pools.iter_mut().filter(|pool| pool.discover.is_some()) {
            let before = self.discovering.iter().find(|before| before.name.value == pool.name.value);
            pool.found = before.map_or_else(Vec::new, |before| before.found.clone());
        }
    }

    /// Publishes what was found, and lets those go on who wait for it.
    pub(super) fn take_found(&mut self, mut found: BTreeMap<Arc<str>, Found>) {
        let started = Instant::now();
        let mut left_out = BTreeMap::new();
        for pool in &mut self.discovering {
            // What was found for a pool that is there no more is of no use.
            if let Some((name, found)) = found.remove_entry(&*pool.name.value) {
                pool.found = found.backends;
                left_out.insert(name, found.left_out);
            }
        }
        if left_out.is_empty() {
            return;
        }
        let drafts = self.discovering.iter().filter(|pool| left_out.contains_key(&*pool.name.value));
        let running = self.cell.load();
        let (next, changed) = match anew(drafts, &running, &mut self.registry) {
            Ok(compiled) => compiled,
            Err(problems) => {
                let causes: Vec<_> = problems.iter().map(|problem| &*problem.cause).collect();
                let text = format!("discovery: what was found cannot be used: {}", causes.join("; "));
                return self.voice.say(Level::Warn, text);
            }
        };
        let pairs = changed.iter().map(|pool| (&*running.pools[pool.index], &*next.pools[pool.index]));
        let diff = Diff::of_backends(pairs);
        let pools: Vec<_> = changed.iter().map(|pool| next.pools[pool.index].clone()).collect();
        if !diff.is_empty() {
            let generation = next.generation;
            self.cell.publish(next, clock::read());
            self.replaced.push((running, clock::read()));
            let took_ms = started.elapsed().as_secs_f64() * 1000.0;
            let changes = plan::line(&diff);
            let text = format!("discovery: generation {generation} after {took_ms:.1} ms: {changes}");
            self.voice.say(Level::Info, text);
        }
        for (Anew { left_out: refused, .. }, pool) in changed.into_iter().zip(pools) {
            let refused = refused.into_iter().map(|problem| problem.cause);
            let left_out: Vec<_> =
                left_out.remove(&pool.name).unwrap_or_default().into_iter().chain(refused).collect();
            self.tell_left_out(&pool.name, &left_out, &pool.status.discovery.left_out());
            let written = self.discovering.iter().find(|draft| *draft.name.value == *pool.name);
            let written = written.map_or(0, |draft| draft.backends.len());
            pool.status.discovery.used(pool.backends.len().saturating_sub(written), left_out);
            // Only now: whoever goes on looks at what is published.
            pool.status.discovery.decide();
        }
    }

    /// Says what is not used of an answer, unless it was so before.
    fn tell_left_out(&self, pool: &str, now: &[String], before: &[String]) {
        if now == before {
            return;
        }
        for sentence in now.iter().take(SHOWN) {
            self.voice.say(Level::Warn, format!("discovery: pool={pool} leaves out {sentence}"));
        }
        if now.len() > SHOWN {
            self.voice
                .say(Level::Warn, format!("discovery: pool={pool} leaves out {} more", now.len() - SHOWN));
        }
    }
}
