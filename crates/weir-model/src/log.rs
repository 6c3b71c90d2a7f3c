//! What is logged: the access log, one line per exchange or connection, and the process's own log.

use std::{fmt, path::PathBuf, sync::Arc};

use crate::template::{Template, Variable};

/// The access log; there is none unless the configuration asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// Where the lines go.
    pub target: LogTarget,
    /// What a line looks like.
    pub format: LogFormat,
    /// Which exchanges are logged.
    pub sample: Sample,
    /// Response fields that a line shows, in lower case.
    pub response_fields: Vec<Box<str>>,
    /// Whether a line shows the identity of a request.
    pub shows_request_id: bool,
}

/// Where log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard output.
    Stdout,
    /// A file, appended to.
    File(PathBuf),
    /// A syslog socket of this host, as the C library's `syslog` writes to it.
    SyslogLocal(PathBuf),
    /// A syslog server by UDP (RFC 5424, RFC 5426): host and port.
    SyslogUdp(Arc<str>, u16),
}

/// As files write it.
impl fmt::Display for LogTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("-"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::SyslogLocal(path) => write!(f, "syslog:{}", path.display()),
            Self::SyslogUdp(host, port) if host.contains(':') => write!(f, "syslog:udp://[{host}]:{port}"),
            Self::SyslogUdp(host, port) => write!(f, "syslog:udp://{host}:{port}"),
        }
    }
}

/// What a line of the access log looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object.
    Json,
    /// The common log format of NCSA httpd.
    Common,
    /// The same with referrer and user agent.
    Combined,
    /// As HAProxy's `option httplog`, and `option tcplog` for connections.
    Httplog,
    /// What the configuration says.
    Template(Template),
}

/// As files write it.
impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json => f.write_str("json"),
            Self::Common => f.write_str("common"),
            Self::Combined => f.write_str("combined"),
            Self::Httplog => f.write_str("httplog"),
            Self::Template(template) => template.fmt(f),
        }
    }
}

impl LogFormat {
    /// Whether a line shows the identity of a request.
    pub(crate) fn shows_request_id(&self) -> bool {
        match self {
            Self::Json => true,
            Self::Template(template) => template.variables().any(|variable| *variable == Variable::RequestId),
            Self::Common | Self::Combined | Self::Httplog => false,
        }
    }

    /// Response fields that a line shows, in lower case.
    pub(crate) fn response_fields(&self) -> Vec<Box<str>> {
        let Self::Template(template) = self else { return Vec::new() };
        let mut names: Vec<_> = template
            .variables()
            .filter_map(|variable| match variable {
                Variable::ResponseHeader(name) => Some(name.clone()),
                _ => None,
            })
            .collect();
        names.sort();
        names.dedup();
        names
    }
}

/// A share of exchanges, drawn one by one: so many in a million.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample(u32);

/// As files write it.
impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", f64::from(self.0) / 10_000.0)
    }
}

impl Sample {
    /// All of them.
    pub const ALL: Self = Self(1_000_000);

    /// So many in a million (0 to 1,000,000).
    pub const fn per_million(count: u32) -> Self {
        if count >= 1_000_000 { Self::ALL } else { Self(count) }
    }

    /// True for [`Sample::ALL`].
    #[inline]
    pub const fn is_all(self) -> bool {
        self.0 == Self::ALL.0
    }

    /// Whether an exchange with this draw, any number spread evenly, is in.
    #[inline]
    pub const fn takes(self, draw: u64) -> bool {
        // Multiply-shift: the draw as a number below a million.
        ((draw as u128 * 1_000_000) >> 64) < self.0 as u128
    }
}

/// The process's own log, on standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessLog {
    /// What is left out.
    pub level: LogLevel,
    /// What a line looks like.
    pub format: ProcessLogFormat,
}

/// How much is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    /// What failed, and what changed.
    #[default]
    Info,
    /// What failed.
    Warn,
}

/// What a line of the process's own log looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProcessLogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

#[cfg(test)]
mod tests {
    use super::Sample;
    use crate::balance::Seed;

    #[test]
    fn samples_take_their_share() {
        assert!(Sample::ALL.takes(u64::MAX) && Sample::ALL.takes(0));
        assert!(!Sample::per_million(0).takes(0));
        let mut seed = Seed::new(1);
        let taken = (0..100_000).filter(|_| Sample::per_million(10_000).takes(seed.next())).count();
        assert!((800..1200).contains(&taken), "{taken}");
    }
}
