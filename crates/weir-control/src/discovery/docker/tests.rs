//! Which containers are backends, and which events end them.

use std::collections::HashSet;

use serde_json::{Value, json};
use weir_model::discovery::Docker;

use super::{
    containers::{Inspected, chosen},
    engine::Event,
    note,
};
use crate::discovery::feed::Entry;

fn docker() -> Docker {
    Docker {
        socket: std::path::Path::new("/run/docker.sock").into(),
        label: "weir.pool=app".into(),
        port: None,
        network: None,
    }
}

/// A container as an engine describes it, with much that is of no use here left away.
fn container(name: &str, change: Value) -> Inspected {
    let mut described = json!({
        "Id": "0123456789abcdef",
        "Name": format!("/{name}"),
        "State": { "Status": "running", "Running": true, "Pid": 4711 },
        "Config": { "Labels": { "weir.pool": "app" }, "ExposedPorts": { "8080/tcp": {}, "53/udp": {} } },
        "HostConfig": { "NetworkMode": "bridge" },
        "NetworkSettings": {
            "IPAddress": "172.17.0.2",
            "Networks": {
                "zoo": { "IPAddress": "10.1.0.2", "GlobalIPv6Address": "" },
                "bridge": { "IPAddress": "172.17.0.2", "GlobalIPv6Address": "" },
                "six": { "IPAddress": "", "GlobalIPv6Address": "fd00::2" },
            },
        },
    });
    merge(&mut described, change);
    serde_json::from_value(described).unwrap()
}

fn merge(into: &mut Value, change: Value) {
    match (into, change) {
        (Value::Object(into), Value::Object(change)) => {
            for (key, value) in change {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, change) => *into = change,
    }
}

fn entry(name: &str, address: &str, weight: Option<u32>) -> Entry {
    Entry { name: Some(name.into()), weight, ..Entry::at(address) }
}

#[test]
fn a_container_is_a_backend_at_its_address_and_port() {
    let port = |port: &str| json!({ "Config": { "Labels": { "weir.port": port } } });
    let weight = |weight: &str| json!({ "Config": { "Labels": { "weir.weight": weight } } });
    let with_port = Docker { port: Some(9000), ..docker() };
    let in_zoo = Docker { network: Some("zoo".into()), ..docker() };
    let in_six = Docker { network: Some("six".into()), ..docker() };
    let host = json!({ "HostConfig": { "NetworkMode": "host" }, "NetworkSettings": { "IPAddress": "", "Networks": { "host": { "IPAddress": "" } } } });
    for (docker, change, expected) in [
        (docker(), json!({}), entry("a", "172.17.0.2:8080", None)),
        (docker(), port("81"), entry("a", "172.17.0.2:81", None)),
        (with_port.clone(), json!({}), entry("a", "172.17.0.2:9000", None)),
        (with_port, port("81"), entry("a", "172.17.0.2:81", None)),
        (docker(), weight("7"), entry("a", "172.17.0.2:8080", Some(7))),
        (in_zoo, json!({}), entry("a", "10.1.0.2:8080", None)),
        (in_six, json!({}), entry("a", "[fd00::2]:8080", None)),
        (docker(), json!({ "NetworkSettings": { "Networks": null } }), entry("a", "172.17.0.2:8080", None)),
        (docker(), host, entry("a", "127.0.0.1:8080", None)),
        (
            docker(),
            json!({ "State": { "Health": { "Status": "healthy" } } }),
            entry("a", "172.17.0.2:8080", None),
        ),
        (
            docker(),
            json!({ "State": { "Health": { "Status": "none" } } }),
            entry("a", "172.17.0.2:8080", None),
        ),
    ] {
        assert_eq!(chosen(&[container("a", change.clone())], &docker), (vec![expected], vec![]), "{change}");
    }
}

#[test]
fn one_that_cannot_be_used_is_left_out_alone() {
    let exposed = |ports: Value| json!({ "Config": { "ExposedPorts": ports } });
    let label = |key: &str, value: &str| json!({ "Config": { "Labels": { key: value } } });
    let no_address = json!({ "NetworkSettings": { "IPAddress": "", "Networks": { "zoo": { "IPAddress": "" }, "bridge": { "IPAddress": "" }, "six": { "GlobalIPv6Address": "" } } } });
    for (change, why) in [
        (json!({ "State": { "Status": "paused" } }), "it is paused"),
        (json!({ "State": { "Health": { "Status": "starting" } } }), "has not passed yet"),
        (json!({ "State": { "Health": { "Status": "unhealthy" } } }), "its health check fails"),
        (json!({ "State": { "Healthcheck": { "Status": "starting" } } }), "has not passed yet"),
        (label("weir.port", "http"), "`weir.port` is `http` and no port"),
        (label("weir.port", "0"), "`weir.port` is `0` and no port"),
        (label("weir.weight", "-1"), "`weir.weight` is `-1`"),
        (exposed(json!(null)), "it exposes no port"),
        (exposed(json!({ "1/tcp": {}, "2/tcp": {} })), "it exposes several ports"),
        (no_address, "it has no address"),
    ] {
        let containers = [container("bad", change.clone()), container("good", json!({}))];
        let (entries, left_out) = chosen(&containers, &docker());
        assert_eq!(entries, [entry("good", "172.17.0.2:8080", None)], "{change}");
        assert_eq!(left_out.len(), 1);
        assert!(left_out[0].starts_with("container `bad`: ") && left_out[0].contains(why), "{left_out:?}");
    }
    let elsewhere = Docker { network: Some("other".into()), ..docker() };
    let (entries, left_out) = chosen(&[container("a", json!({}))], &elsewhere);
    assert!(entries.is_empty() && left_out[0].ends_with("it is not in the network `other`"), "{left_out:?}");
}

#[test]
fn the_order_is_that_of_the_names() {
    let containers = [container("b", json!({})), container("a", json!({}))];
    let names: Vec<_> =
        chosen(&containers, &docker()).0.into_iter().map(|entry| entry.name.unwrap()).collect();
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn a_container_that_is_told_to_end_takes_nothing_new() {
    let event = |action: &str, signal: Option<&str>| -> Event {
        serde_json::from_value(json!({
            "Type": "container", "Action": action,
            "Actor": { "ID": "one", "Attributes": signal.map_or(json!({}), |signal| json!({ "signal": signal })) },
            "id": "one",
        }))
        .unwrap()
    };
    for (action, signal, ends) in [
        ("kill", Some("15"), true),
        ("kill", Some("SIGTERM"), true),
        ("kill", Some("9"), true),
        ("kill", Some("1"), false),
        ("kill", Some("SIGHUP"), false),
        ("kill", Some("10"), false),
        ("kill", None, true),
        ("die", None, true),
        ("died", None, true),
        ("stop", None, true),
        ("exec_start: sh", None, false),
        ("health_status: healthy", None, false),
    ] {
        let mut stopping = HashSet::new();
        note(&event(action, signal), &mut stopping);
        assert_eq!(stopping.contains("one"), ends, "{action} {signal:?}");
        note(&event("start", None), &mut stopping);
        assert!(stopping.is_empty(), "it has begun anew");
    }
}
