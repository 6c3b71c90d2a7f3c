//! Who a client is: its certificate in words. Read only where a route, a header or a log asks for it, and once for each
//! connection.

use aws_lc_rs::digest;
use std::{fmt::Write as _, net::IpAddr};

use weir_model::tls::{AlternativeName, Identity, NameKind};
use x509_parser::{
    certificate::X509Certificate,
    extensions::GeneralName,
    prelude::FromDer as _,
    x509::{AttributeTypeAndValue, X509Name},
};

/// What a certificate says, which was verified before; none if it cannot be read, which then says nothing.
pub(super) fn identity(der: &[u8]) -> Option<Identity> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let alternatives = certificate.subject_alternative_name().ok().flatten();
    let names = alternatives.iter().flat_map(|names| &names.value.general_names).filter_map(name);
    let mut fingerprint = String::with_capacity(64);
    for byte in digest::digest(&digest::SHA256, der).as_ref() {
        // Writing into a text cannot fail.
        let _ = write!(fingerprint, "{byte:02x}");
    }
    Some(Identity {
        subject: subject(certificate.subject()).into(),
        names: names.collect(),
        fingerprint: fingerprint.into(),
    })
}

fn name(name: &GeneralName<'_>) -> Option<AlternativeName> {
    let (kind, text) = match name {
        GeneralName::DNSName(name) => (NameKind::Dns, name.to_ascii_lowercase()),
        GeneralName::URI(uri) => (NameKind::Uri, (*uri).to_owned()),
        GeneralName::RFC822Name(mailbox) => (NameKind::Email, (*mailbox).to_owned()),
        GeneralName::IPAddress(bytes) => (NameKind::Ip, address(bytes)?.to_string()),
        _ => return None,
    };
    Some(AlternativeName { kind, text: text.into() })
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// A name as RFC 4514 writes it: the last part first, and nothing in a value that could pass for another part.
fn subject(name: &X509Name<'_>) -> String {
    let mut out = String::new();
    let parts: Vec<_> = name.iter().collect();
    for part in parts.into_iter().rev() {
        if !out.is_empty() {
            out.push(',');
        }
        for (number, attribute) in part.iter().enumerate() {
            if number > 0 {
                out.push('+');
            }
            put_attribute(attribute, &mut out);
        }
    }
    out
}

/// The short names of RFC 4514 section 3, and that of mail, which everybody knows.
const TYPES: [(&str, &str); 10] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.6", "C"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

fn put_attribute(attribute: &AttributeTypeAndValue<'_>, out: &mut String) {
    let oid = attribute.attr_type().to_id_string();
    let short = TYPES.iter().find(|(known, _)| *known == oid);
    out.push_str(short.map_or(&oid, |(_, short)| short));
    out.push('=');
    match attribute.as_str() {
        Ok(text) if short.is_some() => put_value(text, out),
        // What is no text, or of a kind that is not known, is written as it is encoded.
        _ => {
            out.push('#');
            for byte in attribute.attr_value().data {
                let _ = write!(out, "{byte:02x}");
            }
        }
    }
}

/// RFC 4514 section 2.4.
fn put_value(text: &str, out: &mut String) {
    let last = text.chars().count().saturating_sub(1);
    for (place, letter) in text.chars().enumerate() {
        let at_edge = (place == 0 && matches!(letter, ' ' | '#')) || (place == last && letter == ' ');
        match letter {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => {
                out.push('\\');
                out.push(letter);
            }
            letter if at_edge => {
                out.push('\\');
                out.push(letter);
            }
            letter if letter.is_control() => {
                let mut bytes = [0; 4];
                for byte in letter.encode_utf8(&mut bytes).bytes() {
                    let _ = write!(out, "\\{byte:02x}");
                }
            }
            letter => out.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_value_passes_for_another_part() {
        let written = |text: &str| {
            let mut out = String::new();
            put_value(text, &mut out);
            out
        };
        for (text, expected) in [
            ("ops", "ops"),
            ("a,CN=admin", r"a\,CN=admin"),
            ("a+b=c", r"a\+b=c"),
            (" # ", r"\ #\ "),
            ("#1", r"\#1"),
            ("a\r\nX-Admin: 1", r"a\0d\0aX-Admin: 1"),
            ("\u{85}", r"\c2\85"),
            ("Ümläut", "Ümläut"),
            (" ", r"\ "),
            ("", ""),
        ] {
            assert_eq!(written(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_no_certificate_is_nobody() {
        assert_eq!(identity(b""), None);
        assert_eq!(identity(b"0\x82\x01\x00"), None);
    }
}
