//! Calls of gRPC by their service and method.

use std::sync::Arc;

use crate::{
    draft::{GrpcDraft, Text},
    problem::{Located, Problem},
    route::GrpcMatch,
};

/// Which calls are taken.
pub(super) fn calls(draft: &Located<GrpcDraft>, problems: &mut Vec<Problem>) -> GrpcMatch {
    let GrpcDraft { service, method } = &draft.value;
    if service.is_empty() && method.is_empty() {
        let cause = "a match on `grpc` names neither a service nor a method";
        let remedy = "write `grpc: { service: shop.Cart }`; for every call, match on the header `Content-Type: \"~^application/grpc\"`";
        problems.push(Problem::error(draft.span, cause, remedy));
    }
    let mut names = |texts: &[Text], what: &str, example: &str| -> Vec<Arc<str>> {
        texts.iter().filter_map(|text| super::kept(name(text, what, example), problems)).collect()
    };
    let service = names(service, "service", "shop.Cart");
    GrpcMatch::new(service, names(method, "method", "Add"))
}

/// A name as it stands in the path of a call: what is behind `package`, `service` and `rpc` in its description.
fn name(text: &Text, what: &str, example: &str) -> Result<Arc<str>, Problem> {
    let name = &text.value;
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    if !name.is_empty() && name.bytes().all(letter) {
        return Ok(name.as_str().into());
    }
    let cause = format!("`{name}` is not the name of a gRPC {what}");
    let remedy = match what {
        "service" => format!("write it with its package and without slashes: `{example}`"),
        _ => format!("write it without its service: `{example}`"),
    };
    Err(Problem::error(text.span, cause, remedy))
}
