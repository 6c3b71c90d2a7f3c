//! Says in the log when others begin to carry the traffic of a pool: its backups, all of it in panic, or nobody.

use std::{collections::HashMap, sync::Arc, time::Duration};

use weir_model::{
    balance::{Standing, Tier},
    pool::Pool,
    snapshot::{Snapshot, SnapshotCell},
};

use super::Logs;

/// How soon a change is noticed. Workers do not wait for this: it is for the log only.
const GLANCE: Duration = Duration::from_millis(100);

/// Watches every pool of the published snapshot. Never returns; to stop it, drop it.
pub async fn announce(cell: Arc<SnapshotCell>, logs: Logs) {
    let mut seen = Seen::default();
    loop {
        seen.look(&cell.load(), &logs);
        tokio::time::sleep(GLANCE).await;
    }
}

/// What was seen of each pool at the last look.
#[derive(Default)]
struct Seen(HashMap<Arc<str>, Glimpse>);

struct Glimpse {
    pool: Arc<Pool>,
    epoch: u64,
    tier: Tier,
}

impl Seen {
    fn look(&mut self, snapshot: &Snapshot, logs: &Logs) {
        let mut before = std::mem::take(&mut self.0);
        for pool in &snapshot.pools {
            // Read before the backends are: what changes meanwhile is seen at the next look.
            let epoch = pool.status.epoch.load(std::sync::atomic::Ordering::Acquire);
            let known = before.remove(&pool.name);
            let glimpse = match known {
                Some(known) if known.epoch == epoch && Arc::ptr_eq(&known.pool, pool) => known,
                known => {
                    let standing = Standing::of(pool);
                    if let Some(text) = change(known.map(|known| known.tier), &standing, pool.panic) {
                        let log = if standing.tier == Tier::Nobody { &logs.warn } else { &logs.info };
                        log(&format!("pool={} {text}", pool.name));
                    }
                    Glimpse { pool: pool.clone(), epoch, tier: standing.tier }
                }
            };
            self.0.insert(pool.name.clone(), glimpse);
        }
    }
}

/// What there is to say. That nobody carries the traffic is no news before anybody did.
fn change(before: Option<Tier>, standing: &Standing, panic: u32) -> Option<String> {
    let news = match (before.unwrap_or_default(), standing.tier) {
        (before, now) if before == now => false,
        (Tier::Nobody, Tier::Primary) => false,
        _ => true,
    };
    let text = || match (before, standing.sentence(panic)) {
        (Some(Tier::Panic), None) => "panic is over: its healthy primaries carry the traffic again".into(),
        (_, None) => "its primaries carry the traffic again".into(),
        (Some(Tier::Panic), Some(sentence)) => format!("panic is over: {sentence}"),
        (_, Some(sentence)) => sentence,
    };
    news.then(text)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use weir_model::{
        status::{Health, Registry},
        time::Moment,
    };

    use super::*;
    use crate::{config, health::Log};

    const FILE: &str = r#"
listeners: { web: { bind: "127.0.0.1:8080", protocol: http, pool: app } }
pools:
  app:
    panic: 50%
    backends:
      - 10.0.0.1:80
      - 10.0.0.2:80
      - 10.0.0.3:80
      - { address: "10.0.0.4:80", backup: true }
"#;

    #[test]
    fn what_carries_the_traffic_is_told_once() {
        let snapshot =
            config::compile(config::from_text("weir.yaml", FILE), 1, &mut Registry::new(1)).unwrap().snapshot;
        let pool = &snapshot.pools[0];
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = |level: &'static str| -> Log {
            let lines = lines.clone();
            Arc::new(move |line: &str| lines.lock().unwrap().push(format!("{level}{line}")))
        };
        let logs = Logs { info: log(""), warn: log("warn ") };
        let mut seen = Seen::default();
        let mut after = |healths: [Health; 4]| {
            for (backend, health) in pool.backends.iter().zip(healths) {
                backend.status.set_health(health, "", Moment(0));
            }
            pool.status.touch();
            seen.look(&snapshot, &logs);
            seen.look(&snapshot, &logs);
            std::mem::take(&mut *lines.lock().unwrap())
        };
        use Health::{Down, Unknown, Up};
        let none: [&str; 0] = [];
        assert_eq!(after([Unknown; 4]), none);
        assert_eq!(after([Up; 4]), none);
        assert_eq!(after([Up, Up, Down, Up]), none);
        assert_eq!(
            after([Up, Down, Down, Up]),
            [
                "pool=app 1 of 3 primaries are healthy, which is below 50 %: the backups help to carry the traffic"
            ]
        );
        assert_eq!(
            after([Down, Down, Down, Up]),
            ["pool=app no primary is healthy: the backups carry the traffic"]
        );
        assert_eq!(
            after([Down; 4]),
            [
                "pool=app panic: 0 of 3 primaries are healthy, which is below 50 % and no backup is: all primaries are used"
            ]
        );
        assert_eq!(
            after([Up, Up, Down, Down]),
            ["pool=app panic is over: its healthy primaries carry the traffic again"]
        );
        assert_eq!(
            after([Unknown; 4]),
            [
                "warn pool=app no backend takes traffic: 4 of 4 wait for their first check, and no other is healthy"
            ],
            "a pool without anybody is a warning"
        );
    }
}
