//! Fifty reloads by SIGHUP in ten seconds under clients of every kind: none of them may notice. One of the reloads binds an
//! address and a later one closes it; one of them is broken.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::{folder, site};
use crate::{
    bench::probe::{self, Client},
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

/// What one kind of client did.
#[derive(Default)]
struct Count {
    done: usize,
    failures: Vec<String>,
}

impl Count {
    fn merge(mut self, other: Self) -> Self {
        self.done += other.done;
        self.failures.extend(other.failures);
        self
    }

    fn add(&mut self, outcome: Result<()>) {
        match outcome {
            Ok(()) => self.done += 1,
            Err(error) => self.failures.push(format!("{error:#}")),
        }
    }
}

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
    let _echo = echo_site(&scene)?;
    scene.write(&scene.text(0))?;
    let mut command = Command::new(program);
    command.args(["run", "-c"]).arg(&scene.file);
    let weir = Running::start(&mut command, &folder("reload-weir")?)?;
    weir.ready(|| probe::exchange(scene.web, 1))?;

    let mut long = websockets(&scene)?;
    long.extend(tcp_connections(&scene)?);
    let stopped = AtomicBool::new(false);
    let goes_on = || !stopped.load(Ordering::Relaxed);
    let (driven, kept, closing, talked) = thread::scope(|scope| {
        let kept: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| keep(scene.web, goes_on))).collect();
        let closing: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| close(scene.web, goes_on))).collect();
        let talking = scope.spawn(|| talk(&mut long, goes_on));
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

/// Asks on one connection, without pause.
fn keep(address: SocketAddr, goes_on: impl Fn() -> bool) -> Count {
    let mut count = Count::default();
    let mut kept: Option<Client> = None;
    while goes_on() {
        count.add((|| {
            let mut client = match kept.take() {
                Some(client) => client,
                None => Client::connect(address).context("connect")?,
            };
            client.send().context("send")?;
            client.receive().context("receive")?;
            kept = Some(client);
            Ok(())
        })());
    }
    count
}

/// Asks on a connection of its own each time, which the server is to close.
fn close(address: SocketAddr, goes_on: impl Fn() -> bool) -> Count {
    let mut count = Count::default();
    while goes_on() {
        count.add((|| {
            let mut stream = TcpStream::connect(address).context("connect")?;
            stream.set_read_timeout(Some(Duration::from_secs(30)))?;
            stream.write_all(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).context("receive")?;
            let length = probe::response_length(&answer)?.context("a head that is cut short")?;
            ensure!(length == answer.len(), "{} bytes instead of {length}", answer.len());
            Ok(())
        })());
        thread::sleep(Duration::from_millis(2));
    }
    count
}

/// A connection that stays, and what is said on it.
struct Long {
    stream: TcpStream,
    says: &'static [u8],
    hears: &'static [u8],
}

/// Says something on each connection in turn and waits for it to come back.
fn talk(connections: &mut [Long], goes_on: impl Fn() -> bool) -> Count {
    let mut count = Count::default();
    let mut say = |long: &mut Long| {
        count.add((|| {
            long.stream.write_all(long.says)?;
            let mut heard = vec![0; long.hears.len()];
            long.stream.read_exact(&mut heard)?;
            ensure!(heard == long.hears, "{heard:?} came back");
            Ok(())
        })());
    };
    while goes_on() {
        connections.iter_mut().for_each(&mut say);
        thread::sleep(Duration::from_millis(20));
    }
    // Once more, after the last reload.
    connections.iter_mut().for_each(&mut say);
    count
}

fn websockets(scene: &Scene) -> Result<Vec<Long>> {
    const ASK: &[u8] =
        b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    // A text message "Hello", masked as clients must (RFC 6455 section 5.7), and as it comes back.
    const SAYS: &[u8] = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    const HEARS: &[u8] = b"\x81\x05Hello";
    let open = || {
        let mut stream = connected(scene.web)?;
        stream.write_all(ASK)?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).context("no answer to an upgrade")?;
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let accepted = head.starts_with("HTTP/1.1 101 ") && head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        ensure!(accepted, "no WebSocket: {head}");
        Ok(Long { stream, says: SAYS, hears: HEARS })
    };
    (0..LONG).map(|_| open()).collect()
}

fn tcp_connections(scene: &Scene) -> Result<Vec<Long>> {
    let open = || Ok(Long { stream: connected(scene.tcp)?, says: b"hello", hears: b"hello" });
    (0..LONG).map(|_| open()).collect()
}

fn connected(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    Ok(stream)
}

/// Starts a Python server that gives back WebSocket messages at one address and bytes at another.
fn echo_site(scene: &Scene) -> Result<Running> {
    let folder = folder("reload-echo")?;
    let file = folder.join("echo.py");
    fs::write(&file, include_str!("echo.py"))?;
    let mut command = Command::new("python3");
    command.arg(file).arg(scene.echo.ip().to_string());
    command.arg(scene.websocket.port().to_string()).arg(scene.echo.port().to_string());
    let running = Running::start(&mut command, &folder)?;
    running.listens(scene.echo)?;
    Ok(running)
}
