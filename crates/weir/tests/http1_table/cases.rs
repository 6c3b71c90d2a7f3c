//! Reads the table of messages.

use serde_json::Value;

/// One message.
pub(crate) struct Case {
    pub(crate) id: String,
    pub(crate) bytes: Vec<u8>,
    /// The answers that the table itself allows, joined by `|`; empty for answers of backends.
    pub(crate) expect: String,
}

/// The messages of one kind: `requests` or `answers`.
pub(crate) fn read(kind: &str) -> Vec<Case> {
    let table: Value = serde_json::from_str(include_str!("../data/http1-cases.json")).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let case = |row: &Value| Case {
        id: text(&row["id"]),
        bytes: row["parts"].as_array().into_iter().flatten().flat_map(part).collect(),
        expect: text(&row["expect"]),
    };
    table[kind].as_array().unwrap().iter().map(case).collect()
}

/// A part is text (Latin-1), a text many times, or a text with numbers counted through its braces.
fn part(part: &Value) -> Vec<u8> {
    if let Some(text) = part.as_str() {
        return bytes(text);
    }
    if let Some(text) = part["text"].as_str() {
        return bytes(text).repeat(part["times"].as_u64().unwrap() as usize);
    }
    let (text, from, to) = (part["numbered"].as_str().unwrap(), &part["from"], &part["to"]);
    (from.as_u64().unwrap()..=to.as_u64().unwrap())
        .flat_map(|number| bytes(&text.replace("{}", &number.to_string())))
        .collect()
}

fn bytes(latin1: &str) -> Vec<u8> {
    latin1.chars().map(|character| u8::try_from(u32::from(character)).unwrap()).collect()
}

#[test]
fn the_table_is_read_whole() {
    let (requests, answers) = (read("requests"), read("answers"));
    assert_eq!((requests.len(), answers.len()), (120, 33));
    let bytes = |id: &str| requests.iter().find(|case| case.id == id).unwrap().bytes.clone();
    assert_eq!(bytes("baseline_get"), b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert!(bytes("hdr_highbit_name").contains(&0xff));
    assert!(bytes("hdr_too_many_5000").ends_with(b"X4999: 1\r\n\r\n"));
    assert_eq!(bytes("reqline_64k_uri").len(), 65536 + "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n".len());
}
