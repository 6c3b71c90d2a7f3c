//! PEM text (RFC 7468): sections by label, with the line that each begins in.

use rustls_pki_types::pem::{self, SectionKind};

use super::{Fault, Part};

/// What stands between one BEGIN and its END.
pub(super) struct Section {
    /// What it says it is: `CERTIFICATE`.
    pub(super) label: String,
    /// The line of its BEGIN, from 1.
    pub(super) line: usize,
    /// What it holds.
    pub(super) der: Vec<u8>,
    /// True for a key that needs a password.
    pub(super) encrypted: bool,
}

/// The sections of a text, at least one.
pub(super) fn sections(bytes: &[u8], name: &str, part: Part) -> Result<Vec<Section>, Fault> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(Fault::error(part, format!("the file `{name}` is empty"), belongs_here(part)));
    }
    let text = String::from_utf8_lossy(bytes);
    let mut sections = Vec::new();
    let mut open: Option<Open> = None;
    for (number, line) in text.lines().enumerate() {
        let (number, line) = (number + 1, line.trim());
        if let Some(label) = marked(line, "BEGIN") {
            if let Some(open) = open {
                return Err(open.without_end(name, part));
            }
            open = Some(Open { label, line: number, body: String::new(), encrypted: false });
        } else if let Some(label) = marked(line, "END") {
            let Some(ended) = open.take().filter(|open| open.label == label) else {
                let cause = format!("line {number} of `{name}` ends a `{label}` that does not begin");
                return Err(Fault::error(part, cause, "copy the file again, as a whole"));
            };
            sections.push(ended.close(name, part)?);
        } else if let Some(open) = &mut open {
            open.add(line);
        }
    }
    match open {
        Some(open) => Err(open.without_end(name, part)),
        None if sections.is_empty() => Err(no_pem(bytes, name, part)),
        None => Ok(sections),
    }
}

/// The label of `-----BEGIN LABEL-----`.
fn marked(line: &str, word: &str) -> Option<String> {
    let label = line.strip_prefix("-----")?.strip_prefix(word)?.strip_prefix(' ')?.strip_suffix("-----")?;
    Some(label.trim().to_owned())
}

/// A section whose end has not come.
struct Open {
    label: String,
    line: usize,
    body: String,
    encrypted: bool,
}

impl Open {
    fn add(&mut self, line: &str) {
        // Fields such as `Proc-Type: 4,ENCRYPTED` (RFC 1421) stand before the content.
        if line.contains(':') {
            self.encrypted |= line.starts_with("Proc-Type:") && line.contains("ENCRYPTED");
        } else {
            self.body.push_str(line);
            self.body.push('\n');
        }
    }

    fn without_end(self, name: &str, part: Part) -> Fault {
        let Self { label, line, .. } = self;
        let cause =
            format!("the `{label}` that begins in line {line} of `{name}` has no end: the file is cut short");
        Fault::error(part, cause, "copy the file again, as a whole")
    }

    fn close(self, name: &str, part: Part) -> Result<Section, Fault> {
        let Self { label, line, body, encrypted } = self;
        if encrypted {
            return Ok(Section { label, line, der: Vec::new(), encrypted });
        }
        // The decoder knows a few labels only, and treats those of keys with care.
        let known = if label.contains("KEY") { "PRIVATE KEY" } else { "CERTIFICATE" };
        let section = format!("-----BEGIN {known}-----\n{body}-----END {known}-----\n");
        match pem::from_buf(&mut section.as_bytes()) {
            Ok(Some((SectionKind::PrivateKey | SectionKind::Certificate, der))) if !der.is_empty() => {
                let encrypted = label == "ENCRYPTED PRIVATE KEY";
                Ok(Section { label, line, der, encrypted })
            }
            Ok(_) => {
                let cause = format!("the `{label}` that begins in line {line} of `{name}` is empty");
                Err(Fault::error(part, cause, "copy the file again, as a whole"))
            }
            Err(_) => {
                let cause = format!("the `{label}` that begins in line {line} of `{name}` is not base64");
                Err(Fault::error(part, cause, "copy the file again, as a whole and as text"))
            }
        }
    }
}

/// A file without any section: what it may be instead, and how it becomes PEM.
fn no_pem(bytes: &[u8], name: &str, part: Part) -> Fault {
    // DER begins with a sequence; PKCS #12 with one that begins with the number 3 (RFC 7292 section 4).
    if bytes.first() == Some(&0x30) {
        let is_bundle = bytes.windows(3).take(8).any(|window| window == [2, 1, 3]);
        let (form, command) = match part {
            _ if is_bundle => ("PKCS #12", "pkcs12 -nodes"),
            Part::Key => ("DER", "pkey -inform der"),
            _ => ("DER", "x509 -inform der"),
        };
        let cause = format!("the file `{name}` is binary ({form}), not PEM text");
        return Fault::error(
            part,
            cause,
            format!("convert it: `openssl {command} -in {name} -out {name}.pem`"),
        );
    }
    let cause = format!("the file `{name}` is not PEM text: nothing in it begins with `-----BEGIN`");
    Fault::error(part, cause, belongs_here(part))
}

fn belongs_here(part: Part) -> &'static str {
    match part {
        Part::Certificate => "it holds the certificate, followed by those that signed it",
        Part::Key => "it holds the private key of the certificate",
        Part::Ocsp => "it holds the answer of the OCSP server, as DER",
        Part::Authorities => "it holds the certificates of those who sign the others",
    }
}
