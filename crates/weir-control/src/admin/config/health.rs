//! The checks of a pool.

use serde_json::{Value, json};
use weir_model::health::{HealthCheck, Probe};

use super::{fields, time};

/// What is asked, and when.
pub(super) fn check(check: &HealthCheck) -> Value {
    let probe = match &check.probe {
        Probe::Tcp => ("tcp", json!({})),
        Probe::Tls => ("tls", json!({})),
        Probe::Grpc(grpc) => ("grpc", json!({ "service": grpc.service.to_string() })),
        Probe::Udp(udp) => (
            "udp",
            json!({
                "send": udp.send.escape_ascii().to_string(),
                "expect": udp.expect.as_ref().map(|expect| expect.escape_ascii().to_string()),
            }),
        ),
        Probe::Http(http) => (
            "http",
            json!({
                "path": http.path.to_string(),
                "host": http.host.as_deref(),
                "method": http.method.to_string(),
                "headers": fields(http.headers.iter().map(|(name, value)| (name.to_string(), value.to_string()))),
                "expect": http.expect.iter().map(|(from, to)| format!("{from}-{to}")).collect::<Vec<_>>(),
                "body": http.body.as_deref(),
            }),
        ),
    };
    json!({
        probe.0: probe.1,
        "interval": time(check.interval),
        "interval_down": time(check.interval_down),
        "timeout": time(check.timeout),
        "fall": check.fall,
        "rise": check.rise,
        "port": check.port,
        "initial": if check.initially_up { "up" } else { "unknown" },
        "plain": check.plain,
    })
}
