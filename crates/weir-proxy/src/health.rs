//! Probe code: asks one backend one question, over a connection of its own.
//!
//! What is asked of whom and when, and what follows from the answers, is decided elsewhere.

mod http;

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
};

use tokio::time::timeout;
use weir_model::{
    health::{HealthCheck, Probe},
    listener::Address,
    time::Millis,
};

use crate::io::Stream;

/// Asks `address` what `check` asks. `host` is what the backend is called in the file, for the Host field. Says what
/// was answered, or why that is not what was expected, in words without a full stop.
///
/// # Errors
/// If the backend did not answer as expected within the time-out.
pub async fn probe(check: &HealthCheck, address: &Address, host: &str) -> Result<String, String> {
    // An atomic only so that the future may move between threads.
    let connected = AtomicBool::new(false);
    let asked = async {
        let stream = Stream::connect(address).await.map_err(|error| not_connected(&error))?;
        connected.store(true, Ordering::Relaxed);
        match &check.probe {
            Probe::Tcp => Ok("accepts connections".to_owned()),
            Probe::Http(question) => http::ask(&stream, question, host).await,
        }
    };
    match timeout(check.timeout.duration(), asked).await {
        Ok(outcome) => outcome,
        Err(_) if connected.load(Ordering::Relaxed) => {
            Err(format!("no answer within {}", words(check.timeout)))
        }
        Err(_) => Err(format!("no connection within {}", words(check.timeout))),
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

fn words(length: Millis) -> String {
    match length.0 {
        millis if millis.is_multiple_of(1000) => format!("{}s", millis / 1000),
        millis => format!("{millis}ms"),
    }
}

#[cfg(test)]
mod tests;
