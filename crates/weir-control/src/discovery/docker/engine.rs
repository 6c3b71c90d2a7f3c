//! The engine's API: HTTP over a unix socket. Whatever it sends is bounded in size and in time.

use std::{path::Path, sync::Arc, time::Duration};

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1,
    header::HOST,
};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, de::DeserializeOwned};
use tokio::{net::UnixStream, task::AbortHandle, time::timeout};

use super::containers::Inspected;

/// For one answer, from the connection to its last byte.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of one answer.
const LARGEST: usize = 16 << 20;
/// Bytes of one event.
const LARGEST_EVENT: usize = 256 << 10;
/// Bytes of a message of the engine that is shown.
const SHOWN: usize = 200;

/// An engine at a socket.
pub(super) struct Engine {
    socket: Arc<Path>,
}

/// An entry of the list of containers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: String,
}

/// Something that happened to a container.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Event {
    #[serde(rename = "Action")]
    action: String,
    #[serde(rename = "Actor")]
    actor: Actor,
    /// The container, in the words of the older API.
    pub(super) id: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Actor {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Attributes")]
    attributes: std::collections::BTreeMap<String, String>,
}

impl Event {
    /// True if the container has been told to end, or has ended.
    pub(super) fn begins_end(&self) -> bool {
        let signal = self.actor.attributes.get("signal").map(|signal| signal.trim_start_matches("SIG"));
        match &*self.action {
            // Other signals make programs read their files again, and the like.
            "kill" => {
                matches!(signal, None | Some("2" | "INT" | "3" | "QUIT" | "9" | "KILL" | "15" | "TERM"))
            }
            "die" | "died" | "stop" | "destroy" | "remove" => true,
            _ => false,
        }
    }

    /// True if the container has begun anew.
    pub(super) fn is_start(&self) -> bool {
        matches!(&*self.action, "start" | "restart")
    }
}

/// Events as they happen.
pub(super) struct Events {
    body: Incoming,
    /// Bytes of an event that is not complete.
    part: Vec<u8>,
    _driver: Driver,
}

/// What moves the bytes of a connection; ends with this.
struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Engine {
    pub(super) const fn new(socket: Arc<Path>) -> Self {
        Self { socket }
    }

    /// The path that the engine's own version of the API begins with: `/v1.41`.
    pub(super) async fn version(&self) -> Result<String, String> {
        let (answer, _driver) = self.ask("/_ping").await?;
        let version = answer.headers().get("api-version").and_then(|version| version.to_str().ok());
        let plain = |version: &&str| {
            version.len() <= 8 && version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        };
        // Without a version the engine takes its newest.
        Ok(version.filter(plain).map(|version| format!("/v{version}")).unwrap_or_default())
    }

    /// The running containers with a label.
    pub(super) async fn list(&self, version: &str, label: &str) -> Result<Vec<String>, String> {
        let filters = serde_json::json!({ "label": [label], "status": ["running"] });
        let path = format!("{version}/containers/json?filters={}", encoded(&filters.to_string()));
        let listed: Vec<Listed> = self.json(&path).await?.ok_or("the engine has no list of containers")?;
        Ok(listed.into_iter().map(|container| container.id).collect())
    }

    /// What there is to know of a container; none if it is gone.
    pub(super) async fn inspect(&self, version: &str, id: &str) -> Result<Option<Inspected>, String> {
        if !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err("the engine names a container in a way that cannot be asked for".into());
        }
        self.json(&format!("{version}/containers/{id}/json")).await
    }

    /// What happens to containers from here on.
    pub(super) async fn events(&self, version: &str, label: &str) -> Result<Events, String> {
        let filters = serde_json::json!({ "label": [label], "type": ["container"] });
        let path = format!("{version}/events?filters={}", encoded(&filters.to_string()));
        let (answer, driver) = self.ask(&path).await?;
        if answer.status() != StatusCode::OK {
            return Err(format!("the engine tells of no events: {}", answer.status()));
        }
        Ok(Events { body: answer.into_body(), part: Vec::new(), _driver: driver })
    }

    /// What an answer holds; none for 404.
    async fn json<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, String> {
        let (answer, _driver) = self.ask(path).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), LARGEST).collect();
        let body = timeout(PATIENCE, body).await.map_err(|_| too_slow())?;
        let body =
            body.map_err(|error| format!("the engine's answer ends early or is too large: {error}"))?;
        let body = body.to_bytes();
        match status {
            StatusCode::OK => serde_json::from_slice(&body)
                .map(Some)
                .map_err(|error| format!("the engine's answer is not what was expected: {error}")),
            StatusCode::NOT_FOUND => Ok(None),
            status => {
                let text = String::from_utf8_lossy(&body[..body.len().min(SHOWN)]).into_owned();
                Err(format!("the engine answers {status}: {}", text.trim()))
            }
        }
    }

    /// Sends a request over a connection of its own.
    async fn ask(&self, path: &str) -> Result<(Response<Incoming>, Driver), String> {
        timeout(PATIENCE, self.exchange(path)).await.map_err(|_| too_slow())?
    }

    async fn exchange(&self, path: &str) -> Result<(Response<Incoming>, Driver), String> {
        let shown = self.socket.display();
        let stream = UnixStream::connect(&self.socket).await;
        let stream = stream.map_err(|error| format!("the engine at {shown} cannot be reached: {error}"))?;
        let broken = |error: hyper::Error| format!("the engine at {shown} does not speak HTTP: {error}");
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let driver = Driver(tokio::spawn(connection).abort_handle());
        let request = Request::get(path).header(HOST, "docker").body(Empty::<Bytes>::new());
        let request = request.map_err(|error| error.to_string())?;
        let answer = sender.send_request(request).await.map_err(broken)?;
        Ok((answer, driver))
    }
}

fn too_slow() -> String {
    format!("the engine did not answer within {}s", PATIENCE.as_secs())
}

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

impl Events {
    /// The next event.
    ///
    /// # Errors
    /// If there will be no more, or the engine says something else.
    pub(super) async fn next(&mut self) -> Result<Event, String> {
        loop {
            if let Some(end) = self.part.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.part.drain(..=end).collect();
                if line.trim_ascii().is_empty() {
                    continue;
                }
                let event = serde_json::from_slice::<Event>(&line);
                let mut event = event
                    .map_err(|error| format!("an event of the engine is not what was expected: {error}"))?;
                if event.id.is_empty() {
                    event.id.clone_from(&event.actor.id);
                }
                return Ok(event);
            }
            if self.part.len() > LARGEST_EVENT {
                return Err(format!("an event of the engine is larger than {LARGEST_EVENT} bytes"));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => self.part.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
                Some(Err(error)) => return Err(format!("the engine's events ended: {error}")),
                None => return Err("the engine's events ended".into()),
            }
        }
    }
}
