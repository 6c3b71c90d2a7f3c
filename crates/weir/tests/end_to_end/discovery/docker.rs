//! `docker`, with an engine of our own that says what it is told. A real one is asked in `cargo xtask peers`.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    process,
    sync::{Arc, Mutex},
    thread,
};

use serde_json::{Value, json};
use weir_testkit::{Answer, FakeBackend, wait_until};

use super::Discovering;

/// An engine. It ends with its socket file.
struct Engine {
    path: PathBuf,
    room: Arc<Mutex<Room>>,
}

#[derive(Default)]
struct Room {
    /// Descriptions by id.
    containers: BTreeMap<String, Value>,
    /// Those who hear of events.
    listening: Vec<UnixStream>,
    /// Paths that were asked for.
    asked: Vec<String>,
    /// Sent in place of every answer.
    instead: Option<&'static [u8]>,
}

impl Engine {
    fn start(name: &str) -> Self {
        let path = env::temp_dir().join(format!("weir-engine-{name}-{}.sock", process::id()));
        let _ = fs::remove_file(&path);
        let listening = UnixListener::bind(&path).unwrap();
        let room = Arc::<Mutex<Room>>::default();
        let own = room.clone();
        thread::spawn(move || {
            for stream in listening.incoming().map_while(Result::ok) {
                let room = own.clone();
                thread::spawn(move || serve(stream, &room));
            }
        });
        Self { path, room }
    }

    fn discover(&self) -> String {
        format!("discover: {{ docker: {{ host: 'unix://{}', label: weir.pool=app }} }}", self.path.display())
    }

    /// A container that runs now and is at this address, on the network of this machine.
    fn run(&self, id: &str, address: SocketAddr, change: impl FnOnce(&mut Value)) {
        let mut described = json!({
            "Id": id,
            "Name": format!("/name-of-{id}"),
            "State": { "Status": "running" },
            "Config": { "Labels": { "weir.pool": "app", "weir.port": address.port().to_string() } },
            "HostConfig": { "NetworkMode": "host" },
            "NetworkSettings": { "Networks": {} },
        });
        change(&mut described);
        self.room.lock().unwrap().containers.insert(id.into(), described);
        self.happens("start", id, "");
    }

    fn remove(&self, id: &str) {
        self.room.lock().unwrap().containers.remove(id);
        self.happens("die", id, "");
    }

    fn happens(&self, action: &str, id: &str, signal: &str) {
        let event = json!({ "Type": "container", "Action": action, "Actor": { "ID": id, "Attributes": { "signal": signal } } });
        let line = format!("{event}\n");
        let chunk = format!("{:x}\r\n{line}\r\n", line.len());
        self.room.lock().unwrap().listening.retain_mut(|stream| stream.write_all(chunk.as_bytes()).is_ok());
    }

    fn hang_up(&self) {
        self.room.lock().unwrap().listening.clear();
    }

    fn asked(&self, path: &str) -> bool {
        self.room.lock().unwrap().asked.iter().any(|asked| asked == path)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn serve(mut stream: UnixStream, room: &Mutex<Room>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let Some(path) = lines.next().and_then(|line| line.split(' ').nth(1).map(str::to_owned)) else { return };
    for line in lines {
        if line.is_empty() {
            break;
        }
    }
    let mut room = room.lock().unwrap();
    room.asked.push(path.clone());
    if let Some(instead) = room.instead {
        let _ = stream.write_all(instead);
        return;
    }
    let (plain, _) = path.split_once('?').unwrap_or((&path, ""));
    let mut say = |status: &str, body: &str| {
        let length = body.len();
        let head = format!("HTTP/1.1 {status}\r\nApi-Version: 1.43\r\nContent-Length: {length}\r\n\r\n");
        let _ = stream.write_all(format!("{head}{body}").as_bytes());
    };
    match plain.strip_prefix("/v1.43") {
        None if plain == "/_ping" => say("200 OK", "OK"),
        Some("/containers/json") => {
            let listed: Vec<_> =
                room.containers.keys().map(|id| json!({ "Id": id, "Image": "app" })).collect();
            say("200 OK", &Value::from(listed).to_string());
        }
        Some("/events") => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            room.listening.push(stream);
        }
        Some(rest) => {
            let id = rest.strip_prefix("/containers/").and_then(|rest| rest.strip_suffix("/json"));
            match id.and_then(|id| room.containers.get(id)) {
                Some(described) => say("200 OK", &described.to_string()),
                None => say("404 Not Found", "{\"message\":\"no such container\"}"),
            }
        }
        None => say("400 Bad Request", "{\"message\":\"which version?\"}"),
    }
}

#[test]
fn containers_come_and_go_with_events() {
    let engine = Engine::start("events");
    let (one, two) = (FakeBackend::answering(Answer::ok("one")), FakeBackend::answering(Answer::ok("two")));
    engine.run("aa", one.address(), |_| {});
    let weir = Discovering::new(&engine.discover());
    assert_eq!(weir.get().text(), "one");
    assert_eq!(weir.backends(), ["name-of-aa"]);
    assert!(engine.asked(
        "/v1.43/containers/json?filters=%7B%22label%22%3A%5B%22weir%2Epool%3Dapp%22%5D%2C%22status%22%3A%5B%22running%22%5D%7D"
    ));

    // One whose own check has not passed waits outside.
    engine.run("bb", two.address(), |described| {
        described["State"]["Health"] = json!({ "Status": "starting" });
    });
    wait_until("it is seen", || weir.discovery()["left_out"].to_string().contains("name-of-bb"));
    assert_eq!(weir.backends(), ["name-of-aa"]);
    engine.run("bb", two.address(), |described| {
        described["State"]["Health"] = json!({ "Status": "healthy" });
        described["Config"]["Labels"]["weir.weight"] = json!("5");
    });
    weir.wait_for(&["name-of-aa", "name-of-bb"]);
    assert_eq!(weir.0.snapshot().pool("app").unwrap().1.backends[1].weight, 5);

    // One that was told to end takes nothing new, though it still runs.
    engine.happens("kill", "aa", "15");
    weir.wait_for(&["name-of-bb"]);
    assert_eq!(weir.get().text(), "two");
    engine.remove("aa");

    // When the last one goes, it stays: an empty pool helps nobody.
    engine.remove("bb");
    weir.wait_for_failure("no running container has the label `weir.pool=app`");
    assert_eq!(weir.backends(), ["name-of-bb"]);
}

#[test]
fn an_engine_that_fails_changes_nothing() {
    let engine = Engine::start("fails");
    let (one, two) = (FakeBackend::answering(Answer::ok("one")), FakeBackend::answering(Answer::ok("two")));
    engine.run("aa", one.address(), |_| {});
    let weir = Discovering::new(&engine.discover());
    assert_eq!(weir.get().status(), 200);
    for (instead, words) in [
        (&b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno"[..], "500"),
        (b"nonsense\r\n\r\n", "does not speak HTTP"),
        (b"", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[{\"Id\":7}]", ""),
    ] {
        engine.room.lock().unwrap().instead = Some(instead);
        engine.hang_up();
        wait_until("it fails", || weir.discovery()["last_error"].is_string());
        if !words.is_empty() {
            weir.wait_for_failure(words);
        }
        assert_eq!(weir.backends(), ["name-of-aa"]);
    }
    // What happened meanwhile is seen once it answers again.
    engine.room.lock().unwrap().instead = None;
    engine.run("bb", two.address(), |_| {});
    weir.wait_for(&["name-of-aa", "name-of-bb"]);
    assert!(weir.discovery()["last_error"].is_null());
}

#[test]
fn an_engine_may_come_later_than_weir() {
    let path = env::temp_dir().join(format!("weir-engine-late-{}.sock", process::id()));
    let _ = fs::remove_file(&path);
    let weir = Discovering::new(&format!("discover: {{ docker: {{ host: 'unix:{}' }} }}", path.display()));
    weir.wait_for_failure("cannot be reached");
    assert_eq!(weir.get().status(), 503);
    let engine = Engine::start("late");
    let backend = FakeBackend::answering(Answer::ok("late"));
    engine.run("aa", backend.address(), |_| {});
    weir.wait_for(&["name-of-aa"]);
    assert_eq!(weir.get().text(), "late");
}
