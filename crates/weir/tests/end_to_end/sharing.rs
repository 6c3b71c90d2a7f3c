//! Listeners that share an address: the name in the ClientHello says whose a connection is.

mod mixed;

use std::net::SocketAddr;

use weir_testkit::{ClientHello, End, FakeBackend, RawClient, fatal_alert, wait_until};

use crate::{
    reload::{file, free_port, pool},
    support::{Weir, journal},
};

/// A backend that says who it is once it has heard something, and repeats what comes after the first message.
fn named(name: &'static str) -> FakeBackend {
    FakeBackend::custom(move |mut connection| {
        connection.read_exact(1);
        connection.send(name);
        let mut heard = Vec::new();
        while let [byte] = connection.read_exact(1)[..] {
            heard.push(byte);
            if heard.ends_with(b"?") {
                connection.send(name);
            }
        }
    })
}

fn hello(name: Option<&str>) -> Vec<u8> {
    name.map_or(ClientHello::new(), |name| ClientHello::new().server_name(name)).bytes()
}

/// Connects with this name; what the backend says is one letter.
fn ask(port: SocketAddr, name: Option<&str>) -> (RawClient, String) {
    let mut client = RawClient::connect(port);
    client.send(hello(name));
    let heard = client.read_exact(1);
    (client, String::from_utf8_lossy(&heard).into_owned())
}

fn still(client: &mut RawClient) -> String {
    client.send("?");
    String::from_utf8_lossy(&client.read_exact(1)).into_owned()
}

/// Backends `a`, `b` and `c`, each with a pool of its name.
struct Three(Vec<FakeBackend>);

impl Three {
    fn new() -> Self {
        Self(["a", "b", "c"].map(named).into())
    }

    /// The file with these listeners.
    fn file(&self, listeners: &[String]) -> String {
        let pools: Vec<_> = ["a", "b", "c"].iter().zip(&self.0).collect();
        let pools: Vec<_> = pools.iter().map(|(name, backend)| pool(name, &[backend.address()])).collect();
        let pools: Vec<_> = pools.iter().map(String::as_str).collect();
        let listeners: Vec<_> = listeners.iter().map(String::as_str).collect();
        file(&listeners, &pools) + "shutdown: { drain: 300ms }\n"
    }
}

fn listener(port: SocketAddr, name: &str, more: &str) -> String {
    let pool = &name[..1];
    format!("{name}: {{ bind: '{port}', protocol: tls, {more} pool: {pool} }}")
}

#[test]
fn the_name_says_whose_a_connection_is() {
    let three = Three::new();
    let port = free_port("127.0.0.31");
    let weir = Weir::from_text(&three.file(&[
        listener(port, "a", "sni: [a.example, '*.a.example'],"),
        listener(port, "b", "sni: ['*.example', x.a.example],"),
        listener(port, "c", ""),
    ]));
    for (name, owner) in [
        (Some("a.example"), "a"),
        (Some("A.EXAMPLE."), "a"),
        (Some("y.a.example"), "a"),
        (Some("x.a.example"), "b"),
        (Some("other.example"), "b"),
        (Some("example"), "c"),
        (Some("127.0.0.1"), "c"),
        (None, "c"),
    ] {
        assert_eq!(ask(port, name).1, owner, "{name:?}");
    }
    // Each is counted where it belongs, and nowhere else.
    let snapshot = weir.app().snapshot();
    wait_until("all of them have ended", || weir.app().open_connections() == 0);
    let counts = |of: fn(&weir_model::status::ListenerCounters) -> u64| {
        snapshot.listeners.iter().map(|listener| listener.status.shards.sum(of)).collect::<Vec<_>>()
    };
    assert_eq!(counts(|counters| counters.accepted.value()), [3, 2, 3]);
    assert_eq!(counts(|counters| counters.closed.value()), [3, 2, 3]);
}

#[test]
fn who_is_nobodys_is_told_so() {
    let three = Three::new();
    let port = free_port("127.0.0.32");
    let (sink, said) = journal();
    let text = three.file(&[
        listener(port, "a", "sni: a.example,"),
        listener(port, "b", "sni: b.example, max_connections: 1,"),
    ]);
    let weir = Weir::with_log(&text, sink);
    for (name, alert) in [(Some("c.example"), 112), (Some("x.a.example"), 112), (None, 109)] {
        let mut client = RawClient::connect(port);
        client.send(hello(name));
        assert_eq!(client.read_to_end(), (fatal_alert(alert).to_vec(), End::Closed), "{name:?}");
    }
    wait_until("all are told", || said().matches("cause=client_sni_unknown").count() == 3);
    assert!(said().contains("for `c.example`") && said().contains("without a name"), "{}", said());
    // One that is full keeps nobody from the other.
    let (mut first, owner) = ask(port, Some("b.example"));
    assert_eq!(owner, "b");
    let mut second = RawClient::connect(port);
    second.send(hello(Some("b.example")));
    assert_eq!(second.read_to_end(), (Vec::new(), End::Reset));
    wait_until("it is told", || said().contains("cause=listener_full"));
    assert_eq!(ask(port, Some("a.example")).1, "a");
    assert_eq!(still(&mut first), "b");
    drop(first);
    wait_until("there is room", || weir.app().open_connections() == 0);
    assert_eq!(ask(port, Some("b.example")).1, "b");
}

#[test]
fn one_that_comes_or_goes_leaves_the_others_alone() {
    let three = Three::new();
    let port = free_port("127.0.0.33");
    let [a, b, rest] = [
        listener(port, "a", "sni: a.example,"),
        listener(port, "b", "sni: b.example,"),
        listener(port, "c", ""),
    ];
    let weir = Weir::from_text(&three.file(&[a.clone(), rest.clone()]));
    let (mut of_a, first) = ask(port, Some("a.example"));
    let (mut of_rest, second) = ask(port, Some("b.example"));
    assert_eq!((&*first, &*second), ("a", "c"));

    let outcome = weir.app().reload_text(&three.file(&[a.clone(), b, rest])).unwrap();
    assert_eq!(outcome.changes["binds"]["joined"][0], format!("{port} (b)"));
    assert_eq!(outcome.changes["binds"]["kept"].as_array().map(Vec::len), Some(2));
    let (mut of_b, third) = ask(port, Some("b.example"));
    assert_eq!(third, "b");
    assert_eq!((&*still(&mut of_a), &*still(&mut of_rest)), ("a", "c"), "what was decided stays");

    // Without the rest, and under another name with the same `sni`.
    let renamed = listener(port, "b2", "sni: b.example,");
    let outcome = weir.app().reload_text(&three.file(&[a, renamed])).unwrap();
    assert_eq!(outcome.changes["binds"]["left"][0], format!("{port} (c)"));
    assert_eq!(outcome.changes["binds"]["moved"][0], format!("{port} from b to b2"));
    assert_eq!((&*still(&mut of_a), &*still(&mut of_b)), ("a", "b"));
    assert_eq!(of_rest.read_to_end(), (Vec::new(), End::Reset), "those of the one that left drain");
    assert_eq!((&*still(&mut of_a), &*still(&mut of_b)), ("a", "b"));
    let mut nobodys = RawClient::connect(port);
    nobodys.send(hello(None));
    assert_eq!(nobodys.read_to_end().0, fatal_alert(109));

    // A name that moves takes nobody with it.
    let [a, b] = [listener(port, "a", "sni: b.example,"), listener(port, "b2", "sni: a.example,")];
    weir.app().reload_text(&three.file(&[a, b])).unwrap();
    assert_eq!((&*ask(port, Some("a.example")).1, &*ask(port, Some("b.example")).1), ("b", "a"));
    assert_eq!((&*still(&mut of_a), &*still(&mut of_b)), ("a", "b"));
}

#[test]
fn who_has_connected_belongs_to_whoever_is_there_when_the_hello_comes() {
    let three = Three::new();
    let port = free_port("127.0.0.34");
    let a = listener(port, "a", "sni: a.example,");
    let weir = Weir::from_text(&three.file(std::slice::from_ref(&a)));
    let (mut early, mut late) = (RawClient::connect(port), RawClient::connect(port));
    let hello = hello(Some("b.example"));
    early.send(&hello[..20]);
    wait_until("both are there", || weir.app().open_connections() == 2);
    weir.app().reload_text(&three.file(&[a, listener(port, "b", "sni: b.example,")])).unwrap();
    early.send(&hello[20..]);
    late.send(&hello);
    assert_eq!((&*early.read_exact(1), &*late.read_exact(1)), (&b"b"[..], &b"b"[..]));
}
