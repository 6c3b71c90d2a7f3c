//! `tls`: what it says, and what the files hold that it names.

use std::{path::PathBuf, sync::Arc};

use weir_model::{
    draft::{
        AuthoritiesDraft, CertificateDraft, CertificateFiles, ClientAuthDraft, OriginationDraft,
        TerminationDraft, Text,
    },
    problem::{Located, Problem, Severity, Span},
    tls::Version,
};

use super::{Reader, fields::Fields, keys};
use crate::config::{
    certificates::{self, Fault, Part, Purpose},
    yaml::{Node, Value},
};

/// The TLS of a listener.
pub(super) fn termination(reader: &mut Reader, node: &Node) -> Option<TerminationDraft> {
    let fields = reader.fields(node, &keys::TLS)?;
    Some(TerminationDraft {
        certificates: fields.setting(reader, "certificates", |reader, node| {
            let nodes = reader.list(node, "certificates");
            let read = |node| {
                let fields = reader.fields(node, &keys::CERTIFICATE)?;
                if fields.node("cert").is_none() && !fields.strange {
                    let remedy = "write `{ cert: site.pem, key: site.key }`";
                    reader.error(node.span, "the certificate names no file", remedy);
                }
                certificate(reader, &fields, Purpose::Server)
            };
            Some(nodes.iter().filter_map(read).collect())
        }),
        min_version: fields.setting(reader, "min_version", |reader, node| {
            reader.word(node, &[("1.2", Version::Tls12), ("1.3", Version::Tls13)], &[])
        }),
        alpn: fields.setting(reader, "alpn", |reader, node| match &node.value {
            Value::List(items) => Some(items.iter().filter_map(|item| reader.text(item)).collect()),
            _ => Some(vec![reader.text(node)?]),
        }),
        client_auth: fields.setting(reader, "client_auth", client_auth),
    })
}

fn client_auth(reader: &mut Reader, node: &Node) -> Option<ClientAuthDraft> {
    let fields = reader.fields(node, &keys::CLIENT_AUTH)?;
    Some(ClientAuthDraft {
        ca: authorities(reader, &fields, false),
        required: fields.setting(reader, "mode", |reader, node| {
            reader.word(node, &[("require", true), ("optional", false)], &[])
        }),
    })
}

/// The TLS of a pool.
pub(super) fn origination(reader: &mut Reader, node: &Node) -> Option<OriginationDraft> {
    if let Value::Scalar { text, .. } = &node.value
        && text == "none"
    {
        return Some(OriginationDraft { off: true, ..OriginationDraft::default() });
    }
    let fields = reader.fields(node, &keys::POOL_TLS)?;
    if let (Some(key), None, false) = (fields.entry("key"), fields.node("cert"), fields.strange) {
        let cause = "there is a `key` and no `cert` that it belongs to";
        reader.error(key.key.span, cause, "add `cert`, the file of the certificate that backends are shown");
    }
    let place = |key: &str| fields.entry(key).map_or(node.span, |entry| entry.key.span);
    let authorities = authorities(reader, &fields, true);
    let identity = certificate(reader, &fields, Purpose::Client);
    Some(OriginationDraft {
        off: false,
        verify: fields.setting(reader, "verify", Reader::flag),
        authorities: authorities.map(|read| Located::new(read, place("ca"))),
        server_name: fields.text(reader, "sni"),
        identity: identity.map(|read| Located::new(read, place("cert"))),
    })
}

/// The certificate that `cert`, `key` and `ocsp` of a map name; none if there is no `cert`, or if it cannot be used.
pub(super) fn certificate(
    reader: &mut Reader,
    fields: &Fields<'_>,
    purpose: Purpose,
) -> Option<CertificateDraft> {
    let mut text = |key: &str| fields.node(key).map(|_| fields.text(reader, key));
    let (cert, key, ocsp) = (text("cert")?, text("key"), text("ocsp"));
    // What could not be read has been said.
    let (cert, key, ocsp) = (cert?, key.map_or(Some(None), |key| key.map(Some))?, ocsp.flatten());
    let files = CertificateFiles {
        certificate: reader.file(&cert)?,
        key: match &key {
            Some(key) => Some(reader.file(key)?),
            None => None,
        },
        ocsp: ocsp.as_ref().and_then(|ocsp| reader.file(ocsp)),
    };
    let read = certificates::certificate(&files, purpose, reader.place.surroundings.now);
    if read.value.is_none() {
        reader.paths.extend(files.paths().cloned());
    }
    let place = |part: Part| match part {
        Part::Key => key.as_ref().map_or(cert.span, |key| key.span),
        Part::Ocsp => ocsp.as_ref().map_or(cert.span, |ocsp| ocsp.span),
        Part::Certificate | Part::Authorities => cert.span,
    };
    reader.faults(&read.faults, place);
    Some(CertificateDraft { span: cert.span, files, read: Arc::new(read.value?) })
}

/// The authorities that `ca` of a map names, or certificates that count by themselves if they may; none if it is absent, or if
/// they cannot be used.
pub(super) fn authorities(
    reader: &mut Reader,
    fields: &Fields<'_>,
    or_itself: bool,
) -> Option<AuthoritiesDraft> {
    let name = fields.text(reader, "ca")?;
    let file = reader.file(&name)?;
    let read = certificates::authorities(&file, or_itself, reader.place.surroundings.now);
    if read.value.is_none() {
        reader.paths.push(file.clone());
    }
    reader.faults(&read.faults, |_| name.span);
    Some(AuthoritiesDraft { file, read: read.value? })
}

impl Reader {
    /// A file that is read by others. Those that can be used are watched apart, one by one, and those that cannot with the
    /// configuration, which they keep from being taken.
    fn file(&mut self, name: &Text) -> Option<PathBuf> {
        if name.value.is_empty() {
            self.error(name.span, "the path of the file is empty", "write the path of a file");
            return None;
        }
        Some(self.path(&name.value))
    }

    fn faults(&mut self, faults: &[Fault], place: impl Fn(Part) -> Span) {
        for Fault { severity, part, cause, remedy } in faults {
            let problem = match severity {
                Severity::Error => Problem::error(place(*part), cause, remedy),
                Severity::Warning => Problem::warning(place(*part), cause, remedy),
            };
            self.problems.push(problem);
        }
    }
}
