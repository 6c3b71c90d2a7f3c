//! The loop on a virtual clock, with backends that follow a script.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::time::{Instant, sleep};
use weir_model::status::Registry;

use super::*;
use crate::config;

thread_local! {
    static START: Instant = Instant::now();
}

fn clock() -> Moment {
    START.with(|start| Moment(start.elapsed().as_millis() as u64))
}

/// Answers by port: `true` passes. Ports that are not named pass.
#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<HashMap<u16, bool>>>,
    asked: Arc<Mutex<Vec<(std::net::SocketAddr, String)>>>,
    running: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Script {
    fn answer(&self, port: u16, passes: bool) {
        self.answers.lock().unwrap().insert(port, passes);
    }
}

impl Prober for Script {
    async fn probe(&self, check: &HealthCheck, address: &Address, host: &str) -> Result<String, String> {
        let address = address.ip().unwrap();
        self.asked.lock().unwrap().push((address, host.to_owned()));
        let running = self.running.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(running, Ordering::Relaxed);
        sleep(Duration::from_millis(5).min(check.timeout.duration())).await;
        self.running.fetch_sub(1, Ordering::Relaxed);
        match self.answers.lock().unwrap().get(&address.port()) {
            Some(false) => Err("answered 500, expected 200-299".into()),
            _ => Ok("answered 200".into()),
        }
    }
}

struct World {
    cell: Arc<SnapshotCell>,
    registry: Registry,
    lines: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

fn compiled(pools: &str, generation: u64, registry: &mut Registry) -> Snapshot {
    let text =
        format!("listeners: {{ web: {{ bind: ':80', protocol: http, pool: app }} }}\npools:\n  {pools}\n");
    let compiled = config::compile(config::from_text("weir.yaml", &text), generation, registry);
    compiled.unwrap_or_else(|refusal| panic!("{}", refusal.render(config::Style::Plain))).snapshot
}

impl World {
    fn new(pools: &str, script: Script) -> Self {
        let mut registry = Registry::new(1);
        let cell = Arc::new(SnapshotCell::new(compiled(pools, 1, &mut registry)));
        let lines = Arc::new(Mutex::new(Vec::new()));
        let log = {
            let lines = lines.clone();
            Arc::new(move |line: &str| lines.lock().unwrap().push(line.to_owned()))
        };
        let task = tokio::spawn(run(cell.clone(), script, log, clock));
        Self { cell, registry, lines, task }
    }

    fn reload(&mut self, pools: &str) {
        let next = compiled(pools, self.cell.generation() + 1, &mut self.registry);
        self.cell.publish(next, Moment(0));
    }

    fn health(&self) -> Vec<&'static str> {
        let snapshot = self.cell.load();
        snapshot.pools[0].backends.iter().map(|backend| backend.status.health().word()).collect()
    }

    fn lines(&self) -> Vec<String> {
        std::mem::take(&mut self.lines.lock().unwrap())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn seconds(count: u64) {
    sleep(Duration::from_secs(count)).await;
}

const TWO: &str = "app: { backends: ['10.0.0.1:1', '10.0.0.1:2'], health: { http: /, interval: 1s } }";

#[tokio::test(start_paused = true)]
async fn the_first_probe_decides_and_later_ones_need_a_row() {
    let script = Script::default();
    script.answer(2, false);
    let world = World::new(TWO, script.clone());
    assert_eq!(world.health(), ["unknown", "unknown"]);
    sleep(Duration::from_millis(50)).await;
    assert_eq!(world.health(), ["up", "down"]);
    assert_eq!(
        world.lines(),
        [
            "pool=app backend=10.0.0.1:1 health=up: answered 200",
            "pool=app backend=10.0.0.1:2 health=down: answered 500, expected 200-299",
        ]
    );

    let epoch = world.cell.load().pools[0].status.epoch.load(Ordering::Relaxed);
    script.answer(1, false);
    script.answer(2, true);
    seconds(4).await;
    assert_eq!(world.health(), ["down", "up"]);
    let lines = world.lines();
    assert!(
        lines.contains(&"pool=app backend=10.0.0.1:2 health=up: answered 200 (2 checks in a row)".into())
    );
    assert!(
        lines
            .iter()
            .any(|line| line.ends_with("health=down: answered 500, expected 200-299 (3 checks in a row)"))
    );
    let snapshot = world.cell.load();
    assert_eq!(snapshot.pools[0].status.epoch.load(Ordering::Relaxed), epoch + 2, "workers are told");
    let last_error = snapshot.pools[0].backends[0].status.last_error();
    assert_eq!(last_error.as_deref(), Some("health check: answered 500, expected 200-299"));
}

#[tokio::test(start_paused = true)]
async fn what_stays_the_same_is_not_disturbed_by_a_reload() {
    let script = Script::default();
    script.answer(1, false);
    let mut world = World::new(TWO, script.clone());
    seconds(2).await;
    assert_eq!(world.health(), ["down", "up"]);
    world.lines();
    world.reload(TWO);
    seconds(2).await;
    assert_eq!((world.health(), world.lines()), (vec!["down", "up"], vec![]));

    world.reload("app: { backends: ['10.0.0.1:1', '10.0.0.1:2'] }");
    seconds(1).await;
    assert_eq!(world.health(), ["up", "up"]);
    assert_eq!(world.lines(), ["pool=app backend=10.0.0.1:1 health=up: not checked"]);
    script.asked.lock().unwrap().clear();
    seconds(5).await;
    assert!(script.asked.lock().unwrap().is_empty(), "checks end with their configuration");
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_moved_is_judged_anew() {
    let pools = |port| {
        format!("app: {{ backends: [{{ address: '10.0.0.1:{port}', name: a }}], health: {{ tcp: }} }}")
    };
    let script = Script::default();
    script.answer(2, false);
    let mut world = World::new(&pools(1), script);
    seconds(1).await;
    assert_eq!(world.health(), ["up"]);
    world.reload(&pools(2));
    seconds(1).await;
    assert_eq!(world.health(), ["down"], "one failure is enough where nothing is known");
}

#[tokio::test(start_paused = true)]
async fn the_port_of_the_check_is_asked_instead() {
    let script = Script::default();
    let _world =
        World::new("app: { backends: ['10.0.0.1:1'], health: { tcp: , port: 9000 } }", script.clone());
    seconds(1).await;
    let asked = script.asked.lock().unwrap();
    assert_eq!(asked[0], ("10.0.0.1:9000".parse().unwrap(), "10.0.0.1:1".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn many_backends_are_asked_a_few_at_a_time() {
    let backends: Vec<_> = (1..=1000).map(|port| format!("'10.0.0.1:{port}'")).collect();
    let script = Script::default();
    let pools =
        format!("app: {{ backends: [{}], health: {{ tcp: , interval: 100ms }} }}", backends.join(", "));
    let world = World::new(&pools, script.clone());
    seconds(3).await;
    assert!(world.health().iter().all(|health| *health == "up"));
    let most = script.most.load(Ordering::Relaxed);
    assert!((10..=AT_ONCE).contains(&most), "{most}");
}

#[tokio::test]
async fn a_name_that_resolves_is_up_without_checks() {
    let world = World::new("app: { backends: ['localhost:1'] }", Script::default());
    for _ in 0..100 {
        sleep(Duration::from_millis(20)).await;
        if world.health() == ["up"] {
            break;
        }
    }
    assert_eq!(world.health(), ["up"]);
    let addresses = world.cell.load().pools[0].backends[0].status.addresses.load_full();
    assert!(
        addresses.iter().all(|address| address.ip().is_loopback() && address.port() == 1),
        "{addresses:?}"
    );
}

#[tokio::test]
async fn a_name_that_does_not_resolve_marks_its_backend_down_and_stops_nothing() {
    // `.invalid` never resolves (RFC 6761 section 6.4); an over-long label is refused without asking any server.
    let name = format!("{}.invalid", "x".repeat(63));
    let world = World::new(&format!("app: {{ backends: ['{name}:1', '10.0.0.1:1'] }}"), Script::default());
    for _ in 0..500 {
        sleep(Duration::from_millis(20)).await;
        if world.health() == ["down", "up"] {
            break;
        }
    }
    assert_eq!(world.health(), ["down", "up"]);
    let reason = world.cell.load().pools[0].backends[0].status.reason();
    assert!(reason.contains("cannot be resolved"), "{reason}");
}
