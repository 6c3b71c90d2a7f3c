//! Everything about a request that could be read in two ways is refused; what it means is noted.

use weir_model::listener::{Listener, ListenerLimits, Protocol};

use super::{BodyLength, RequestHead, Text, parse_length};
use crate::{
    error::{Cause, ProxyError},
    http::{
        lines::{Lines, Span},
        names::{ConnectionOptions, Name, members},
        path, target,
    },
};

impl RequestHead {
    /// Judges `head`, which was parsed before.
    pub(crate) fn judge(&mut self, head: &[u8], listener: &Listener) -> Result<(), ProxyError> {
        let method = self.method.of(head);
        if method == b"CONNECT" || method == b"TRACE" {
            return self.judge_connect(head, listener);
        }
        self.idempotent = matches!(method, b"GET" | b"HEAD" | b"OPTIONS" | b"PUT" | b"DELETE");
        let authority = self.judge_target(head, listener)?;
        self.judge_fields(head, authority, &listener.limits)
    }

    /// CONNECT is for routes that name it, and its target is a host and a port (RFC 9112 section 3.2.3).
    #[cold]
    fn judge_connect(&mut self, head: &[u8], listener: &Listener) -> Result<(), ProxyError> {
        if self.method.of(head) != b"CONNECT" || self.http10 || !listener.routes.names_connect() {
            return Err(Cause::ClientMethodRefused.into());
        }
        let target = self.target.of(head);
        let port = target.iter().rposition(|byte| *byte == b':').map(|colon| &target[colon + 1..]);
        // An encoded host cannot be said as the authority of HTTP/2, and nobody has one.
        let plain = !target.contains(&b'%');
        if !plain || !port.is_some_and(|port| !port.is_empty() && port.iter().all(u8::is_ascii_digit)) {
            return Err(ProxyError::with(Cause::ClientBadTarget, "CONNECT names a host and a port"));
        }
        self.judge_fields(head, Some(self.target), &listener.limits)?;
        if self.body != BodyLength::None {
            return Err(ProxyError::with(Cause::ClientAmbiguousLength, "CONNECT has no content"));
        }
        // What comes behind it may be meant for the tunnel, whatever becomes of that.
        self.keep_alive = false;
        self.expects_continue = false;
        self.upgrade = None;
        self.connect = true;
        Ok(())
    }

    /// Returns the authority of an absolute target.
    fn judge_target(&mut self, head: &[u8], listener: &Listener) -> Result<Option<Span>, ProxyError> {
        let (normalize, secure) = (listener.normalize, listener.protocol == Protocol::Https);
        let options = self.method.of(head) == b"OPTIONS";
        let target = target::split(self.target.of(head), options, secure, normalize)?;
        self.query = target.query.map(|query| Span::within(head, query));
        let tidied = if target.untidy { path::tidy(target.path, normalize)? } else { None };
        self.path = match tidied {
            Some(path) => Text::Own(path),
            // The path of `http://host` is a slash that stands nowhere in the head, or the asterisk of OPTIONS.
            None if target.authority.is_some() && matches!(target.path, b"/" | b"*") => {
                Text::Own(target.path.to_vec())
            }
            None => Text::Head(Span::within(head, target.path)),
        };
        Ok(target.authority.map(|authority| Span::within(head, authority)))
    }

    fn judge_fields(
        &mut self,
        head: &[u8],
        authority: Option<Span>,
        limits: &ListenerLimits,
    ) -> Result<(), ProxyError> {
        let (mut host, mut length, mut chunked, mut upgrade) = (None, None, false, None);
        let (mut options, mut upgrades) = (ConnectionOptions::default(), 0);
        for line in self.lines.marked() {
            let value = line.value.of(head);
            match line.kind {
                Name::Host if host.is_some() => {
                    return Err(ProxyError::with(Cause::ClientBadHost, "more than one Host"));
                }
                Name::Host => host = Some(line.value),
                Name::ContentLength if length.is_some() => {
                    return Err(ProxyError::with(
                        Cause::ClientAmbiguousLength,
                        "more than one Content-Length",
                    ));
                }
                Name::ContentLength => length = Some(parse_length(value)?),
                Name::TransferEncoding => {
                    if chunked || self.http10 || !value.eq_ignore_ascii_case(b"chunked") {
                        return Err(Cause::ClientBadTransferEncoding.into());
                    }
                    chunked = true;
                }
                Name::Connection => options.read(value, |name| self.nominated.push(Span::within(head, name))),
                Name::Upgrade => {
                    upgrade = Some(line.value);
                    upgrades += 1;
                }
                Name::Expect if value.eq_ignore_ascii_case(b"100-continue") => {
                    self.expects_continue = !self.http10;
                }
                Name::Expect => return Err(Cause::ClientBadExpectation.into()),
                Name::MaxForwards => self.hops = hops(self.method.of(head), &self.lines, head),
                _ => {}
            }
        }
        self.body = match (length, chunked) {
            (Some(_), true) => {
                return Err(ProxyError::with(
                    Cause::ClientAmbiguousLength,
                    "Content-Length and Transfer-Encoding together",
                ));
            }
            (Some(length), false) if length > limits.body => return Err(Cause::ClientBodyTooLarge.into()),
            (Some(length), false) if length > 0 => BodyLength::Length(length),
            (None, true) => BodyLength::Chunked,
            (None, false) if self.streamed == Some(true) => BodyLength::Chunked,
            (_, false) => BodyLength::None,
        };
        self.keep_alive = options.keep_alive(self.http10);
        // Two Upgrade fields are one list: too unusual to be worth a tunnel.
        let may_upgrade = options.upgrade && upgrades == 1 && !self.http10 && self.body == BodyLength::None;
        self.upgrade = upgrade.filter(|asked| may_upgrade && upgrade_is_served(asked.of(head)));
        self.judge_host(head, host, authority)
    }

    /// RFC 9112 section 3.2: exactly one Host; an absolute target overrides it.
    fn judge_host(
        &mut self,
        head: &[u8],
        host: Option<Span>,
        authority: Option<Span>,
    ) -> Result<(), ProxyError> {
        if host.is_none() && !self.http10 {
            return Err(ProxyError::with(Cause::ClientBadHost, "no Host"));
        }
        if host.is_none() && authority.is_none() {
            self.host.clear();
            self.known.clear();
        }
        for authority in host.into_iter().chain(authority) {
            self.authority = authority;
            self.name_host(authority.of(head))?;
        }
        Ok(())
    }

    fn name_host(&mut self, authority: &[u8]) -> Result<(), ProxyError> {
        if !self.known.is_empty() && self.known == authority {
            return Ok(());
        }
        self.host.clear();
        self.known.clear();
        target::host_of(authority, &mut self.host)?;
        self.known.extend_from_slice(authority);
        Ok(())
    }
}

/// HTTP/2 in clear text is never tunnelled: the backend would read requests that nobody routed.
fn upgrade_is_served(protocols: &[u8]) -> bool {
    members(protocols).next().is_some()
        && !members(protocols).any(|protocol| protocol.to_ascii_lowercase().starts_with(b"h2"))
}

/// How often the request may be passed on, if it is one that can be answered on its way and says one number. TRACE is never
/// passed on.
#[cold]
fn hops(method: &[u8], lines: &Lines, head: &[u8]) -> Option<u64> {
    let mut said = lines.of_kind(Name::MaxForwards).map(|line| line.value.of(head));
    let value = said.next().filter(|value| method == b"OPTIONS" && !value.is_empty())?;
    let digits = value.iter().all(u8::is_ascii_digit) && said.next().is_none();
    // More than can be counted is as often as anybody will.
    digits.then(|| parse_length(value).unwrap_or(u64::MAX))
}
