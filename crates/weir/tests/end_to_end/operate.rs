//! What operators see and do while traffic flows: counters that agree with the clients, backends that are drained,
//! explanations of what is really running.

use std::{
    collections::BTreeMap,
    env, fs,
    net::SocketAddr,
    path::PathBuf,
    process,
    sync::{Mutex, mpsc},
};

use serde_json::Value;
use weir::app::{App, Sink};
use weir_testkit::{Answer, FakeBackend, Message, RawClient, Refusing, wait_until};

/// One weir with an admin address, and a client's view of both.
pub(crate) struct Operated(pub(crate) App);

/// A configuration file that can be changed.
pub(crate) struct File(pub(crate) PathBuf);

impl File {
    pub(crate) fn new(name: &str) -> Self {
        Self(env::temp_dir().join(format!("weir-operate-{name}-{}.yaml", process::id())))
    }

    pub(crate) fn write(&self, text: &str) {
        fs::write(&self.0, format!("workers: 2\nadmin: {{ bind: 127.0.0.1:0 }}\n{text}")).unwrap();
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl Operated {
    pub(crate) fn new(text: &str) -> Self {
        Self(App::from_text(&format!("workers: 2\nadmin: {{ bind: 127.0.0.1:0 }}\n{text}")).unwrap())
    }

    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> Message {
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
        RawClient::connect(self.0.admin_address().unwrap())
            .send(format!("{head}{body}"))
            .final_response(method)
    }

    pub(crate) fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.ask("GET", path, "").text()).unwrap()
    }

    /// Every series of the page of metrics.
    fn metrics(&self) -> BTreeMap<String, f64> {
        let page = self.ask("GET", "/metrics", "").text();
        let samples = page.lines().filter(|line| !line.starts_with('#'));
        samples
            .map(|line| line.rsplit_once(' ').unwrap())
            .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
            .collect()
    }

    pub(crate) fn client(&self) -> RawClient {
        RawClient::connect(self.0.address("web"))
    }
}

fn series(samples: &BTreeMap<String, f64>, name: &str) -> f64 {
    samples.get(name).copied().unwrap_or_else(|| panic!("no {name} in {samples:#?}"))
}

#[test]
fn counters_agree_with_what_clients_saw() {
    let backend = FakeBackend::answering_each(|request| match request.target() {
        "/teapot" => Answer::bytes("HTTP/1.1 418 Teapot\r\nContent-Length: 0\r\n\r\n"),
        "/broken" => Answer::bytes("nonsense"),
        _ => Answer::ok("fine"),
    });
    let refusing = Refusing::new();
    let weir = Operated::new(&format!(
        "listeners:
  web:
    bind: 127.0.0.1:0
    protocol: http
    routes:
      - {{ name: gone, match: {{ path: /gone }}, respond: {{ status: 410 }} }}
      - {{ name: down, match: {{ path: /down }}, pool: down }}
      - {{ name: app, match: {{ host: app.test }}, pool: app }}
pools:
  app: {{ backends: ['{}'] }}
  down: {{ backends: ['{}'] }}
",
        backend.address(),
        refusing.address()
    ));
    let mut told: BTreeMap<u16, u32> = BTreeMap::new();
    for (count, head) in [
        (20, "GET / HTTP/1.1\r\nHost: app.test"),
        (3, "GET /teapot HTTP/1.1\r\nHost: app.test"),
        (2, "POST /broken HTTP/1.1\r\nHost: app.test"),
        (4, "GET /gone HTTP/1.1\r\nHost: app.test"),
        (5, "GET /down HTTP/1.1\r\nHost: app.test"),
        (6, "GET /nowhere HTTP/1.1\r\nHost: other.test"),
        (7, "GET /bad HTTP/1.1\r\nHost: a b"),
    ] {
        for _ in 0..count {
            let status = weir.client().send(format!("{head}\r\n\r\n")).final_response("GET").status();
            *told.entry(status).or_default() += 1;
        }
    }
    let expected = BTreeMap::from([(200, 20), (400, 7), (404, 6), (410, 4), (418, 3), (502, 7)]);
    assert_eq!(told, expected);
    // The record of an exchange is made after its last byte was sent.
    let by_code = |samples: &BTreeMap<String, f64>| {
        let mut sums: BTreeMap<u16, u32> = BTreeMap::new();
        for (name, value) in samples.iter().filter(|(name, _)| name.starts_with("weir_requests_total{")) {
            let code = name.rsplit_once("code=\"").unwrap().1.trim_end_matches("\"}");
            *sums.entry(if code == "4xx" { 418 } else { code.parse().unwrap() }).or_default() +=
                *value as u32;
        }
        sums
    };
    wait_until("all is counted", || by_code(&weir.metrics()) == expected);
    let samples = weir.metrics();
    for (name, value) in [
        (r#"weir_failures_total{listener="web",route="app",pool="app",cause="backend_bad_response"}"#, 2.0),
        (
            r#"weir_failures_total{listener="web",route="down",pool="down",cause="backend_connect_refused"}"#,
            5.0,
        ),
        (r#"weir_rejected_total{listener="web",reason="no_route"}"#, 6.0),
        (r#"weir_rejected_total{listener="web",reason="client_bad_host"}"#, 7.0),
        (r#"weir_request_duration_seconds_count{listener="web",route="app",pool="app"}"#, 25.0),
        (r#"weir_overhead_seconds_count{listener="web"}"#, 47.0),
        (r#"weir_connections_total{listener="web"}"#, 47.0),
    ] {
        assert_eq!(series(&samples, name), value, "{name}");
    }
    let answered =
        format!(r#"weir_backend_requests_total{{pool="app",backend="{}",code="200"}}"#, backend.address());
    assert_eq!(series(&samples, &answered), 20.0);
    let waited =
        series(&samples, r#"weir_request_duration_seconds_sum{listener="web",route="app",pool="app"}"#);
    assert!(waited > 0.0 && series(&samples, r#"weir_overhead_seconds_sum{listener="web"}"#) > 0.0);
    wait_until("all connections are closed", || {
        series(&weir.metrics(), r#"weir_connections_active{listener="web"}"#) == 0.0
    });
}

#[test]
fn the_arms_of_a_split_are_counted_apart() {
    let (one, two) = (FakeBackend::echo(), FakeBackend::echo());
    let weir = Operated::new(&format!(
        "listeners:
  web:
    bind: 127.0.0.1:0
    protocol: http
    routes: [{{ name: halves, split: [{{ pool: one }}, {{ pool: two }}] }}]
pools:
  one: {{ backends: ['{}'] }}
  two: {{ backends: ['{}'] }}
",
        one.address(),
        two.address()
    ));
    for _ in 0..60 {
        assert_eq!(weir.client().get("/").status(), 200);
    }
    let counted = |pool: &str| {
        let name =
            format!(r#"weir_requests_total{{listener="web",route="halves",pool="{pool}",code="200"}}"#);
        weir.metrics().get(&name).copied().unwrap_or_default() as usize
    };
    let seen = (one.requests().len(), two.requests().len());
    assert!(seen.0 > 0 && seen.1 > 0 && seen.0 + seen.1 == 60, "{seen:?}");
    wait_until("both arms are counted", || (counted("one"), counted("two")) == seen);
}

#[test]
fn a_drained_backend_gets_nothing_new_and_says_when_it_may_stop() {
    let (stays, leaves) =
        (FakeBackend::answering(Answer::ok("stays")), FakeBackend::answering(Answer::ok("leaves")));
    let weir = Operated::new(&format!(
        "listeners: {{ web: {{ bind: 127.0.0.1:0, protocol: http, pool: app }} }}
pools: {{ app: {{ backends: ['{}', {{ address: '{}', name: leaves }}] }} }}
",
        stays.address(),
        leaves.address()
    ));
    let mut client = weir.client();
    let mut seen =
        |count: usize| (0..count).map(|_| client.get("/").text()).filter(|text| text == "leaves").count();
    assert_eq!(seen(20), 10);
    let path = "/api/pools/app/backends/leaves";
    let put = |body: &str| weir.ask("PUT", path, body).status();
    assert_eq!(put(r#"{"state": "draining"}"#), 200);
    assert_eq!(seen(20), 0, "the very next request goes elsewhere");
    wait_until("it may stop", || weir.json(path)["safe_to_stop"] == true);
    wait_until("its kept connections are closed", || leaves.open() == 0);
    assert_eq!(weir.json("/api/status")["pools"][0]["backends"][1]["state"], "draining");
    let told = weir.json("/api/explain?url=http://a.test/&listener=web");
    assert_eq!(told["candidates"][1]["why"], "draining: it is given nothing new");

    assert_eq!(put(r#"{"state": "active", "weight": 3}"#), 200);
    assert_eq!(seen(40), 30);
    assert_eq!(put(r#"{"weight": 0}"#), 200);
    assert_eq!(seen(10), 0);
}

#[test]
fn a_request_in_flight_to_a_drained_backend_finishes() {
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let backend = FakeBackend::custom(move |mut connection| {
        connection.read_head();
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha");
        let _ = released.lock().unwrap().recv();
        connection.send("lf");
    });
    let weir = Operated::new(&format!(
        "listeners: {{ web: {{ bind: 127.0.0.1:0, protocol: http, pool: app }} }}
pools: {{ app: {{ backends: [{{ address: '{}', name: one }}] }} }}
",
        backend.address()
    ));
    let mut client = weir.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response_head().unwrap().status(), 200);
    let path = "/api/pools/app/backends/one";
    assert_eq!(weir.ask("PUT", path, r#"{"state": "disabled"}"#).status(), 200);
    assert_eq!(weir.client().get("/").status(), 503, "nobody else is there");
    let view = weir.json(path);
    assert_eq!((&view["active"], &view["safe_to_stop"]), (&1.into(), &false.into()));
    release.send(()).unwrap();
    assert_eq!(client.read_exact(4), b"half");
    wait_until("it may stop", || weir.json(path)["safe_to_stop"] == true);
}

#[test]
fn the_running_process_explains_with_live_health() {
    let (up, down) = (FakeBackend::echo(), Refusing::new());
    let weir = Operated::new(&format!(
        "listeners: {{ web: {{ bind: 127.0.0.1:0, protocol: http, pool: app }} }}
pools: {{ app: {{ backends: ['{}', '{}'], health: {{ tcp: {{}}, interval: 50ms, fall: 1 }} }} }}
",
        up.address(),
        down.address()
    ));
    let ask = || weir.json("/api/explain?url=http://a.test/x&listener=web&header=X-A:%201");
    wait_until("health is known", || ask()["candidates"][1]["why"].as_str().unwrap().starts_with("down: "));
    wait_until("the other one is up", || ask()["candidates"][0]["eligible"] == true);
    let told = ask();
    assert_eq!((&told["live"], &told["pool"]), (&true.into(), &"app".into()));
    assert_eq!(told["pick"], up.address().to_string());
    assert_eq!(weir.ask("GET", "/api/explain?url=http://a.test:1/", "").status(), 400);
}

#[test]
fn orders_outlive_reloads_and_a_refused_one_says_why() {
    let file = File::new("reload");
    let text = |weight: u32, pool: &str| {
        format!(
            "listeners: {{ web: {{ bind: 127.0.0.1:0, protocol: http, pool: {pool} }} }}
pools: {{ app: {{ backends: [{{ address: '127.0.0.1:9', name: one, weight: {weight} }}] }} }}
"
        )
    };
    file.write(&text(1, "app"));
    let weir = Operated(App::from_path(&file.0, Sink::none()).unwrap());
    let path = "/api/pools/app/backends/one";
    assert_eq!(weir.ask("PUT", path, r#"{"state": "draining", "weight": 9}"#).status(), 200);
    let now = || {
        let view = weir.json(path);
        (view["state"].as_str().unwrap().to_owned(), view["weight"].as_u64().unwrap())
    };
    let reload = || weir.ask("POST", "/api/reload", "");
    let health = || series(&weir.metrics(), "weir_config_last_reload_success");

    let done = reload();
    assert_eq!(done.status(), 200, "{}", done.text());
    assert_eq!(now(), ("draining".to_owned(), 9));

    file.write(&text(1, "nowhere"));
    let refused = reload();
    let said: Value = serde_json::from_str(&refused.text()).unwrap();
    assert_eq!((refused.status(), health()), (422, 0.0));
    assert!(said["problems"][0]["cause"].as_str().unwrap().contains("nowhere"), "{said}");
    assert_eq!(weir.json("/api/status")["config"]["last_reload_success"], false);
    assert_eq!(now(), ("draining".to_owned(), 9));

    file.write(&text(2, "app"));
    assert_eq!((reload().status(), health()), (200, 1.0));
    assert_eq!(now(), ("draining".to_owned(), 2), "the file's own weight has changed, its state has not");
    file.write(&text(1, "app"));
    assert_eq!(reload().status(), 200);
    assert_eq!(now(), ("draining".to_owned(), 1), "what was overruled does not come back");
}

#[test]
fn status_shows_the_ports_that_are_really_bound() {
    let text = |other: &str| {
        format!(
            "workers: 2\nadmin: {{ bind: 127.0.0.1:0 }}\nlisteners:\n\
             \x20 web: {{ bind: ['127.0.0.1:0', '127.0.0.2:0'], protocol: http, pool: app }}\n{other}\
             pools: {{ app: {{ backends: ['127.0.0.1:9'] }} }}\n"
        )
    };
    let weir = Operated(App::from_text(&text("")).unwrap());
    let shown = |listener: &str| -> Vec<SocketAddr> {
        let status = weir.json("/api/status");
        let mut listeners = status["listeners"].as_array().unwrap().iter();
        let found = listeners.find(|one| one["name"] == listener).unwrap();
        found["binds"].as_array().unwrap().iter().map(|one| one.as_str().unwrap().parse().unwrap()).collect()
    };
    let before = shown("web");
    assert_eq!(before[0], weir.0.address("web"));
    assert!(before[1].ip().to_string() == "127.0.0.2" && RawClient::try_connect(before[1]).is_ok());
    // One that comes before it in the order of names.
    weir.0.reload_text(&text("  also: { bind: '127.0.0.1:0', protocol: tcp, pool: app }\n")).unwrap();
    assert_eq!((shown("also"), shown("web")), (vec![weir.0.address("also")], before));
}
