//! The loop on a virtual clock, with backends that follow a script.

mod own;

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
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
    /// When each port was asked.
    times: Arc<Mutex<HashMap<u16, Vec<u64>>>>,
    /// Ports that take a connection and never answer.
    hanging: Arc<Mutex<std::collections::HashSet<u16>>>,
    running: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Script {
    fn answer(&self, port: u16, passes: bool) {
        self.answers.lock().unwrap().insert(port, passes);
    }
}

impl Prober for Script {
    async fn probe(&self, check: &HealthCheck, address: &Address, way: &Way) -> Result<String, String> {
        let address = address.ip().unwrap();
        self.asked.lock().unwrap().push((address, way.endpoint.to_string()));
        self.times.lock().unwrap().entry(address.port()).or_default().push(clock().0);
        let running = self.running.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(running, Ordering::Relaxed);
        let hangs = self.hanging.lock().unwrap().contains(&address.port());
        let answer = if hangs { check.timeout.duration() } else { Duration::from_millis(5) };
        sleep(answer).await;
        self.running.fetch_sub(1, Ordering::Relaxed);
        if hangs {
            return Err("no answer within 2s".into());
        }
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
        let log = |level: &'static str| -> Log {
            let lines = lines.clone();
            Arc::new(move |line: &str| lines.lock().unwrap().push(format!("{level}{line}")))
        };
        let logs = Logs { info: log(""), warn: log("warn ") };
        let task = tokio::spawn(run(cell.clone(), script, logs, clock));
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
            "warn pool=app backend=10.0.0.1:2 health=down: answered 500, expected 200-299",
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
    assert!((10..=lanes::PROMPT).contains(&most), "{most}");
}

/// The longest time between two probes of a port.
fn longest_gap(script: &Script, port: u16) -> u64 {
    let times = script.times.lock().unwrap();
    times[&port].windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(u64::MAX)
}

#[tokio::test(start_paused = true)]
async fn a_thousand_that_hang_hold_up_nobody() {
    let backends: Vec<_> = (1..=1020).map(|port| format!("'10.0.0.1:{port}'")).collect();
    let pools = format!(
        "app: {{ backends: [{}], health: {{ tcp: , interval: 5s, timeout: 2s }} }}",
        backends.join(", ")
    );
    let script = Script::default();
    let world = World::new(&pools, script.clone());
    seconds(20).await;
    assert!(world.health().iter().all(|health| *health == "up"));
    // From one moment to the next they hang, all but twenty in their midst.
    let is_well = |port: u16| port.is_multiple_of(51);
    script.hanging.lock().unwrap().extend((1..=1020).filter(|port| !is_well(*port)));
    script.times.lock().unwrap().clear();
    seconds(120).await;
    let health = world.health();
    for port in 1..=1020u16 {
        let expected = if is_well(port) { "up" } else { "down" };
        assert_eq!(health[usize::from(port) - 1], expected, "{port}");
        if is_well(port) {
            let gap = longest_gap(&script, port);
            assert!(gap <= 5600, "{port} was left alone for {gap} ms");
        } else {
            // 1000 that take 2 s each, 256 at a time.
            let gap = longest_gap(&script, port);
            assert!(gap <= 9_500, "{port}, which is down, was left alone for {gap} ms");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_is_down_is_asked_more_often_and_all_of_them_spread() {
    let backends: Vec<_> = (1..=200).map(|port| format!("'10.0.0.1:{port}'")).collect();
    let pools = format!("app: {{ backends: [{}], health: {{ tcp: , interval: 10s }} }}", backends.join(", "));
    let script = Script::default();
    let world = World::new(&pools, script.clone());
    (1..=100).for_each(|port| script.answer(port, false));
    seconds(60).await;
    script.times.lock().unwrap().clear();
    seconds(60).await;
    assert_eq!(world.health()[..100], ["down"; 100]);
    let times = script.times.lock().unwrap().clone();
    for port in 1..=200 {
        let (asked, expected) = (times[&port].len(), if port <= 100 { 54..=67 } else { 5..=7 });
        assert!(expected.contains(&asked), "{port} was asked {asked} times in a minute");
    }
    // In each tenth of a second a tenth of those that are due in a second, not all of them at once.
    let mut tenths: HashMap<u64, usize> = HashMap::new();
    times.values().flatten().for_each(|time| *tenths.entry(time / 100).or_default() += 1);
    let most = tenths.values().max().copied().unwrap();
    assert!(most < 40, "{most} of 100 were asked in the same tenth of a second");

    (1..=100).for_each(|port| script.answer(port, true));
    // `rise` is 2: up after two intervals of a second.
    seconds(3).await;
    assert!(world.health().iter().all(|health| *health == "up"));
}

#[tokio::test(start_paused = true)]
async fn a_reload_changes_no_rhythm() {
    let pools =
        |more: &str| format!("app: {{ backends: ['10.0.0.1:1'{more}], health: {{ tcp: , interval: 10s }} }}");
    let script = Script::default();
    let mut world = World::new(&pools(""), script.clone());
    for round in 0..12 {
        seconds(5).await;
        let more: String = (0..round).map(|other| format!(", '10.0.0.2:{}'", 100 + other)).collect();
        world.reload(&pools(&more));
    }
    let asked = script.times.lock().unwrap()[&1].len();
    assert!((5..=8).contains(&asked), "12 reloads, and {asked} checks in a minute");
}

const EJECTING: &str =
    "app: { backends: ['10.0.0.1:1', '10.0.0.1:2', '10.0.0.1:3'], outlier: { eject: 30s }, slow_start: 10s }";

fn eject(world: &World, backend: usize) {
    let pool = world.cell.load().pools[0].clone();
    pool.eject(backend, "5 errors in a row, last: answered 500", clock()).unwrap();
}

fn shares(world: &World) -> Vec<u32> {
    world.cell.load().pools[0].backends.iter().map(|backend| backend.status.share()).collect()
}

#[tokio::test(start_paused = true)]
async fn an_ejected_backend_returns_in_time_and_slowly() {
    let world = World::new(EJECTING, Script::default());
    seconds(20).await;
    assert_eq!(shares(&world), [1000; 3]);
    eject(&world, 1);
    let epoch = || world.cell.load().pools[0].status.epoch.load(Ordering::Relaxed);
    let before = epoch();
    seconds(29).await;
    assert_eq!((world.health(), epoch()), (vec!["up", "ejected", "up"], before));
    sleep(Duration::from_millis(1100)).await;
    assert_eq!(world.health(), ["up"; 3]);
    assert_eq!(world.lines(), ["pool=app backend=10.0.0.1:2 health=up: its ejection is over"]);
    assert!(shares(&world)[1] < 200, "{:?}", shares(&world));
    seconds(5).await;
    assert!((500..700).contains(&shares(&world)[1]), "{:?}", shares(&world));
    seconds(6).await;
    assert_eq!(shares(&world), [1000; 3]);
    let told = epoch() - before;
    assert!((20..=110).contains(&told), "workers were told {told} times in ten seconds");
    seconds(60).await;
    assert_eq!(epoch() - before, told, "and never again");
}

#[tokio::test(start_paused = true)]
async fn one_that_a_reload_adds_begins_slowly() {
    let pools =
        |more: &str| format!("app: {{ backends: ['10.0.0.1:1', '10.0.0.1:2'{more}], slow_start: 10s }}");
    let mut world = World::new(&pools(""), Script::default());
    seconds(20).await;
    world.reload(&pools(", '10.0.0.1:3'"));
    let weights = |world: &World| -> Vec<_> {
        let set = weir_model::balance::EligibleSet::of(&world.cell.load().pools[0]);
        set.members().iter().map(|member| member.weight).collect()
    };
    assert_eq!(weights(&world), [1000, 1000, 100], "from its first moment on");
    seconds(5).await;
    assert!(matches!(weights(&world)[..], [1000, 1000, 500..600]), "{:?}", weights(&world));
    seconds(6).await;
    assert_eq!(weights(&world), [1; 3]);
}

#[tokio::test(start_paused = true)]
async fn one_that_comes_together_with_the_slow_start_begins_slowly() {
    let pools = |more: &str| format!("app: {{ backends: ['10.0.0.1:1', '10.0.0.1:2'{more} }}");
    let mut world = World::new(&pools("]"), Script::default());
    seconds(20).await;
    world.reload(&pools(", '10.0.0.1:3'], slow_start: 10s"));
    assert_eq!(shares(&world), [1000, 1000, 100], "the others have begun long ago");
    seconds(5).await;
    assert!(matches!(shares(&world)[..], [1000, 1000, 500..600]), "{:?}", shares(&world));
}

#[tokio::test(start_paused = true)]
async fn an_ejection_ends_with_the_key_that_asked_for_it() {
    let mut world = World::new(EJECTING, Script::default());
    seconds(1).await;
    eject(&world, 2);
    world.reload(EJECTING);
    seconds(1).await;
    assert_eq!(world.health(), ["up", "up", "ejected"], "a reload as such ends nothing");
    world.reload("app: { backends: ['10.0.0.1:1', '10.0.0.1:2', '10.0.0.1:3'] }");
    seconds(1).await;
    assert_eq!(world.health(), ["up"; 3]);
    let lines = world.lines();
    assert!(
        lines.iter().any(|line| line.ends_with("health=up: the pool ejects nobody any more")),
        "{lines:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn checks_and_ejections_leave_each_other_alone() {
    let pools =
        "app: { backends: ['10.0.0.1:1', '10.0.0.1:2'], outlier: {}, health: { tcp: , interval: 1s } }";
    let script = Script::default();
    let world = World::new(pools, script.clone());
    seconds(2).await;
    eject(&world, 0);
    seconds(20).await;
    assert_eq!(world.health(), ["ejected", "up"], "checks that pass end no ejection");
    script.answer(1, false);
    seconds(5).await;
    assert_eq!(world.health(), ["down", "up"], "an ejection hides no failed check");
    script.answer(1, true);
    seconds(3).await;
    assert_eq!(world.health(), ["up", "up"], "what comes back is not what was ejected");
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
