//! Fifty reloads by SIGHUP in ten seconds under clients of every kind: none of them may notice. One of the reloads binds an
//! address and a later one closes it; one of them is broken.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use super::{
    crowd::{self, Count},
    folder, site,
};
use crate::{
    bench::probe,
    process::{Running, free_address},
};

const RELOADS: usize = 50;
const EVERY: Duration = Duration::from_millis(200);
/// The round that is refused, and those in which an address more is bound.
const BROKEN: usize = 25;
const MORE: std::ops::Range<usize> = 20..30;
/// Clients that keep their connection, and as many that close it after each request.
const CLIENTS: usize = 40;
/// WebSockets, and as many TCP connections.
const LONG: usize = 200;

/// Everything that clients and files need to know.
struct Scene {
    file: PathBuf,
    web: SocketAddr,
    tcp: SocketAddr,
    extra: SocketAddr,
    sites: [SocketAddr; 2],
    websocket: SocketAddr,
    echo: SocketAddr,
}

impl Scene {
    fn new() -> Result<Self> {
        Ok(Self {
            file: folder("reload-weir")?.join("weir.yaml"),
            web: free_address()?,
            tcp: free_address()?,
            extra: free_address()?,
            sites: [free_address()?, free_address()?],
            websocket: free_address()?,
            echo: free_address()?,
        })
    }

    /// The file of a round: routes come and go, weights and backends change, pools come before others.
    fn text(&self, round: usize) -> String {
        let Self { web, tcp, extra, sites: [a, b], websocket, echo, .. } = self;
        let backends = match round % 4 {
            0 => format!("\"{a}\", \"{b}\""),
            1 => format!("\"{a}\", {{ address: \"{b}\", weight: 3 }}"),
            2 => format!("\"{b}\""),
            _ => format!("\"{b}\", \"{a}\""),
        };
        let more = if MORE.contains(&round) {
            format!("  extra: {{ bind: {extra}, protocol: http, pool: app }}\n")
        } else {
            String::new()
        };
        let early = if round.is_multiple_of(5) {
            (
                format!("      - {{ match: {{ path: /{round} }}, pool: aaa }}\n"),
                format!("  aaa: {{ backends: [\"{a}\"] }}\n"),
            )
        } else {
            Default::default()
        };
        format!(
            "listeners:\n{more}  tcp: {{ bind: {tcp}, protocol: tcp, pool: echo }}\n  web:\n    bind: {web}\n    \
             protocol: http\n    routes:\n{}      - {{ match: {{ path: /ws }}, pool: websocket }}\n      \
             - {{ pool: app }}\npools:\n{}  app: {{ backends: [{backends}], health: {{ http: /, interval: 1s, \
             initial: up }} }}\n  echo: {{ backends: [\"{echo}\"] }}\n  websocket: {{ backends: [\"{websocket}\"] }}\n\
             shutdown: {{ announce: 100ms, drain: 10s }}\n",
            early.0, early.1,
        )
    }

    /// Puts a file in place of the one that is there, in one step.
    fn write(&self, text: &str) -> Result<()> {
        let new = self.file.with_extension("new");
        fs::write(&new, text)?;
        Ok(fs::rename(new, &self.file)?)
    }
}

pub(super) fn fifty(program: &Path) -> Result<String> {
    let scene = Scene::new()?;
    let _sites =
        [site::nginx_site("reload-a", scene.sites[0])?, site::nginx_site("reload-b", scene.sites[1])?];
    let _echo = crowd::echo_site("reload-echo", scene.websocket, scene.echo)?;
    scene.write(&scene.text(0))?;
    let mut command = Command::new(program);
    command.args(["run", "-c"]).arg(&scene.file);
    let weir = Running::start(&mut command, &folder("reload-weir")?)?;
    weir.ready(|| probe::exchange(scene.web, 1))?;

    let mut long = crowd::websockets(scene.web, LONG)?;
    long.extend(crowd::tcp_connections(scene.tcp, LONG)?);
    let stopped = AtomicBool::new(false);
    let goes_on = || !stopped.load(Ordering::Relaxed);
    let (driven, kept, closing, talked) = thread::scope(|scope| {
        let kept: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| crowd::keep(scene.web, goes_on))).collect();
        let closing: Vec<_> =
            (0..CLIENTS).map(|_| scope.spawn(|| crowd::close(scene.web, goes_on))).collect();
        let talking = scope.spawn(|| crowd::talk(&mut long, goes_on));
        let driven = drive(&weir, &scene);
        stopped.store(true, Ordering::Relaxed);
        let sum = |clients: Vec<thread::ScopedJoinHandle<'_, Count>>| {
            let counts = clients.into_iter().map(|client| client.join().unwrap_or_default());
            counts.fold(Count::default(), Count::merge)
        };
        (driven, sum(kept), sum(closing), talking.join().unwrap_or_default())
    });
    let took = driven?;
    let failures: Vec<_> = [&kept, &closing, &talked].iter().flat_map(|count| &count.failures).collect();
    let sentence = format!(
        "{RELOADS} reloads in {:.1} s, one refused; {} requests on {CLIENTS} kept connections, {} on connections of their \
         own, {} messages on {LONG} WebSockets and {LONG} TCP connections; {} failed",
        took.as_secs_f64(),
        kept.done,
        closing.done,
        talked.done,
        failures.len()
    );
    ensure!(failures.is_empty(), "{sentence}, among them: {:?}", &failures[..failures.len().min(5)]);
    ensure!(talked.done >= 2 * LONG, "{sentence}: not every long connection was used");
    ensure!(weir.finish()?, "weir did not report success");
    Ok(sentence)
}

/// Reloads again and again, and sees to it that each did what it should.
fn drive(weir: &Running, scene: &Scene) -> Result<Duration> {
    let start = Instant::now();
    for round in 1..=RELOADS {
        let due = start + EVERY * u32::try_from(round)?;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        scene.write(&if round == BROKEN { "listeners: {".to_owned() } else { scene.text(round) })?;
        weir.hang_up()?;
        let expected = if round < BROKEN { (round, 0) } else { (round - 1, 1) };
        weir.ready(|| {
            let said = weir.said();
            let found = (said.matches("reload: generation").count(), said.matches("reload refused").count());
            ensure!(
                found == expected,
                "{found:?} reloads went well and were refused instead of {expected:?}"
            );
            Ok(())
        })?;
        let more = TcpStream::connect(scene.extra).is_ok();
        ensure!(more == MORE.contains(&round), "round {round}: the other address is bound: {more}");
    }
    Ok(start.elapsed())
}
