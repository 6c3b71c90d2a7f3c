//! What is asked about: a URL and what goes with it, from the command line or from a query.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use weir_model::{
    balance::Flow,
    listener::{Listener, NameTable, Protocol},
    snapshot::Snapshot,
};

use crate::trouble::{Trouble, instead};

/// What the URL begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// A request in clear text.
    Http,
    /// A request through TLS.
    Https,
    /// A connection.
    Tcp,
}

impl Scheme {
    const fn word(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Tcp => "tcp",
        }
    }

    const fn port(self) -> Option<u16> {
        match self {
            Self::Http => Some(80),
            Self::Https => Some(443),
            Self::Tcp => None,
        }
    }
}

/// A request or connection to be explained.
#[derive(Clone, Debug)]
pub struct Question {
    /// What the URL begins with.
    pub scheme: Scheme,
    /// Host and port as the URL has them.
    pub authority: String,
    /// Path and query as the URL has them; `/` if it has neither.
    pub target: String,
    /// The method.
    pub method: String,
    /// Header fields beside Host, unless they name another Host.
    pub headers: Vec<(String, String)>,
    /// Who asks: the peer of the connection.
    pub source: SocketAddr,
    /// The name in the ClientHello.
    pub sni: Option<String>,
    /// The listener, where the URL does not say it.
    pub listener: Option<String>,
}

/// What may be said beside the URL; everything is optional.
#[derive(Clone, Debug, Default)]
pub struct Particulars {
    /// The method; GET unless given.
    pub method: Option<String>,
    /// `Name: value`.
    pub headers: Vec<String>,
    /// An address, with or without port; 127.0.0.1 unless given.
    pub source: Option<String>,
    /// The name in the ClientHello.
    pub sni: Option<String>,
    /// The name of a listener.
    pub listener: Option<String>,
}

impl Question {
    /// A question about a URL.
    ///
    /// # Errors
    /// What cannot be understood.
    pub fn new(url: &str, particulars: Particulars) -> Result<Self, Trouble> {
        const FORM: &str = "write it as http://HOST/PATH, https://HOST/PATH or tcp://ADDRESS:PORT";
        let no_url = || Trouble::new(format!("`{}` is not a URL to explain", url.escape_debug()), FORM);
        let (scheme, rest) = url.split_once("://").ok_or_else(no_url)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            "tcp" => Scheme::Tcp,
            _ => return Err(no_url()),
        };
        // A fragment never leaves the client.
        let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.is_empty() || url.bytes().any(|byte| byte.is_ascii_control()) {
            return Err(no_url());
        }
        let target = match target.chars().next() {
            None => "/".to_owned(),
            Some('?') => format!("/{target}"),
            Some(_) => target.to_owned(),
        };
        let headers = particulars.headers.iter().map(|text| header(text)).collect::<Result<_, _>>()?;
        let method = particulars.method.unwrap_or_else(|| "GET".into());
        if method.bytes().any(|byte| !byte.is_ascii_graphic()) {
            return Err(Trouble::new(
                format!("`{}` is not a method", method.escape_debug()),
                "write GET or POST",
            ));
        }
        Ok(Self {
            scheme,
            authority: authority.into(),
            target,
            method,
            headers,
            source: particulars.source.as_deref().map_or_else(|| Ok(nobody()), source)?,
            sni: particulars.sni,
            listener: particulars.listener,
        })
    }

    /// A question as it stands in the query of `GET /api/explain`.
    ///
    /// # Errors
    /// What cannot be understood.
    pub fn from_query(query: &str) -> Result<Self, Trouble> {
        let (mut url, mut particulars) = (None, Particulars::default());
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            let value = value.into_owned();
            match &*key {
                "url" => url = Some(value),
                "method" => particulars.method = Some(value),
                "header" => particulars.headers.push(value),
                "source" => particulars.source = Some(value),
                "sni" => particulars.sni = Some(value),
                "listener" => particulars.listener = Some(value),
                _ => {
                    let cause = format!("`{}` is not a parameter of explain", key.escape_debug());
                    return Err(Trouble::new(cause, "there are url, method, header, source, sni, listener"));
                }
            }
        }
        let missing =
            || Trouble::new("there is no `url` to explain", "add `?url=http%3A%2F%2Fexample.com%2F`");
        Self::new(&url.ok_or_else(missing)?, particulars)
    }

    /// The query of `GET /api/explain` that asks this.
    pub fn to_query(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let url = format!("{}://{}{}", self.scheme.word(), self.authority, self.target);
        query.append_pair("url", &url).append_pair("method", &self.method);
        for (name, value) in &self.headers {
            query.append_pair("header", &format!("{name}: {value}"));
        }
        query.append_pair("source", &self.source.to_string());
        for (key, value) in [("sni", &self.sni), ("listener", &self.listener)] {
            if let Some(value) = value {
                query.append_pair(key, value);
            }
        }
        query.finish()
    }

    /// The head of the request, as the client would send it.
    pub fn head(&self) -> Vec<u8> {
        let target = if self.method == "CONNECT" { &self.authority } else { &self.target };
        let mut head = format!("{} {target} HTTP/1.1\r\n", self.method);
        let named = self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host"));
        if !named {
            let usual = self.scheme.port().map(|port| format!(":{port}")).unwrap_or_default();
            let host = self.authority.strip_suffix(&usual).unwrap_or(&self.authority);
            head.push_str(&format!("Host: {host}\r\n"));
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    /// Both ends of the connection that it comes on, as far as the question names them.
    pub fn flow(&self) -> Flow {
        let ends = self.address().zip(self.port());
        Flow { source: self.source, destination: ends.map(SocketAddr::from) }
    }

    /// The host that the client asks for when it begins TLS: the one that was given, or that of an `https` URL unless it is
    /// an address, as browsers do.
    pub fn server_name(&self) -> Option<String> {
        let given = self.sni.as_deref().filter(|name| !name.is_empty());
        let of_url = || match (self.scheme, self.address()) {
            (Scheme::Https, None) if self.sni.is_none() => {
                Some(self.authority.split(':').next().unwrap_or_default())
            }
            _ => None,
        };
        let name = given.or_else(of_url)?;
        Some(name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase())
    }

    /// The port of the URL, or the scheme's own.
    fn port(&self) -> Option<u16> {
        self.written_port().or(self.scheme.port())
    }

    fn written_port(&self) -> Option<u16> {
        let (host, port) = self.authority.rsplit_once(':')?;
        // The colons of an address without brackets are none of a port.
        let is_bare = host.contains(':') && !host.ends_with(']');
        port.parse().ok().filter(|_| !is_bare)
    }

    /// The host of the URL, if it is an address.
    fn address(&self) -> Option<IpAddr> {
        let host = match (self.written_port(), self.authority.rsplit_once(':')) {
            (Some(_), Some((host, _))) => host,
            _ => &self.authority,
        };
        host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host).parse().ok()
    }

    /// The listener that it comes to: the one that is named, else the one whose bind the URL leads to, else the only
    /// one there is if the URL names no port.
    ///
    /// # Errors
    /// If none or several could be meant.
    pub fn listener<'s>(&self, snapshot: &'s Snapshot) -> Result<&'s Arc<Listener>, Trouble> {
        let speaks = |listener: &&Arc<Listener>| match self.scheme {
            Scheme::Http => listener.protocol == Protocol::Http,
            Scheme::Https => matches!(listener.protocol, Protocol::Https | Protocol::Tls),
            Scheme::Tcp => matches!(listener.protocol, Protocol::Tcp | Protocol::Tls),
        };
        let all: Vec<_> = snapshot.listeners.iter().filter(speaks).collect();
        if let Some(name) = &self.listener {
            let found = all.iter().find(|listener| &*listener.name == name.as_str()).copied();
            return found.ok_or_else(|| {
                let names = snapshot.listeners.iter().map(|listener| &*listener.name);
                if names.clone().any(|listener| listener == name.as_str()) {
                    let cause = format!("the listener `{name}` does not speak {}", self.scheme.word());
                    return Trouble::new(cause, listed(&all, snapshot));
                }
                Trouble::new(format!("there is no listener `{name}`"), instead(name, names))
            });
        }
        // The system gives a connection to who is bound to its very address, before those who are bound to every one.
        let exact = snapshot.listeners.iter().any(|listener| self.names_bind_of(listener));
        let leads_to =
            |listener: &Listener| if exact { self.names_bind_of(listener) } else { self.leads_to(listener) };
        let bound: Vec<_> = all.iter().filter(|listener| leads_to(listener)).copied().collect();
        if bound.iter().any(|listener| !listener.sni.is_empty()) {
            return self.named(&bound);
        }
        match (&bound[..], &all[..]) {
            ([only], _) => Ok(only),
            ([], [only]) if self.written_port().is_none() => Ok(only),
            ([], _) => {
                let port = self.port().map(|port| format!(" port {port}")).unwrap_or_default();
                let cause =
                    format!("no {} listener is bound to{port} of `{}`", self.scheme.word(), self.authority);
                Err(Trouble::new(cause, listed(&all, snapshot)))
            }
            _ => {
                let cause = format!("several listeners could be meant by `{}`", self.authority);
                Err(Trouble::new(cause, listed(&bound, snapshot)))
            }
        }
    }

    /// Which listener of an address takes the name that the client asks for when it begins TLS.
    fn named<'s>(&self, bound: &[&'s Arc<Listener>]) -> Result<&'s Arc<Listener>, Trouble> {
        let name = self.server_name();
        let table = NameTable::new(bound.iter().map(|listener| &*listener.sni));
        let found = table.find(name.as_deref()).and_then(|place| bound.get(place));
        found.copied().ok_or_else(|| {
            let asked = name.map_or_else(|| "no name".to_owned(), |name| format!("the name `{name}`"));
            let cause = format!("no listener of `{}` takes a client that asks for {asked}", self.authority);
            Trouble::new(cause, "the TLS alert `unrecognized_name` ends it; add the name to `sni`, or give another with --sni")
        })
    }

    /// True if the URL names an address, and the listener is bound to just that one.
    fn names_bind_of(&self, listener: &Listener) -> bool {
        let mut bound = listener.binds.iter().filter_map(|bind| bind.address.ip());
        self.address().is_some_and(|address| {
            bound.any(|bound| bound.ip() == address && self.port() == Some(bound.port()))
        })
    }

    fn leads_to(&self, listener: &Listener) -> bool {
        listener.binds.iter().filter_map(|bind| bind.address.ip()).any(|bound| {
            let same_host = self.address().is_none_or(|address| {
                bound.ip() == address
                    || bound.ip().is_unspecified() && bound.is_ipv4() == address.to_canonical().is_ipv4()
            });
            same_host && self.port() == Some(bound.port())
        })
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, authority, target, method, source, .. } = self;
        match scheme {
            Scheme::Tcp => write!(f, "tcp://{authority} from {source}"),
            scheme => write!(f, "{method} {}://{authority}{target} from {}", scheme.word(), source.ip()),
        }
    }
}

const fn nobody() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0)
}

fn header(text: &str) -> Result<(String, String), Trouble> {
    let wrong =
        || Trouble::new(format!("`{}` is not a header field", text.escape_debug()), "write `Name: value`");
    let (name, value) = text.split_once(':').ok_or_else(wrong)?;
    if name.is_empty() || text.contains(['\r', '\n', '\0']) {
        return Err(wrong());
    }
    Ok((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()))
}

fn source(text: &str) -> Result<SocketAddr, Trouble> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let without_port = bare.parse().ok().map(|address| SocketAddr::new(address, 0));
    without_port.or_else(|| text.parse().ok()).ok_or_else(|| {
        let cause = format!("`{}` is not the address of a client", text.escape_debug());
        Trouble::new(cause, "write `192.0.2.7` or `192.0.2.7:5555`")
    })
}

/// What may be asked for, as a remedy.
fn listed(listeners: &[&Arc<Listener>], snapshot: &Snapshot) -> String {
    let one = |listener: &&Arc<Listener>| {
        let binds: Vec<_> = listener.binds.iter().map(|bind| bind.address.to_string()).collect();
        format!("`{}` ({})", listener.name, binds.join(", "))
    };
    match listeners {
        [] => {
            let all = snapshot.listeners.iter();
            let all: Vec<_> = all.map(|one| format!("`{}` ({})", one.name, one.protocol.word())).collect();
            format!("ask for one that there is, by its own scheme: {}", all.join(", "))
        }
        _ => {
            let all: Vec<_> = listeners.iter().map(one).collect();
            format!("name one with --listener: {}", all.join(", "))
        }
    }
}
