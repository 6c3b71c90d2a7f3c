//! Who a client is, by the certificate that it has shown and that was verified.

use std::fmt;

/// A client's certificate, as far as routes, headers and logs speak of it. Nobody makes one of a certificate that was not
/// verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its subject as RFC 4514 writes it: `CN=ops,O=Partner`.
    pub subject: Box<str>,
    /// The names that it is for, in its order.
    pub names: Vec<AlternativeName>,
    /// SHA-256 of the certificate, as 64 hexadecimal digits in lower case.
    pub fingerprint: Box<str>,
}

/// A name that a certificate is for (RFC 5280 section 4.2.1.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlternativeName {
    /// What kind of name it is.
    pub kind: NameKind,
    /// The name; a host in lower case.
    pub text: Box<str>,
}

/// What kind of name it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameKind {
    /// A host.
    Dns,
    /// A URI, such as a SPIFFE identity.
    Uri,
    /// An address of mail.
    Email,
    /// An IP address.
    Ip,
}

impl NameKind {
    /// What stands before a name of this kind.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Dns => "DNS",
            Self::Uri => "URI",
            Self::Email => "email",
            Self::Ip => "IP",
        }
    }
}

/// `DNS:ops.example.com`; a comma or backslash in a name stands behind a backslash.
impl fmt::Display for AlternativeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.kind.word())?;
        for letter in self.text.chars() {
            if matches!(letter, ',' | '\\') {
                f.write_str("\\")?;
            }
            write!(f, "{letter}")?;
        }
        Ok(())
    }
}

impl Identity {
    /// Appends all names, divided by commas.
    pub fn put_names(&self, out: &mut Vec<u8>) {
        use std::io::Write as _;
        for (number, name) in self.names.iter().enumerate() {
            if number > 0 {
                out.push(b',');
            }
            // Writing into a vector cannot fail.
            let _ = write!(out, "{name}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_pass_for_two() {
        let name = |kind, text: &str| AlternativeName { kind, text: text.into() };
        let identity = Identity {
            subject: "CN=a".into(),
            names: vec![name(NameKind::Uri, "spiffe://x/a,DNS:b\\"), name(NameKind::Dns, "c.test")],
            fingerprint: "00".into(),
        };
        let mut out = Vec::new();
        identity.put_names(&mut out);
        assert_eq!(out.escape_ascii().to_string(), r"URI:spiffe://x/a\\,DNS:b\\\\,DNS:c.test");
    }
}
