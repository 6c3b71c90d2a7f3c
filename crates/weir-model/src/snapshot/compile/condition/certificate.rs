//! What a client certificate has to be.

use super::{expression, host, kept, text};
use crate::{
    draft::{ClientCertDraft, Text},
    problem::{Located, Problem},
    route::{CertificateMatch, HostMatch, NameMatch},
};

pub(super) fn wanted(draft: &Located<ClientCertDraft>, problems: &mut Vec<Problem>) -> CertificateMatch {
    let ClientCertDraft { san, subject, present } = &draft.value;
    let absent = present.as_ref().is_some_and(|present| !present.value);
    if absent && !(san.is_empty() && subject.is_empty()) {
        let cause = "a certificate that is not there has neither names nor a subject";
        problems.push(Problem::error(draft.span, cause, "remove `present: false`, or everything else"));
    }
    CertificateMatch {
        absent,
        san: san.iter().filter_map(|text| kept(name(text), problems)).collect(),
        subject: subject.iter().filter_map(|draft| kept(text(draft), problems)).collect(),
    }
}

fn name(text: &Text) -> Result<NameMatch, Problem> {
    if let Some(expression_text) = text.value.strip_prefix('~') {
        return expression(expression_text, text.span).map(NameMatch::Regex);
    }
    if text.value.is_empty() {
        let remedy = "write for example `*.partner.example` or `spiffe://mesh/ops`";
        return Err(Problem::error(text.span, "the name of a certificate is empty", remedy));
    }
    if text.value.starts_with("*.") {
        return host(text).map(|host: HostMatch| NameMatch::Under(host));
    }
    Ok(NameMatch::Exact(text.value.as_str().into()))
}
