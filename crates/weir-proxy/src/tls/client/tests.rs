//! Handshakes in memory, with certificates that are right and wrong.

use rustls::{ClientConnection, Error, HandshakeKind, ServerConfig, ServerConnection, crypto::aws_lc_rs};
use weir_testkit::{Authority, Issued, Wanted};

use super::*;
use crate::{
    error::Cause,
    tls::{Failure, trust::failed},
};

fn origination(authority: Option<&Authority>) -> Origination {
    Origination {
        verify: true,
        authorities: authority.map(|authority| vec![authority.certificate().into()]),
        server_name: None,
        identity: None,
        prepared: Default::default(),
    }
}

fn client(origination: &Origination) -> Client {
    let provider = Arc::new(aws_lc_rs::default_provider());
    Client::new(origination, &provider, &mut SystemRoots::default()).unwrap()
}

fn server(issued: &Issued) -> Arc<ServerConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let chain = issued.chain.iter().cloned().map(CertificateDer::from).collect();
    let key = PrivateKeyDer::Pkcs8(issued.key.clone().into());
    let builder =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_no_client_auth().with_single_cert(chain, key).unwrap();
    config.ticketer = aws_lc_rs::Ticketer::new().unwrap();
    Arc::new(config)
}

/// Shakes hands in memory, and reads what comes after it.
fn shake(
    client: Arc<ClientConfig>,
    name: ServerName<'static>,
    server: &Arc<ServerConfig>,
) -> Result<HandshakeKind, Error> {
    let client = both(ClientConnection::new(client, name).unwrap(), server)?;
    Ok(client.handshake_kind().unwrap())
}

fn both(mut client: ClientConnection, server: &Arc<ServerConfig>) -> Result<ClientConnection, Error> {
    let mut server = ServerConnection::new(server.clone()).unwrap();
    for _ in 0..4 {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut &wire[..]).unwrap();
        // What it does not like it says to the client.
        _ = server.process_new_packets();
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut wire = &wire[..];
        while !wire.is_empty() {
            client.read_tls(&mut wire).unwrap();
            client.process_new_packets()?;
        }
    }
    Ok(client)
}

fn at(text: &str) -> (Endpoint, Address) {
    let address = Address::Ip("127.0.0.1:443".parse().unwrap());
    match text.split_once(':') {
        Some((host, port)) => (Endpoint::Name(host.into(), port.parse().unwrap()), address),
        None => (Endpoint::Address("127.0.0.1:443".parse().unwrap()), address),
    }
}

/// What becomes of a handshake with a backend that shows this.
fn outcome(client: &Client, backend: &str, issued: &Issued) -> Result<HandshakeKind, String> {
    let (endpoint, address) = at(backend);
    let name = client.name(&endpoint, &address);
    let config = client.config(&address, Carries::Http1);
    shake(config, name.clone(), &server(issued)).map_err(|error| {
        let error = failed(&Failure::Tls(error), &name, Carries::Http1);
        assert_eq!(error.cause, Cause::BackendTlsVerify, "{error}");
        error.to_string()
    })
}

#[test]
fn a_good_certificate_is_believed_by_name_and_by_address() {
    let root = Authority::new("Root");
    let client = client(&origination(Some(&root)));
    let middle = root.intermediate("Middle");
    for (backend, names) in [
        ("app.test:443", &["app.test"][..]),
        ("app.test.:443", &["app.test"]),
        ("a.app.test:443", &["*.app.test"]),
        ("an address", &["127.0.0.1"]),
    ] {
        assert_eq!(outcome(&client, backend, &middle.server(names)), Ok(HandshakeKind::Full), "{backend}");
    }
}

#[test]
fn what_is_wrong_with_a_certificate_is_said_in_plain_words() {
    let root = Authority::new("Root");
    let client = client(&origination(Some(&root)));
    let refused = |backend: &str, issued: Issued| outcome(&client, backend, &issued).unwrap_err();
    let because = |why: &str| format!("the backend's certificate cannot be trusted ({why})");
    let wanted = || Wanted::server(&["app.test"]);
    assert_eq!(refused("app.test:1", root.issue(wanted().over())), because("it expired on 2021-06-01"));
    assert_eq!(
        refused("app.test:1", root.issue(wanted().early())),
        because("it is not valid before 2090-01-01")
    );
    assert_eq!(
        refused("other.test:1", root.server(&["app.test", "www.app.test"])),
        because("it is for app.test, www.app.test and not for other.test")
    );
    assert_eq!(
        refused("an address", root.server(&["app.test"])),
        because("it is for app.test and not for 127.0.0.1")
    );
    assert_eq!(
        refused("app.test:1", Authority::new("Root").server(&["app.test"])),
        because("its signature is wrong")
    );
    assert_eq!(
        refused("app.test:1", Authority::new("Other").server(&["app.test"])),
        because("it is signed by an unknown authority: give its CA in `tls.ca`")
    );
    assert_eq!(
        refused("app.test:1", root.issue(Wanted::client("app.test"))),
        because("it was not issued for servers")
    );
}

#[test]
fn a_name_of_its_own_is_asked_for_whatever_the_backend_is_called() {
    let root = Authority::new("Root");
    let origination = Origination { server_name: Some("app.internal".into()), ..origination(Some(&root)) };
    let client = client(&origination);
    let issued = root.server(&["app.internal"]);
    assert!(outcome(&client, "an address", &issued).is_ok());
    assert!(outcome(&client, "other.test:443", &issued).is_ok());
    assert!(outcome(&client, "other.test:443", &root.server(&["other.test"])).is_err());
}

#[test]
fn without_verification_every_certificate_is_taken() {
    let client = client(&Origination { verify: false, ..origination(None) });
    let issued = Authority::new("Nobody").issue(Wanted::server(&["elsewhere.test"]).over());
    assert!(outcome(&client, "app.test:443", &issued).is_ok());
}

#[test]
fn a_certificate_that_is_named_itself_is_believed_even_if_it_is_that_of_an_authority() {
    let own = Wanted::server(&["app.test"]).sign_itself();
    let named = |issued: &Issued| Origination {
        authorities: Some(vec![issued.chain[0].as_slice().into()]),
        ..origination(None)
    };
    let client_of_own = client(&named(&own));
    assert!(outcome(&client_of_own, "app.test:443", &own).is_ok());
    let elsewhere = outcome(&client_of_own, "other.test:443", &own).unwrap_err();
    assert!(elsewhere.ends_with("(it is for app.test and not for other.test)"), "{elsewhere}");
    let over = Wanted::server(&["app.test"]).over().sign_itself();
    let late = outcome(&client(&named(&over)), "app.test:443", &over).unwrap_err();
    assert!(late.ends_with("(it expired on 2021-06-01)"), "{late}");
    let stranger = Wanted::server(&["app.test"]).sign_itself();
    assert!(outcome(&client_of_own, "app.test:443", &stranger).is_err());
}

#[test]
fn sessions_are_resumed_with_the_same_address_only() {
    let root = Authority::new("Root");
    let client = client(&origination(Some(&root)));
    let server = server(&root.server(&["app.test"]));
    let name = || ServerName::try_from("app.test").unwrap();
    let to = |port: u16, carries| client.config(&Address::Ip(([127, 0, 0, 1], port).into()), carries);
    let kind = |config| shake(config, name(), &server).unwrap();
    assert_eq!(kind(to(1, Carries::Bytes)), HandshakeKind::Full);
    assert_eq!(kind(to(1, Carries::Bytes)), HandshakeKind::Resumed);
    assert_eq!(kind(to(2, Carries::Bytes)), HandshakeKind::Full);
    assert_eq!(kind(to(1, Carries::Http1)), HandshakeKind::Full);
    assert_eq!(kind(to(1, Carries::Bytes)), HandshakeKind::Resumed);
}

#[test]
fn what_is_carried_says_which_protocols_are_offered() {
    let root = Authority::new("Root");
    let client = client(&origination(Some(&root)));
    let issued = root.server(&["app.test"]);
    let agreed = |carries, theirs: &[&[u8]]| {
        let mut server = ServerConfig::clone(&server(&issued));
        server.alpn_protocols = theirs.iter().map(|name| name.to_vec()).collect();
        let name = ServerName::try_from("app.test").unwrap();
        let address = Address::Ip(([127, 0, 0, 1], 1).into());
        let connection = ClientConnection::new(client.config(&address, carries), name.clone()).unwrap();
        both(connection, &Arc::new(server)).map(|client| client.alpn_protocol().map(<[u8]>::to_vec)).map_err(
            |error| {
                let error = failed(&Failure::Tls(error), &name, carries);
                (error.cause, error.to_string())
            },
        )
    };
    let (h2, http1): (&[u8], &[u8]) = (b"h2", b"http/1.1");
    assert_eq!(
        agreed(Carries::Requests, &[http1, h2]),
        Ok(Some(http1.to_vec())),
        "theirs is the preference that counts"
    );
    assert_eq!(agreed(Carries::Requests, &[h2]), Ok(Some(h2.to_vec())));
    assert_eq!(agreed(Carries::Http1, &[h2, http1]), Ok(Some(http1.to_vec())));
    assert_eq!(agreed(Carries::H2, &[http1, h2]), Ok(Some(h2.to_vec())));
    assert_eq!(agreed(Carries::Bytes, &[h2]), Ok(None));
    // Who knows nothing of ALPN agrees on nothing: the stream is then refused where it has to be HTTP/2.
    assert_eq!(agreed(Carries::H2, &[]), Ok(None));
    let (cause, text) = agreed(Carries::H2, &[http1]).unwrap_err();
    assert_eq!(
        (cause, text.ends_with("(it does not speak HTTP/2 on this port (ALPN))")),
        (Cause::BackendNoH2, true),
        "{text}"
    );
    let (cause, text) = agreed(Carries::Http1, &[h2]).unwrap_err();
    assert_eq!(
        (cause, text.contains("does not speak HTTP/1.1")),
        (Cause::BackendTlsHandshake, true),
        "{text}"
    );
}
