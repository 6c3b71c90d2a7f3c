//! Probe code: asks one backend one question, over a connection of its own.
//!
//! What is asked of whom and when, and what follows from the answers, is decided elsewhere.

mod grpc;
mod http;
mod http2;
mod udp;

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
};

use tokio::time::timeout;
use weir_model::{
    health::{HealthCheck, Probe, Way},
    listener::Address,
    pool::{Endpoint, UpstreamProtocol},
};

use crate::{
    error::Cause,
    io::Stream,
    proxy_header,
    tls::{self, Carries},
};

/// Asks `address` what `check` asks, on the way that leads to the backend. Says what
/// was answered, or why that is not what was expected, in words without a full stop.
///
/// # Errors
/// If the backend did not answer as expected within the time-out.
pub async fn probe(check: &HealthCheck, address: &Address, way: &Way) -> Result<String, String> {
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
        if let Some(sent) = &way.send_proxy {
            let mut header = Vec::new();
            proxy_header::own(sent, &mut header);
            stream.send(&header).await.map_err(|error| not_connected(&error))?;
        }
        match &check.probe {
            Probe::Tcp | Probe::Udp(_) => Ok("accepts connections".to_owned()),
            Probe::Tls => {
                secure(&mut stream, address, way, Carries::Bytes).await?;
                stream.finish();
                Ok("finished a TLS handshake".to_owned())
            }
            Probe::Http(question) => {
                let carries = match way.protocol {
                    UpstreamProtocol::Auto => Carries::Requests,
                    UpstreamProtocol::Http1 => Carries::Http1,
                    UpstreamProtocol::H2 => Carries::H2,
                };
                if way.tls.is_some() {
                    secure(&mut stream, address, way, carries).await?;
                }
                let agreed = stream.facts().and_then(|facts| facts.alpn.as_deref());
                if carries == Carries::H2 || agreed == Some(b"h2") {
                    return http::ask_by_http2(stream, question, (&host(&way.endpoint), way.tls.is_some()))
                        .await;
                }
                let outcome = http::ask(&mut stream, question, &host(&way.endpoint)).await;
                if way.tls.is_some() {
                    stream.finish();
                }
                outcome
            }
            Probe::Grpc(question) => {
                if way.tls.is_some() {
                    secure(&mut stream, address, way, Carries::H2).await?;
                }
                let host = host(&way.endpoint);
                grpc::ask(stream, question, (&host, way.tls.is_some()), check.timeout).await
            }
        }
    };
    match timeout(check.timeout.duration(), asked).await {
        Ok(outcome) => outcome,
        Err(_) if connected.load(Ordering::Relaxed) => Err(format!("no answer within {}", check.timeout)),
        Err(_) => Err(format!("no connection within {}", check.timeout)),
    }
}

/// A handshake as the pool says it; where it says nothing, there is nothing to verify by.
async fn secure(stream: &mut Stream, address: &Address, way: &Way, carries: Carries) -> Result<(), String> {
    let client = match &way.tls {
        Some(origination) => tls::client(origination).ok_or("its TLS was not prepared")?,
        None => tls::anybody()?,
    };
    client.secure(stream, (&way.endpoint, address), carries).await.map_err(|error| {
        let what = match error.cause {
            Cause::BackendTlsVerify => "its certificate cannot be trusted",
            Cause::BackendNoH2 => "it does not speak HTTP/2",
            _ => "no TLS could be agreed on",
        };
        format!("{what}: {}", error.detail)
    })
}

/// What the Host field says.
fn host(endpoint: &Endpoint) -> String {
    match endpoint {
        // A path is no host.
        Endpoint::Unix(_) => "localhost".to_owned(),
        endpoint => endpoint.to_string(),
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
