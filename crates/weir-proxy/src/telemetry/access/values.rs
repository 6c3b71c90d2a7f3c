//! The value of each variable of a template.

use std::io::Write as _;

use weir_model::{
    pool::Endpoint,
    route,
    template::{Values, Variable},
};

use super::{record::Record, termination};
use crate::telemetry::time;

/// Appends a whole number.
pub(super) fn put_number(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends microseconds as seconds with six decimals.
pub(super) fn put_seconds(micros: u64, out: &mut Vec<u8>) {
    put_number(micros / 1_000_000, out);
    let mut digits = *b".000000";
    let mut rest = micros % 1_000_000;
    for digit in digits[1..].iter_mut().rev() {
        *digit += (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(&digits);
}

/// Appends where a backend is, as configured.
pub(super) fn put_endpoint(endpoint: &Endpoint, out: &mut Vec<u8>) {
    // Writing into a vector cannot fail.
    let _ = write!(out, "{endpoint}");
}

impl Record<'_> {
    fn put_request(&self, variable: &Variable, out: &mut Vec<u8>) {
        let Some(request) = &self.request else { return };
        let value = match variable {
            Variable::Request => request.line,
            Variable::Method => request.parts().0,
            Variable::Scheme if self.tls.secure => b"https",
            Variable::Scheme => b"http",
            Variable::Host => request.host,
            Variable::Target => request.parts().1,
            Variable::Path => request.path,
            Variable::Query => request.query,
            Variable::Header(name) => request.field(name),
            Variable::Cookie(name) => {
                route::cookie(request.field("cookie"), name.as_bytes()).unwrap_or_default()
            }
            Variable::Parameter(name) => route::parameter(request.query, name.as_bytes()).unwrap_or_default(),
            _ => b"",
        };
        out.extend_from_slice(value);
    }

    fn put_tls(&self, variable: &Variable, out: &mut Vec<u8>) {
        match variable {
            Variable::TlsVersion => out.extend_from_slice(self.tls.version().as_bytes()),
            Variable::TlsCipher => out.extend_from_slice(self.tls.cipher().as_bytes()),
            Variable::Sni => out.extend_from_slice(self.tls.server_name().unwrap_or_default().as_bytes()),
            Variable::Alpn => {
                for (number, name) in self.tls.protocols().enumerate() {
                    if number > 0 {
                        out.push(b',');
                    }
                    out.extend_from_slice(name);
                }
            }
            _ => {}
        }
        let Some(client) = self.tls.identity() else { return };
        match variable {
            Variable::ClientCertSubject => out.extend_from_slice(client.subject.as_bytes()),
            Variable::ClientCertSan => client.put_names(out),
            Variable::ClientCertFingerprint => out.extend_from_slice(client.fingerprint.as_bytes()),
            _ => {}
        }
    }

    fn put_time(&self, time: Option<u64>, out: &mut Vec<u8>) {
        if let Some(micros) = time {
            put_seconds(micros, out);
        }
    }

    fn put_outcome(&self, variable: &Variable, out: &mut Vec<u8>) {
        let last = self.last_attempt();
        match variable {
            Variable::Status if self.status > 0 => put_number(u64::from(self.status), out),
            Variable::GrpcStatus => {
                if let Some(status) = self.grpc_status {
                    put_number(u64::from(status), out);
                }
            }
            Variable::Backend => out.extend_from_slice(self.backend_name().as_bytes()),
            Variable::BackendAddress => {
                if let Some(backend) = self.backend() {
                    put_endpoint(&backend.endpoint, out);
                }
            }
            Variable::ResponseHeader(name) => {
                let field = self.response.and_then(|fields| fields.first(name));
                out.extend_from_slice(field.unwrap_or_default());
            }
            Variable::Cause => {
                out.extend_from_slice(self.error.map_or("", |error| error.cause.code()).as_bytes());
            }
            Variable::Sentence => {
                if let Some(error) = self.error {
                    let _ = write!(out, "{error}");
                }
            }
            Variable::TerminationState => out.extend_from_slice(&termination::state(self)),
            Variable::Attempts => put_number(self.attempts.len() as u64, out),
            Variable::Retries => put_number(self.retries() as u64, out),
            Variable::HeadTime => {
                self.put_time(self.request.is_some().then_some(self.head_time), out);
            }
            Variable::QueueTime => self.put_time(last.and_then(|last| last.queue_time()), out),
            Variable::ConnectTime => {
                self.put_time(last.filter(|last| !last.reused).and_then(|last| last.connect_time()), out);
            }
            Variable::ResponseTime => self.put_time(last.and_then(|last| last.response_time()), out),
            Variable::Duration => put_seconds(self.duration, out),
            Variable::BytesIn => put_number(self.bytes_in, out),
            Variable::BytesOut => put_number(self.bytes_out, out),
            Variable::BodyBytesOut => put_number(self.body_bytes_out, out),
            _ => {}
        }
    }

    /// `HTTP/1.1` and the like, or `TCP`; empty for a request that did not say.
    pub(super) fn protocol(&self) -> &[u8] {
        self.request.map_or(b"TCP", |request| request.parts().2)
    }
}

impl Values for Record<'_> {
    fn put(&self, variable: &Variable, out: &mut Vec<u8>) {
        match variable {
            Variable::ClientAddress => out.extend_from_slice(self.client.as_bytes()),
            Variable::ClientPort if self.is_direct() => put_number(u64::from(self.peer_port), out),
            Variable::PeerAddress => out.extend_from_slice(self.peer.as_bytes()),
            Variable::Listener => out.extend_from_slice(self.listener.as_bytes()),
            Variable::Route => out.extend_from_slice(self.route.as_bytes()),
            Variable::Pool => out.extend_from_slice(self.pool_name().as_bytes()),
            Variable::Time => time::put_rfc3339(self.began, out),
            Variable::TimeClf => {
                time::put_clf(self.began, out);
                out.extend_from_slice(b" +0000");
            }
            Variable::TimeUnix => time::put_unix(self.began, out),
            Variable::Protocol => out.extend_from_slice(self.protocol()),
            Variable::RequestId => out.extend_from_slice(self.request_id),
            Variable::Request
            | Variable::Method
            | Variable::Scheme
            | Variable::Host
            | Variable::Target
            | Variable::Path
            | Variable::Query
            | Variable::Header(_)
            | Variable::Cookie(_)
            | Variable::Parameter(_) => self.put_request(variable, out),
            Variable::TlsVersion
            | Variable::TlsCipher
            | Variable::Sni
            | Variable::Alpn
            | Variable::ClientCertSubject
            | Variable::ClientCertSan
            | Variable::ClientCertFingerprint => self.put_tls(variable, out),
            _ => self.put_outcome(variable, out),
        }
    }
}
