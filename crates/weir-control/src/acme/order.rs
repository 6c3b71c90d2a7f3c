//! One order: from an account to a certificate.

use std::{future::Future, time::Duration};

use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, CertificateIdentifier, ChallengeType, Error,
    Identifier, NewAccount, NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls_pki_types::Der;
use weir_model::acme::{Acme, Challenge};

use super::{
    client::{Client, of_problem, sentence},
    proof::Record,
    store::{Held, Store},
};

/// How long an authority may take to look at proofs, and to issue.
const PATIENCE: Duration = Duration::from_secs(120);

/// Why there is no certificate.
#[derive(Debug)]
pub(super) struct Failure {
    /// In one sentence without a full stop.
    pub(super) sentence: String,
    /// The authority does not know the account.
    pub(super) stranger: bool,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let unknown = "urn:ietf:params:acme:error:accountDoesNotExist";
        let stranger = matches!(&error, Error::Api(problem) if problem.r#type.as_deref() == Some(unknown));
        Self { sentence: sentence(&error), stranger }
    }
}

impl From<String> for Failure {
    fn from(sentence: String) -> Self {
        Self { sentence, stranger: false }
    }
}

/// What an order needs from whoever places it.
pub(super) trait Placed {
    /// Gives out these proofs, and returns when every instance does.
    fn show(&self, records: Vec<Record>) -> impl Future<Output = Result<(), Failure>> + Send;
    /// Makes sure that nobody else has taken over.
    fn go_on(&self) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// The account at the authority: the one in storage, or a new one.
pub(super) async fn account(acme: &Acme, store: &Store, client: &Client) -> Result<Account, Failure> {
    let broken = |error: std::io::Error| format!("the account in storage cannot be used: {error}");
    let builder = || Account::builder_with_http(Box::new(client.clone()));
    if let Some(known) = store.account::<AccountCredentials>().map_err(broken)? {
        return Ok(builder().from_credentials(known).await?);
    }
    let contact = acme.email.as_ref().map(|email| format!("mailto:{email}"));
    let contact: Vec<_> = contact.iter().map(String::as_str).collect();
    let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
    let (_, credentials) = builder().create(&new, acme.directory.to_string(), None).await?;
    let kept = store
        .keep_account(credentials)
        .map_err(|error| format!("the account cannot be kept in `{}`: {error}", acme.storage.display()))?;
    Ok(builder().from_credentials(kept).await?)
}

/// What an authority calls a certificate that it has issued (RFC 9773 section 4.1); none if the certificate does not say who
/// has signed it.
pub(super) fn identifier(held: &Held) -> Option<CertificateIdentifier<'static>> {
    let issuer = Der::from_slice(held.issuer_key.as_ref()?);
    Some(CertificateIdentifier::new(issuer, Der::from_slice(&held.serial)).into_owned())
}

/// Has a certificate issued: the chain and its key, as PEM. `replaces` is the one that is there.
pub(super) async fn issue(
    acme: &Acme,
    account: &Account,
    replaces: Option<&Held>,
    placed: &impl Placed,
) -> Result<String, Failure> {
    let identifiers: Vec<_> = acme.domains.iter().map(|domain| Identifier::Dns(domain.to_string())).collect();
    let mut order = place(account, &identifiers, replaces.and_then(identifier)).await?;
    prove(acme, &mut order, placed).await?;
    placed.go_on().await?;
    let (key, request) = request(acme).map_err(|error| format!("no request can be made: {error}"))?;
    order.finalize_csr(&request).await?;
    let policy = RetryPolicy::new().timeout(PATIENCE);
    let chain = order.poll_certificate(&policy).await?;
    placed.go_on().await?;
    Ok(format!("{}\n{}", chain.trim_end(), key.serialize_pem()))
}

/// Places an order, which an authority may treat better that replaces a certificate.
async fn place(
    account: &Account,
    identifiers: &[Identifier],
    replaces: Option<CertificateIdentifier<'static>>,
) -> Result<Order, Error> {
    if let Some(replaces) = replaces {
        let better = account.new_order(&NewOrder::new(identifiers).replaces(replaces)).await;
        // It may have been replaced before, or issued by another authority.
        match better {
            Err(Error::Unsupported(_) | Error::Other(_)) => {}
            Err(Error::Api(problem)) if problem.status.is_some_and(|status| matches!(status, 400..=409)) => {}
            other => return other,
        }
    }
    account.new_order(&NewOrder::new(identifiers)).await
}

/// Proves every domain that is not proved yet.
async fn prove(acme: &Acme, order: &mut Order, placed: &impl Placed) -> Result<(), Failure> {
    let kind = match acme.challenge {
        Challenge::Http01 => ChallengeType::Http01,
        Challenge::TlsAlpn01 => ChallengeType::TlsAlpn01,
    };
    let word = acme.challenge.word();
    let mut records = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        let domain = authorization.identifier().to_string();
        match authorization.status {
            AuthorizationStatus::Valid => continue,
            AuthorizationStatus::Pending => {}
            status => {
                return Err(format!("the authority does not let `{domain}` be proved: {status:?}").into());
            }
        }
        let challenge = authorization.challenge(kind.clone());
        let challenge =
            challenge.ok_or_else(|| format!("the authority does not take {word} for `{domain}`"))?;
        let shown = challenge.key_authorization();
        records.push(Record {
            domain,
            token: challenge.token.clone(),
            authorization: shown.as_str().to_owned(),
            digest: shown.digest().as_ref().to_vec(),
        });
    }
    if !records.is_empty() {
        placed.show(records).await?;
        placed.go_on().await?;
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if authorization.status != AuthorizationStatus::Valid
                && let Some(mut challenge) = authorization.challenge(kind.clone())
            {
                challenge.set_ready().await?;
            }
        }
    }
    let policy = RetryPolicy::new().initial_delay(Duration::from_millis(500)).timeout(PATIENCE);
    match order.poll_ready(&policy).await {
        Ok(OrderStatus::Ready | OrderStatus::Valid) => Ok(()),
        Ok(status) => {
            Err(unproved(order, word).await.unwrap_or_else(|| format!("the order is {status:?}")).into())
        }
        Err(error) => match unproved(order, word).await {
            Some(sentence) => Err(sentence.into()),
            None => Err(error.into()),
        },
    }
}

/// Which domain the authority could not be convinced of, and why.
async fn unproved(order: &mut Order, word: &str) -> Option<String> {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let Ok(state) = authorization.refresh().await else { continue };
        let domain = state.identifier().to_string();
        if let Some(problem) = state.challenges.iter().find_map(|challenge| challenge.error.as_ref()) {
            let said = of_problem(problem);
            return Some(format!("the authority could not verify `{domain}` by {word}: {said}"));
        }
    }
    None
}

/// A new key, and the request for a certificate for it.
fn request(acme: &Acme) -> Result<(KeyPair, Vec<u8>), rcgen::Error> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let domains: Vec<_> = acme.domains.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(domains)?;
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key)?;
    Ok((key, request.der().to_vec()))
}
