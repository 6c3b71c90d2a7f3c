//! Probe code: asks one backend one question, over a connection of its own.
//!
//! What is asked of whom and when, and what follows from the answers, is decided elsewhere.

mod http;
mod udp;

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
};

use tokio::time::timeout;
use weir_model::{
    health::{HealthCheck, Probe},
    listener::Address,
};

use crate::io::Stream;

/// Asks `address` what `check` asks. `host` is what the backend is called in the file, for the Host field. Says what
/// was answered, or why that is not what was expected, in words without a full stop.
///
/// # Errors
/// If the backend did not answer as expected within the time-out.
pub async fn probe(check: &HealthCheck, address: &Address, host: &str) -> Result<String, String> {
    if let Probe::Udp(question) = &check.probe {
        return match address {
            Address::Ip(address) => udp::ask(*address, question, check.timeout).await,
            Address::Unix(_) => Err("a unix socket takes no UDP".to_owned()),
        };
    }
    // An atomic only so that the future may move between threads.
    let connected = AtomicBool::new(false);
    let asked = async {
        let mut stream = Stream::connect(address).await.map_err(|error| not_connected(&error))?;
        connected.store(true, Ordering::Relaxed);
        match &check.probe {
            Probe::Tcp | Probe::Udp(_) => Ok("accepts connections".to_owned()),
            Probe::Http(question) => http::ask(&mut stream, question, host).await,
        }
    };
    match timeout(check.timeout.duration(), asked).await {
        Ok(outcome) => outcome,
        Err(_) if connected.load(Ordering::Relaxed) => Err(format!("no answer within {}", check.timeout)),
        Err(_) => Err(format!("no connection within {}", check.timeout)),
    }
}

fn not_connected(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".into(),
        io::ErrorKind::ConnectionReset => "connection reset".into(),
        io::ErrorKind::HostUnreachable => "the host cannot be reached".into(),
        io::ErrorKind::NetworkUnreachable => "the network cannot be reached".into(),
        _ => format!("cannot connect: {error}"),
    }
}

#[cfg(test)]
mod tests;
