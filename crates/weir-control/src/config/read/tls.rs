//! `tls`: what it says, and what the files hold that it names.

use std::{path::PathBuf, sync::Arc};

use weir_model::{
    acme::{Challenge, label},
    draft::{
        AcmeDraft, AuthoritiesDraft, CertificateDraft, CertificateFiles, ClientAuthDraft, OriginationDraft,
        TerminationDraft, Text,
    },
    problem::{Located, Problem, Severity, Span},
    tls::Version,
};

use super::{Reader, fields::Fields, keys};
use crate::{
    acme::placeholder,
    config::{
        certificates::{self, Fault, Part, Purpose},
        yaml::{Node, Value},
    },
};

/// The TLS of a listener.
pub(super) fn termination(reader: &mut Reader, node: &Node) -> Option<TerminationDraft> {
    let fields = reader.fields(node, &keys::TLS)?;
    let mut draft = TerminationDraft {
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
        acme: fields.setting(reader, "acme", acme),
    };
    issued(reader, &mut draft);
    Some(draft)
}

fn acme(reader: &mut Reader, node: &Node) -> Option<AcmeDraft> {
    let fields = reader.fields(node, &keys::ACME)?;
    let before = reader.problems.len();
    let draft = AcmeDraft {
        directory: fields.text(reader, "directory"),
        email: fields.text(reader, "email"),
        domains: fields.setting(reader, "domains", |reader, node| match &node.value {
            Value::List(items) => Some(items.iter().filter_map(|item| reader.text(item)).collect()),
            _ => Some(vec![reader.text(node)?]),
        }),
        storage: fields.setting(reader, "storage", |reader, node| {
            let name = reader.text(node)?;
            if name.value.is_empty() {
                reader.error(name.span, "the path of the folder is empty", "write the path of a folder");
                return None;
            }
            Some(reader.path(&name.value))
        }),
        challenge: fields.setting(reader, "challenge", |reader, node| {
            let words =
                [Challenge::Http01, Challenge::TlsAlpn01].map(|challenge| (challenge.word(), challenge));
            reader.word(node, &words, &[])
        }),
        ca: authorities(reader, &fields, true),
        broken: false,
    };
    // It belongs to nothing that is watched apart.
    reader.paths.extend(draft.ca.as_ref().map(|ca| ca.file.clone()));
    Some(AcmeDraft { broken: reader.problems.len() > before || fields.strange, ..draft })
}

/// Adds the certificate that was issued; until there is one, a placeholder, whose file is watched like that of any other.
fn issued(reader: &mut Reader, draft: &mut TerminationDraft) {
    let Some(Located { value: acme, span }) = &draft.acme else { return };
    let (Some(directory), Some(domains), Some(storage)) = (&acme.directory, &acme.domains, &acme.storage)
    else {
        return;
    };
    let names: Vec<_> = domains.value.iter().map(|name| name.value.as_str()).collect();
    let Some(label) = label(&directory.value, names.iter().copied()).filter(|_| !acme.broken) else { return };
    let path = weir_model::acme::certificate(&storage.value, &label);
    let files = CertificateFiles { certificate: path.clone(), ..CertificateFiles::default() };
    let mut read = None;
    if path.exists() {
        let found = certificates::certificate(&files, Purpose::Server, reader.place.surroundings.now);
        // What cannot be used is issued anew, and what is over is renewed: neither is a mistake in the file.
        for fault in found.faults {
            reader.problems.push(Problem::warning(
                *span,
                fault.cause,
                "it is replaced by the next one that is issued",
            ));
        }
        read = found.value.map(Arc::new);
    }
    let others = draft.certificates.as_ref().is_some_and(|others| !others.value.is_empty());
    let read = read.or_else(|| placeholder(&label, &names, !others));
    let own = read.map(|read| CertificateDraft { span: *span, files, read });
    let certificates = draft.certificates.get_or_insert_with(|| Located::new(Vec::new(), *span));
    certificates.value.extend(own);
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
