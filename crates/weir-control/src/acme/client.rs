//! HTTP to an authority: one connection per request, over TLS, with an end in time and in size.

use std::{
    error::Error as _,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use http_body_util::{BodyExt as _, Limited};
use hyper::{
    HeaderMap, Request, StatusCode, Uri,
    body::Bytes,
    client::conn::http1,
    header::{HOST, HeaderValue, RETRY_AFTER},
};
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, pki_types::CertificateDer};
use rustls_pki_types::ServerName;
use tokio::{net::TcpStream, task::AbortHandle, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// For one answer, from the look-up of the name to the last byte.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of one answer.
const LARGEST: usize = 1 << 20;

/// A way to authorities.
#[derive(Clone)]
pub(super) struct Client {
    tls: TlsConnector,
    /// What the last answer that asked for patience has asked for, in seconds and one more; 0 if none has.
    asked_to_wait: Arc<AtomicU64>,
}

type Failed = Box<dyn std::error::Error + Send + Sync>;

impl Client {
    /// One that believes what these have signed, each as DER; what the system believes if there is no list.
    pub(super) fn new(authorities: Option<&[Arc<[u8]>]>) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        match authorities {
            Some(own) => {
                for authority in own {
                    let added = roots.add(CertificateDer::from(authority.to_vec()));
                    added.map_err(|error| format!("an authority under `ca` cannot be used: {error}"))?;
                }
            }
            None => {
                let found = rustls_native_certs::load_native_certs();
                roots.add_parsable_certificates(found.certs);
                if roots.is_empty() {
                    return Err("the system has no list of authorities that it trusts; name one under `ca`"
                        .to_owned());
                }
            }
        }
        let config = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { tls: TlsConnector::from(Arc::new(config)), asked_to_wait: Arc::default() })
    }

    /// How many seconds the last answers have asked to wait, if one has.
    pub(super) fn take_asked_to_wait(&self) -> Option<u64> {
        self.asked_to_wait.swap(0, Ordering::Relaxed).checked_sub(1)
    }

    async fn connect(&self, uri: &Uri) -> Result<TlsStream<TcpStream>, Failed> {
        let host = uri.host().filter(|_| uri.scheme_str() == Some("https"));
        let host = host.ok_or_else(|| format!("`{uri}` is no https URL"))?;
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = uri.port_u16().unwrap_or(443);
        let tcp = TcpStream::connect((&*bare, port)).await;
        let tcp = tcp.map_err(|error| format!("{host}:{port} cannot be reached: {error}"))?;
        let name = ServerName::try_from(bare)?;
        let tls = self.tls.connect(name, tcp).await;
        Ok(tls.map_err(|error| format!("no TLS with {host}:{port}: {}", why(&error)))?)
    }

    async fn ask(self, request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, Failed> {
        let (mut parts, body) = request.into_parts();
        let stream = self.connect(&parts.uri).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let _driver = Driver(tokio::spawn(async { _ = connection.await }).abort_handle());
        let authority = parts.uri.authority().map(ToString::to_string).unwrap_or_default();
        parts.headers.insert(HOST, HeaderValue::from_str(&authority)?);
        parts.uri = parts.uri.path_and_query().map_or("/", |path| path.as_str()).parse()?;
        let (parts, body) = sender.send_request(Request::from_parts(parts, body)).await?.into_parts();
        if matches!(parts.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            let wait = retry_after(&parts.headers, SystemTime::now());
            self.asked_to_wait.store(wait.map_or(0, |wait| wait.saturating_add(1)), Ordering::Relaxed);
        }
        let body = Limited::new(body, LARGEST).collect().await?.to_bytes();
        let is_problem = serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_ok();
        if parts.status.as_u16() >= 400 && !is_problem {
            return Err(format!("the authority answers {}", parts.status).into());
        }
        Ok(BytesResponse { parts, body: Box::new(body) })
    }
}

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let client = self.clone();
        Box::pin(async move {
            let uri = request.uri().clone();
            match timeout(PATIENCE, client.ask(request)).await {
                Ok(answer) => answer.map_err(Error::Other),
                Err(_) => {
                    let sentence = format!("{uri} has not answered within {} s", PATIENCE.as_secs());
                    Err(Error::Other(sentence.into()))
                }
            }
        })
    }
}

/// What moves the bytes of a connection; ends with this.
struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// How many seconds an answer asks to wait (RFC 9110 section 10.2.3).
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<u64> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let date = || {
        let date = httpdate::parse_http_date(value).ok()?;
        Some(date.duration_since(now).map_or(0, |wait| wait.as_secs()))
    };
    value.parse().ok().or_else(date)
}

/// Why a handshake failed, with what can be done about the most frequent reason.
fn why(error: &std::io::Error) -> String {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer)) => {
            "its certificate is signed by nobody who is trusted here; name who has signed it under `ca`"
                .to_owned()
        }
        _ => error.to_string(),
    }
}

/// What an error says, with what is behind it.
pub(super) fn sentence(error: &Error) -> String {
    if let Error::Api(problem) = error {
        return of_problem(problem);
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// What an authority says of a problem.
pub(super) fn of_problem(problem: &instant_acme::Problem) -> String {
    let kind = problem.r#type.as_deref().unwrap_or_default();
    let kind = kind.strip_prefix("urn:ietf:params:acme:error:").unwrap_or(kind);
    let detail = problem.detail.as_deref().unwrap_or("no reason given");
    let more: Vec<_> = problem.subproblems.iter().filter_map(|problem| problem.detail.as_deref()).collect();
    let more = if more.is_empty() { String::new() } else { format!(" ({})", more.join("; ")) };
    // Whatever they say, it stays one line of a log.
    let text = format!("{kind}: {detail}{more}");
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(500).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_to_wait_is_read_in_both_forms() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777 - 60);
        let of = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(value));
            retry_after(&headers, now)
        };
        assert_eq!((of("120"), of(" 0 ")), (Some(120), Some(0)));
        assert_eq!(of("Sun, 06 Nov 1994 08:49:37 GMT"), Some(60));
        assert_eq!(of("Sun, 06 Nov 1983 08:49:37 GMT"), Some(0));
        assert_eq!((of("soon"), of("-1")), (None, None));
    }
}
