//! Names and values of header fields that the configuration asks for or writes.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use crate::{
    draft::{EditsDraft, Text},
    problem::{Located, Problem},
    route::HeaderEdits,
    template::{Place, Template},
};

/// Whose header fields are edited.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Message {
    /// The request to a backend.
    Request,
    /// A probe of a backend.
    Probe,
    /// The response to a client.
    Response,
}

/// A field name in lower case.
pub(super) fn name(text: &Text) -> Result<Arc<str>, Problem> {
    if !text.value.is_empty() && text.value.bytes().all(is_token) {
        return Ok(text.value.to_ascii_lowercase().into());
    }
    let cause = format!("`{}` is not the name of a header field", text.value);
    Err(Problem::error(text.span, cause, "names are letters, digits and hyphens, such as `X-Tenant`"))
}

/// A field value: no control characters, no space around it.
pub(super) fn value(text: &Text) -> Result<Arc<str>, Problem> {
    let control = |byte: u8| byte.is_ascii_control() && byte != b'\t';
    if text.value.bytes().any(control) {
        let cause = "the value of a header field holds a line break or another control character";
        return Err(Problem::error(text.span, cause, "write it on one line"));
    }
    if text.value.trim_matches([' ', '\t']) != text.value {
        let cause = "the value of a header field begins or ends with space, which is lost on the way";
        return Err(Problem::error(text.span, cause, "remove the space"));
    }
    Ok(text.value.as_str().into())
}

/// A field name that may be written: the fields that frame a message or belong to one connection are weir's own.
pub(super) fn writable_name(text: &Text, message: Message) -> Result<Arc<str>, Problem> {
    let name = name(text)?;
    let refuse = |cause: &str, remedy: &str| {
        Err(Problem::error(text.span, format!("the header field `{}` {cause}", text.value), remedy))
    };
    match &*name {
        "connection" | "keep-alive" | "proxy-connection" | "te" | "trailer" | "upgrade" => {
            refuse("belongs to one connection and is written by weir itself", "remove it")
        }
        "transfer-encoding" | "content-length" => {
            refuse("frames the message and is written by weir itself", "remove it")
        }
        "host" => match message {
            Message::Request => refuse("is not edited like the others", "use `rewrite: { host: … }`"),
            Message::Probe => refuse("has a key of its own", "use `host` beside `headers`"),
            Message::Response => Ok(name),
        },
        _ => Ok(name),
    }
}

/// What a request expects is settled with each side for itself (RFC 9110 section 10.1.1).
fn unexpected(name: Arc<str>, text: &Text, message: Message) -> Result<Arc<str>, Problem> {
    if message == Message::Response || &*name != "expect" {
        return Ok(name);
    }
    let cause =
        format!("the header field `{}` belongs to one connection and is written by weir itself", text.value);
    Err(Problem::error(text.span, cause, "remove it"))
}

/// Pairs of name and value; the values may name facts of the exchange that are known in `place`.
pub(super) fn fields(
    pairs: &[(Text, Text)],
    message: Message,
    place: Place,
    problems: &mut Vec<Problem>,
) -> Vec<(Arc<str>, Template)> {
    twice(pairs, problems);
    let pairs = pairs.iter().filter_map(|(name, text)| {
        let name = super::kept(
            writable_name(name, message).and_then(|own| unexpected(own, name, message)),
            problems,
        );
        let value = value(text).and_then(|_| Template::parse(text, place));
        Some((name?, super::kept(value, problems)?))
    });
    pairs.collect()
}

/// Refuses a name that is given twice: YAML takes `a` and `A` for two keys.
fn twice(pairs: &[(Text, Text)], problems: &mut Vec<Problem>) {
    let mut firsts = HashMap::new();
    for (name, _) in pairs {
        match firsts.entry(name.value.to_ascii_lowercase()) {
            Entry::Vacant(place) => {
                place.insert(name.span);
            }
            Entry::Occupied(first) => {
                let cause =
                    format!("the header field `{}` is given twice: its case makes no difference", name.value);
                let problem = Problem::error(name.span, cause, "keep one of them");
                problems.push(problem.with_related(*first.get(), "the first one is here"));
            }
        }
    }
}

/// Pairs of name and value of a probe, which knows no exchange.
pub(super) fn probe_fields(pairs: &[(Text, Text)], problems: &mut Vec<Problem>) -> Vec<(Arc<str>, Arc<str>)> {
    twice(pairs, problems);
    let literal = |pair: &(Text, Text)| {
        let (name, value) = fields(std::slice::from_ref(pair), Message::Probe, Place::Log, problems).pop()?;
        let literal = value.as_literal().map(|text| (name, text.into()));
        if literal.is_none() {
            let cause = "a probe carries no request that a variable could speak of";
            problems.push(Problem::error(pair.1.span, cause, "write the value out, with `$$` for a dollar"));
        }
        literal
    };
    pairs.iter().filter_map(literal).collect()
}

/// Edits of a message.
pub(super) fn edits(
    draft: Option<&Located<EditsDraft>>,
    message: Message,
    problems: &mut Vec<Problem>,
) -> HeaderEdits {
    let Some(Located { value: draft, .. }) = draft else {
        return HeaderEdits::default();
    };
    let remove = draft.remove.iter().filter_map(|text| super::kept(writable_name(text, message), problems));
    let remove: Vec<Arc<str>> = remove.collect();
    let place = if message == Message::Request { Place::Request } else { Place::Response };
    let edits = HeaderEdits {
        set: fields(&draft.set, message, place, problems),
        add: fields(&draft.add, message, place, problems),
        remove,
    };
    for text in &draft.remove {
        let twice = draft.set.iter().find(|(name, _)| name.value.eq_ignore_ascii_case(&text.value));
        if let Some((set, _)) = twice {
            let cause = format!("`{}` is both set and removed", text.value);
            let remedy = "`set` already replaces what came; leave it out of `remove`";
            problems.push(Problem::error(text.span, cause, remedy).with_related(set.span, "it is set here"));
        }
    }
    edits
}

/// True for the characters of a token (RFC 9110 section 5.6.2).
pub(super) const fn is_token(byte: u8) -> bool {
    matches!(
        byte,
        b'!' | b'#'
            | b'$'
            | b'%'
            | b'&'
            | b'\''
            | b'*'
            | b'+'
            | b'-'
            | b'.'
            | b'^'
            | b'_'
            | b'`'
            | b'|'
            | b'~'
    ) || byte.is_ascii_alphanumeric()
}
