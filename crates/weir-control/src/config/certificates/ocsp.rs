//! An OCSP answer to be stapled (RFC 6960): whether it is about the certificate, good, and still true.

use x509_parser::{
    asn1_rs::{Any, Class, FromDer as _, GeneralizedTime, Tag},
    certificate::X509Certificate,
};

use super::{Fault, Part, chain::Chain, date};

/// What an answer says.
struct Answer<'a> {
    /// The serial number of the certificate that it is about.
    serial: &'a [u8],
    /// 0 is good, 1 revoked.
    status: u32,
    /// Until when it holds, in seconds since 1970.
    until: Option<u64>,
}

/// The answer that a file holds, to be stapled to the chain.
pub(super) fn ocsp(
    bytes: Vec<u8>,
    name: &str,
    chain: &Chain,
    now: u64,
    faults: &mut Vec<Fault>,
) -> Option<Vec<u8>> {
    let mut refuse = |cause: String, remedy: &str| faults.push(Fault::error(Part::Ocsp, cause, remedy));
    if bytes.is_empty() {
        refuse(format!("the file `{name}` is empty"), "leave `ocsp` out, or ask for the answer");
        return None;
    }
    let answer = match parse(&bytes) {
        Ok(answer) => answer,
        Err(cause) => {
            let remedy = "save the answer as DER: `openssl ocsp -issuer … -cert … -url … -respout FILE`";
            refuse(format!("the file `{name}` {cause}"), remedy);
            return None;
        }
    };
    let own = chain.ders.first().and_then(|der| X509Certificate::from_der(der).ok());
    if own.is_none_or(|(_, own)| number(own.raw_serial()) != number(answer.serial)) {
        let cause = format!("the OCSP answer in `{name}` is about another certificate");
        refuse(cause, "ask for this certificate again");
        return None;
    }
    if answer.status != 0 {
        let what = if answer.status == 1 { "revoked" } else { "unknown" };
        let cause = format!("the OCSP answer in `{name}` says that the certificate is {what}");
        refuse(cause, "have it issued anew");
        return None;
    }
    if let Some(until) = answer.until.filter(|until| *until < now) {
        let cause = format!("the OCSP answer in `{name}` has expired on {} and is not stapled", date(until));
        faults.push(Fault::warning(Part::Ocsp, cause, "ask for it again, at least as often as it says"));
        return None;
    }
    Some(bytes)
}

/// A number without leading zeros.
fn number(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    &bytes[zeros..]
}

const DAMAGED: &str = "is not an OCSP answer in DER";

/// `OCSPResponse` of RFC 6960 section 4.2.1, as far as it matters here.
fn parse(bytes: &[u8]) -> Result<Answer<'_>, String> {
    let damaged = || DAMAGED.to_owned();
    let mut response = Items(next(&mut Items(bytes), Tag::Sequence).ok_or_else(damaged)?);
    match next(&mut response, Tag::Enumerated).ok_or_else(damaged)? {
        [0] => {}
        [code] => return Err(format!("says that the OCSP server failed (code {code})")),
        _ => return Err(damaged()),
    }
    basic(response).ok_or_else(damaged)
}

fn basic<'a>(mut response: Items<'a>) -> Option<Answer<'a>> {
    let mut wrapped = Items(next_of(&mut response, Class::ContextSpecific, 0)?);
    let mut typed = Items(next(&mut wrapped, Tag::Sequence)?);
    next(&mut typed, Tag::Oid)?;
    let mut basic = Items(next(&mut Items(next(&mut typed, Tag::OctetString)?), Tag::Sequence)?);
    let mut data = Items(next(&mut basic, Tag::Sequence)?);
    // The version, if it is given; who answers; when.
    let mut item = data.next()?;
    if item.class() == Class::ContextSpecific && item.tag().0 == 0 {
        item = data.next()?;
    }
    (item.class() == Class::ContextSpecific).then_some(())?;
    next(&mut data, Tag::GeneralizedTime)?;
    let mut single = Items(next(&mut Items(next(&mut data, Tag::Sequence)?), Tag::Sequence)?);
    let mut id = Items(next(&mut single, Tag::Sequence)?);
    next(&mut id, Tag::Sequence)?;
    next(&mut id, Tag::OctetString)?;
    next(&mut id, Tag::OctetString)?;
    let serial = next(&mut id, Tag::Integer)?;
    let status = single.next()?;
    next(&mut single, Tag::GeneralizedTime)?;
    let until = match single.next() {
        Some(item) if item.class() == Class::ContextSpecific && item.tag().0 == 0 => {
            let (_, time) = GeneralizedTime::from_der(item.data).ok()?;
            Some(u64::try_from(time.utc_datetime().ok()?.unix_timestamp()).ok()?)
        }
        _ => None,
    };
    Some(Answer { serial, status: status.tag().0, until })
}

/// What stands in a constructed value, one after the other.
struct Items<'a>(&'a [u8]);

impl<'a> Items<'a> {
    fn next(&mut self) -> Option<Any<'a>> {
        let (rest, item) = Any::from_der(self.0).ok()?;
        self.0 = rest;
        Some(item)
    }
}

/// The content of the next value, which has to be of this type.
fn next<'a>(items: &mut Items<'a>, tag: Tag) -> Option<&'a [u8]> {
    next_of(items, Class::Universal, tag.0)
}

fn next_of<'a>(items: &mut Items<'a>, class: Class, tag: u32) -> Option<&'a [u8]> {
    let item = items.next()?;
    (item.class() == class && item.tag().0 == tag).then_some(item.data)
}
