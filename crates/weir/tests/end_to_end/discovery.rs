//! Pools whose backends are discovered: what comes and goes, what stays when nobody answers, and what operators see of it.

mod docker;
mod files;
mod names;

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::atomic::{AtomicU8, Ordering},
};

use serde_json::Value;
use weir::app::{App, Sink};
use weir_testkit::{Answer, FakeBackend, Message, RawClient, wait_until};

/// A running weir with one HTTP listener `web`, one pool `app`, and an admin address.
struct Discovering(App);

impl Discovering {
    /// `pool` are the keys of the pool.
    fn new(pool: &str) -> Self {
        Self(App::from_text_with_log(&text(pool), Sink::none()).unwrap())
    }

    fn get(&self) -> Message {
        RawClient::connect(self.0.address("web")).get("/")
    }

    /// Names of the backends, in order.
    fn backends(&self) -> Vec<String> {
        let snapshot = self.0.snapshot();
        snapshot.pool("app").unwrap().1.backends.iter().map(|backend| backend.name.to_string()).collect()
    }

    /// Requests and connections that wait.
    fn pending(&self) -> u32 {
        self.0.snapshot().pool("app").unwrap().1.status.pending.load(Ordering::Relaxed)
    }

    fn wait_for(&self, backends: &[&str]) {
        wait_until(&format!("the backends are {backends:?}"), || self.backends() == backends);
    }

    fn admin(&self, path: &str) -> Message {
        RawClient::connect(self.0.admin_address().unwrap())
            .send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
            .final_response("GET")
    }

    /// What the status says of the discovery.
    fn discovery(&self) -> Value {
        let status: Value = serde_json::from_str(&self.admin("/api/status").text()).unwrap();
        status["pools"][0]["discovery"].clone()
    }

    /// Waits for a failure whose sentence holds this.
    fn wait_for_failure(&self, part: &str) {
        wait_until(&format!("a failure says `{part}`"), || {
            self.discovery()["last_error"].as_str().is_some_and(|sentence| sentence.contains(part))
        });
    }
}

fn text(pool: &str) -> String {
    format!(
        "workers: 2\nadmin: {{ bind: 127.0.0.1:0 }}\nlisteners:\n  web: {{ bind: '127.0.0.1:0', protocol: http, pool: \
         app }}\npools:\n  app: {{ {pool} }}\n"
    )
}

/// Backends at one port of several loopback addresses that no other test uses; each answers with its address.
struct Farm {
    port: u16,
    subnet: u8,
    backends: Vec<FakeBackend>,
}

impl Farm {
    fn new(count: u8) -> Self {
        static NEXT: AtomicU8 = AtomicU8::new(50);
        let subnet = NEXT.fetch_add(1, Ordering::Relaxed);
        let port =
            TcpListener::bind((Ipv4Addr::new(127, 11, subnet, 1), 0)).unwrap().local_addr().unwrap().port();
        let mut farm = Self { port, subnet, backends: Vec::new() };
        farm.backends = (1..=count).map(|host| farm.start(host)).collect();
        farm
    }

    fn ip(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, 11, self.subnet, host)
    }

    /// As weir calls it.
    fn name(&self, host: u8) -> String {
        SocketAddr::from((self.ip(host), self.port)).to_string()
    }

    fn start(&self, host: u8) -> FakeBackend {
        let answer = Answer::ok(&self.name(host));
        FakeBackend::custom_at((self.ip(host), self.port).into(), move |mut connection| {
            while let Some(request) = connection.read_request() {
                match answer.clone().give(connection, &request) {
                    Some(open) => connection = open,
                    None => return,
                }
            }
        })
    }
}
