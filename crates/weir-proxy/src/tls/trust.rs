//! Whether the certificate of a backend is believed, and why not in plain words.

use std::{io, net::IpAddr, sync::Arc};

use rustls::{
    AlertDescription, CertificateError, DigitallySignedStruct, Error, InvalidMessage, RootCertStore,
    SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};

use super::{Carries, Failure, session::said};
use crate::{
    error::{Cause, ProxyError},
    telemetry::timestamp,
};

/// Believes certificates that an authority has signed, and those that are named as authorities themselves.
#[derive(Debug)]
pub(super) struct Verified {
    signed: Arc<WebPkiServerVerifier>,
    /// Certificates that may be shown as they are: one that somebody has signed for itself often says that it is an authority,
    /// which no other rule lets a server show.
    named: Vec<CertificateDer<'static>>,
}

impl Verified {
    /// The authorities, and the same as certificates.
    pub(super) fn new(
        roots: Arc<RootCertStore>,
        named: Vec<CertificateDer<'static>>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let signed = WebPkiServerVerifier::builder_with_provider(roots, provider.clone()).build();
        Ok(Self { signed: signed.map_err(|error| error.to_string())?, named })
    }
}

impl ServerCertVerifier for Verified {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let judged =
            self.signed.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match judged {
            // Its time has been looked at before this.
            Err(error) if may_be_named(&error) && self.named.iter().any(|named| named == end_entity) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            judged => judged,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signed.supported_verify_schemes()
    }
}

/// True if there is nothing against a certificate but who has signed it.
fn may_be_named(error: &Error) -> bool {
    matches!(error, Error::InvalidCertificate(CertificateError::UnknownIssuer)) || is_authority(error)
}

/// True if a certificate was refused because it is that of an authority.
fn is_authority(error: &Error) -> bool {
    // The library wraps the error of its verifier, whose type is not part of what it shows.
    matches!(error, Error::InvalidCertificate(CertificateError::Other(other)) if other.to_string().contains("CaUsedAsEndEntity"))
}

/// Believes every certificate, as `verify: false` asks for; whoever shows it still has to have its key.
#[derive(Debug)]
pub(super) struct Unverified(pub(super) Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Why no TLS could be agreed on with a backend. `name` is what its certificate had to be for.
#[cold]
pub(super) fn failed(failure: &Failure, name: &ServerName<'_>, carries: Carries) -> ProxyError {
    let (cause, detail) = match failure {
        Failure::TooLong => (Cause::BackendConnectTimeout, "in the TLS handshake".to_owned()),
        Failure::Closed | Failure::Tls(Error::AlertReceived(AlertDescription::CloseNotify)) => {
            (Cause::BackendTlsHandshake, "it closed the connection in the handshake".to_owned())
        }
        Failure::Io(error) => {
            (Cause::BackendTlsHandshake, format!("the connection broke in the handshake: {error}"))
        }
        Failure::Tls(Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => {
            let (cause, what) = match carries {
                Carries::H2 => (Cause::BackendNoH2, "HTTP/2"),
                Carries::Http1 => (Cause::BackendTlsHandshake, "HTTP/1.1"),
                Carries::Requests => (Cause::BackendTlsHandshake, "HTTP"),
                Carries::Bytes => (Cause::BackendTlsHandshake, "what it is asked for"),
            };
            (cause, format!("it does not speak {what} on this port (ALPN)"))
        }
        Failure::Tls(error) => refused(error, name),
    };
    ProxyError { cause, detail: detail.into() }
}

/// What a backend thinks of us only once the handshake is over, as TLS 1.3 has it with client certificates.
#[cold]
pub(crate) fn afterthought(error: &io::Error) -> Option<ProxyError> {
    let alert = said(error)?;
    let of_certificates = matches!(
        alert,
        AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError
    );
    of_certificates.then(|| ProxyError { cause: Cause::BackendTlsHandshake, detail: alerted(alert).into() })
}

fn refused(error: &Error, name: &ServerName<'_>) -> (Cause, String) {
    match error {
        Error::InvalidCertificate(why) => (Cause::BackendTlsVerify, untrusted(why, name)),
        Error::AlertReceived(alert) => (Cause::BackendTlsHandshake, alerted(*alert)),
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType
            | InvalidMessage::UnknownProtocolVersion
            | InvalidMessage::MessageTooLarge
            | InvalidMessage::InvalidEmptyPayload,
        ) => (
            Cause::BackendTlsHandshake,
            "it answered with something that is not TLS: does it expect plain connections?".to_owned(),
        ),
        Error::PeerIncompatible(why) => {
            (Cause::BackendTlsHandshake, format!("it has no version or cipher in common with weir: {why:?}"))
        }
        other => (Cause::BackendTlsHandshake, other.to_string()),
    }
}

/// Why a certificate is not believed.
fn untrusted(why: &CertificateError, name: &ServerName<'_>) -> String {
    let name = called(name);
    match why {
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("it expired on {}", day(not_after.as_secs()))
        }
        CertificateError::Expired => "it has expired".to_owned(),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("it is not valid before {}", day(not_before.as_secs()))
        }
        CertificateError::NotValidYet => "it is not valid yet".to_owned(),
        CertificateError::NotValidForNameContext { presented, .. } if !presented.is_empty() => {
            format!("it is for {} and not for {name}", listed(presented))
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("it is for no host name, and not for {name}")
        }
        CertificateError::UnknownIssuer => {
            "it is signed by an unknown authority: give its CA in `tls.ca`".to_owned()
        }
        CertificateError::BadSignature => "its signature is wrong".to_owned(),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "it was not issued for servers".to_owned()
        }
        CertificateError::BadEncoding => "it cannot be read".to_owned(),
        _ if is_authority(&Error::InvalidCertificate(why.clone())) => {
            "it is that of an authority: name it in `tls.ca` itself, or give the server one of its own"
                .to_owned()
        }
        other => other.to_string(),
    }
}

/// What a backend says by an alert.
fn alerted(alert: AlertDescription) -> String {
    let meaning = match alert {
        AlertDescription::CertificateRequired => {
            "it wants a client certificate: give `tls.cert` and `tls.key`"
        }
        AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::AccessDenied => "it does not accept the client certificate of `tls.cert`",
        AlertDescription::CertificateExpired => {
            "it says that the client certificate of `tls.cert` has expired"
        }
        AlertDescription::UnknownCA => "it does not know who signed the client certificate of `tls.cert`",
        AlertDescription::UnrecognisedName => "it does not serve the name that was asked for: see `tls.sni`",
        AlertDescription::ProtocolVersion => "it speaks neither TLS 1.2 nor TLS 1.3",
        AlertDescription::HandshakeFailure => {
            "it refused the handshake: no cipher in common, or it wants a client certificate"
        }
        _ => "it refused the handshake",
    };
    format!("{meaning} (alert {alert:?})")
}

/// A name as people write it.
fn called(name: &ServerName<'_>) -> String {
    match name {
        ServerName::DnsName(name) => name.as_ref().to_owned(),
        ServerName::IpAddress(address) => IpAddr::from(*address).to_string(),
        _ => "what was asked for".to_owned(),
    }
}

/// The names in a certificate, as far as anybody reads them. They are what the backend sent: nothing in them is trusted.
fn listed(presented: &[String]) -> String {
    const SHOWN: usize = 5;
    let bare = |text: &String| {
        // `DnsName("a.test")`, as the library shows them.
        let inner = text.split('"').nth(1).unwrap_or(text);
        inner.chars().filter(|letter| letter.is_ascii_graphic()).take(100).collect::<String>()
    };
    let mut text = presented.iter().take(SHOWN).map(bare).collect::<Vec<_>>().join(", ");
    if presented.len() > SHOWN {
        text.push_str(", …");
    }
    text
}

fn day(seconds: u64) -> String {
    let text = timestamp((seconds, 0));
    text.split('T').next().unwrap_or_default().to_owned()
}
