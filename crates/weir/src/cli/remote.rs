//! The way to the running process: where its admin API is, and one question over it.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Method, Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    runtime::Builder,
    time::timeout,
};
use weir_control::{config, trouble::Trouble};
use weir_model::status::Registry;

use super::ConfigArgs;
use crate::terminal;

/// To be connected.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// For an answer; a reload may take a while.
const ANSWER_TIME: Duration = Duration::from_secs(120);
/// Bytes of an answer.
const MOST_ANSWER: usize = 256 << 20;

/// Which process is meant.
#[derive(Debug, Args)]
pub(super) struct RemoteArgs {
    #[command(flatten)]
    pub(super) config: ConfigArgs,
    /// Where the admin API is, instead of `admin.bind` of the file: http://ADDRESS:PORT or unix:PATH
    #[arg(long, value_name = "URL")]
    admin: Option<String>,
    /// A file with the token, instead of `admin.token_file` of the file
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// The admin API of a running process.
#[derive(Debug)]
pub(super) struct Remote {
    place: Place,
    token: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// `host:port`.
    Tcp(String),
    Unix(PathBuf),
}

impl Place {
    /// Where a URL leads, or an `admin.bind`.
    fn of(text: &str) -> Result<Self, Trouble> {
        let wrong = || {
            let cause = format!("`{}` is not the address of an admin API", text.escape_debug());
            Trouble::new(cause, "write http://127.0.0.1:9900 or unix:/run/weir.sock")
        };
        if let Some(path) = text.strip_prefix("unix://").or_else(|| text.strip_prefix("unix:")) {
            return if path.is_empty() { Err(wrong()) } else { Ok(Self::Unix(path.into())) };
        }
        let host = text.strip_prefix("http://").map_or(text, |rest| rest.strip_suffix('/').unwrap_or(rest));
        if let Ok(address) = host.parse::<SocketAddr>() {
            if address.port() == 0 {
                let cause = "the port of the admin API is chosen when weir starts";
                return Err(Trouble::new(
                    cause,
                    "name the one that it was given with `--admin http://ADDRESS:PORT`",
                ));
            }
            return Ok(Self::Tcp(reachable(address).to_string()));
        }
        let port =
            host.rsplit_once(':').is_some_and(|(name, port)| !name.is_empty() && port.parse::<u16>().is_ok());
        if !port || host.contains(['/', ' ', '@', '?', '#']) {
            return Err(wrong());
        }
        Ok(Self::Tcp(host.into()))
    }
}

/// Where something that is bound to every address can be reached from here.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, address.port())
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(host) => write!(f, "http://{host}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What was answered.
#[derive(Debug)]
pub(super) struct Reply {
    place: String,
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

impl Reply {
    /// The body as JSON.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T> {
        Ok(serde_json::from_slice(&self.body).map_err(|_| self.is_of_another())?)
    }

    /// Who answered is not weir, or not one that this command knows.
    fn is_of_another(&self) -> Trouble {
        let Self { place, status, .. } = self;
        let cause = format!("what answers at {place} is not the admin API of this weir: it says {status}");
        Trouble::new(cause, "name the address of `admin.bind` with `--admin`")
    }

    /// The reply itself if all went well, else what the process says is wrong.
    pub(super) fn well(self) -> Result<Self> {
        if self.status == 200 {
            return Ok(self);
        }
        let said = serde_json::from_slice::<Trouble>(&self.body);
        Err(said.unwrap_or_else(|_| self.is_of_another()).into())
    }
}

impl RemoteArgs {
    /// True if it says itself where the process is.
    pub(super) const fn names_a_process(&self) -> bool {
        self.admin.is_some()
    }

    /// Finds the process.
    pub(super) fn remote(&self) -> Result<Remote> {
        let token = self.token_file.as_ref().map(|path| {
            let text = fs::read_to_string(path).map_err(|error| {
                let cause = format!("the token cannot be read from {}: {error}", path.display());
                Trouble::new(cause, "name the file that `admin.token_file` names, as a user that may read it")
            })?;
            anyhow::Ok(text.trim().to_owned())
        });
        let token = token.transpose()?;
        if let Some(admin) = &self.admin {
            return Ok(Remote { place: Place::of(admin)?, token });
        }
        // The file need not be right as a whole: the process that runs may well run with an older one.
        let path = self.config.path()?;
        let loaded = config::load(path).map_err(|refusal| anyhow!(refusal.render(terminal::style())))?;
        let process = loaded.draft.process.clone();
        let Some(bind) = process.admin else {
            // It may say so in a part that could not be read.
            if let Err(refusal) = config::compile(loaded, 1, &mut Registry::new(1)) {
                bail!(refusal.render(terminal::style()));
            }
            let cause = format!("{} does not say where the admin API is", path.display());
            let remedy = "add `admin: { bind: 127.0.0.1:9900 }` and restart, or name it with `--admin`";
            return Err(Trouble::new(cause, remedy).into());
        };
        let token = token.or_else(|| process.admin_token.map(|token| token.value.reveal().to_owned()));
        Ok(Remote { place: Place::of(&bind.value)?, token })
    }
}

impl Remote {
    /// Asks without a body.
    pub(super) fn get(&self, path: &str) -> Result<Reply> {
        self.ask(Method::GET, path, None)
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// If there is none, or the process wants a token to say anything.
    pub(super) fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Reply> {
        let reply = self.exchange(method, path, body)?;
        if reply.status == 401 {
            // What the process says is for programs that write requests themselves.
            let cause = match self.token {
                None => "this needs the token of `admin.token_file`",
                Some(_) => "the token is not the one of the process that runs",
            };
            let remedy = "name a file with its token, with `--token-file FILE`, or use the unix socket";
            return Err(Trouble::new(cause, remedy).into());
        }
        Ok(reply)
    }

    fn exchange(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Reply> {
        let runtime = Builder::new_current_thread().enable_all().build().context("no runtime")?;
        runtime.block_on(async {
            match &self.place {
                Place::Tcp(host) => {
                    self.over(self.reach(TcpStream::connect(host)).await?, method, path, body).await
                }
                Place::Unix(file) => {
                    self.over(self.reach(UnixStream::connect(file)).await?, method, path, body).await
                }
            }
        })
    }

    async fn reach<S>(&self, connect: impl Future<Output = io::Result<S>>) -> Result<S> {
        let reached =
            timeout(CONNECT_TIME, connect).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        reached.map_err(|error| {
            let remedy = match error.kind() {
                io::ErrorKind::PermissionDenied => "run this as the user that runs weir",
                _ => "see that it runs (`weir run -c FILE`), or name another place with `--admin`",
            };
            Trouble::new(format!("weir cannot be reached at {}: {error}", self.place), remedy).into()
        })
    }

    async fn over<S>(&self, stream: S, method: Method, path: &str, body: Option<&Value>) -> Result<Reply>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let host = match &self.place {
            Place::Tcp(host) => host,
            Place::Unix(_) => "localhost",
        };
        let mut request = Request::builder().method(method).uri(path).header("host", host);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = request.body(Full::new(Bytes::from(body)))?;
        let exchange = async {
            let response = sender.send_request(request).await?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), MOST_ANSWER).collect().await;
            let body = body.map_err(|error| anyhow!(error))?.to_bytes().to_vec();
            anyhow::Ok(Reply { place: self.place.to_string(), status, body })
        };
        let broken = |why: String| {
            let cause = format!("there is no answer from {}: {why}", self.place);
            Trouble::new(cause, "see that this is where weir has its `admin.bind`, and what its log says")
        };
        let late = || broken(format!("nothing came within {} s", ANSWER_TIME.as_secs()));
        let answered = timeout(ANSWER_TIME, exchange).await.map_err(|_| late())?;
        Ok(answered.map_err(|error| broken(format!("{error:#}")))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_understood() {
        let tcp = |text: &str| Place::Tcp(text.into());
        for (text, place) in [
            ("127.0.0.1:9900", tcp("127.0.0.1:9900")),
            ("http://lb.test:9900/", tcp("lb.test:9900")),
            ("0.0.0.0:9900", tcp("127.0.0.1:9900")),
            ("[::]:9900", tcp("[::1]:9900")),
            ("unix:/run/weir.sock", Place::Unix("/run/weir.sock".into())),
            ("unix:///run/weir.sock", Place::Unix("/run/weir.sock".into())),
        ] {
            assert_eq!(Place::of(text).unwrap(), place, "{text}");
        }
        for text in ["", "unix:", "https://a:1", "a", "http://a:1/path", "127.0.0.1:0", ":9900"] {
            assert!(Place::of(text).is_err(), "{text}");
        }
    }
}
