//! Certificates whose files have changed, on their way into the snapshot: only the TLS that shows or believes them is made
//! anew, and published with one swap. No connection is touched, since each goes on with what it shook hands on.

use std::sync::Arc;

use weir_control::renewal::{Change, expiry};
use weir_model::{
    snapshot::{
        Snapshot,
        compile::{Credentials, Owner, renew_draft, renewed},
    },
    status::RenewalStatus,
    time::Millis,
};
use weir_proxy::{clock, telemetry::Level, tls};

use super::reload::Reloading;

/// How often it is said which certificates end soon.
const DAILY: Millis = Millis::secs(86_400);

impl Reloading {
    /// Watches the files of a snapshot from now on, all of which could be used.
    pub(super) fn follow(&mut self, credentials: Vec<Credentials>, snapshot: &Snapshot) {
        self.renewals.follow(credentials);
        let listeners = snapshot.listeners.iter().map(|listener| &listener.status.renewal);
        let pools = snapshot.pools.iter().map(|pool| &pool.status.renewal);
        listeners.chain(pools).for_each(|renewal| renewal.tell(Vec::new()));
        self.warn_of_ends(snapshot);
    }

    /// Publishes what was renewed, and says what became of it.
    pub(super) fn renew(&mut self) {
        let running = self.cell.load();
        if clock::read().since(self.warned) >= DAILY {
            self.warn_of_ends(&running);
        }
        let changes = self.renewals.look(clock::read(), clock::wall().0);
        if changes.is_empty() {
            return;
        }
        let new: Vec<_> = changes.iter().filter_map(|change| change.renewed.clone()).collect();
        let published = !new.is_empty() && self.publish_renewed(&running, &new);
        for Change { owner, renewed, refused, problems, said, warned } in changes {
            let (label, status) = of(&running, &owner);
            let said = said.into_iter().map(|sentence| (Level::Info, sentence));
            for (level, sentence) in said.chain(warned.into_iter().map(|sentence| (Level::Warn, sentence))) {
                self.voice.say(level, format!("certificate: {label} {sentence}"));
            }
            let Some(status) = status else { continue };
            match renewed {
                Some(_) if published => status.took(),
                Some(_) => status.refused(),
                None => {}
            }
            if refused {
                status.refused();
            }
            status.tell(problems);
        }
    }

    /// False if the crypto library has something against it; then nothing was changed.
    fn publish_renewed(
        &mut self,
        running: &Arc<Snapshot>,
        new: &[weir_model::snapshot::compile::Renewed],
    ) -> bool {
        let next = renewed(running, new);
        if let Err(why) = tls::prepare(&next, &self.tls) {
            self.voice.say(Level::Warn, format!("certificate: nothing was changed: {why}"));
            return false;
        }
        let generation = next.generation;
        self.cell.publish(next, clock::read());
        self.replaced.push((running.clone(), clock::read()));
        new.iter().for_each(|new| self.renewals.took(new));
        self.discovering.iter_mut().for_each(|draft| renew_draft(draft, new));
        self.voice.say(Level::Info, format!("certificate: generation {generation}"));
        true
    }

    /// A line for each certificate that ends soon.
    fn warn_of_ends(&mut self, snapshot: &Snapshot) {
        self.warned = clock::read();
        for line in expiry::warnings(snapshot, clock::wall().0) {
            self.voice.say(Level::Warn, line);
        }
    }
}

/// Who it is in log lines, and where it is written down for operators.
fn of<'s>(snapshot: &'s Snapshot, owner: &Owner) -> (String, Option<&'s RenewalStatus>) {
    match owner {
        Owner::Listener(name) => {
            let listener = snapshot.listeners.iter().find(|listener| listener.name == *name);
            (format!("listener={name}"), listener.map(|listener| &listener.status.renewal))
        }
        Owner::Pool(name) => {
            let pool = snapshot.pool(name).map(|(_, pool)| &pool.status.renewal);
            (format!("pool={name}"), pool)
        }
    }
}
