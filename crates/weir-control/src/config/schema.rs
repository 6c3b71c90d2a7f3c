//! The language as a JSON Schema (draft 2020-12), for editors. Made from the tables that the reader reads by.
//!
//! It judges form, as the reader does: which keys there are and what their values look like. What values mean together
//! only compiling knows. Every scalar may hold a variable of the environment, so that a text with `${` passes anywhere.

use serde_json::{Map, Value, json};

use super::read::keys::{Default, Form, Key, Keys, TOP, reachable};

/// The schema of one file.
pub fn schema() -> Value {
    let maps = reachable().into_iter().filter(|keys| !std::ptr::eq(*keys, &raw const TOP));
    let kinds: Map<String, Value> = maps.map(|keys| (keys.id.to_lowercase(), map(keys))).collect();
    let mut schema = map(&TOP);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("weir configuration");
    schema["description"] = json!("A configuration of weir, or one of several files of one.");
    schema["$defs"] = Value::Object(kinds);
    schema
}

/// A map: its keys and no others.
fn map(keys: &Keys) -> Value {
    let properties: Map<String, Value> =
        keys.keys().map(|key| (key.name.to_owned(), property(key))).collect();
    let required: Vec<_> =
        keys.keys().filter(|key| matches!(key.default, Default::Required)).map(|key| key.name).collect();
    let mut schema = json!({
        "type": "object",
        "description": format!("{}.", keys.title()),
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    if !keys.one_of.is_empty() {
        schema["oneOf"] = keys.one_of.iter().map(|key| json!({ "required": [key] })).collect();
    }
    schema
}

fn property(key: &Key) -> Value {
    let mut schema = form(&key.form);
    schema["description"] = json!(key.about);
    if let Default::Is(default) = key.default {
        schema["default"] = serde_json::from_str(default).unwrap_or_else(|_| json!(default));
    }
    schema
}

fn form(form: &Form) -> Value {
    match form {
        // Numbers and words of YAML are texts too where a text is expected.
        Form::Text => json!({ "type": ["string", "number", "boolean"] }),
        Form::Flag => json!({ "anyOf": [{ "type": "boolean" }, text("true|false")] }),
        Form::Number(least, most) => {
            json!({ "anyOf": [{ "type": "integer", "minimum": least, "maximum": most }, text("[0-9]+")] })
        }
        Form::NumberOr(words) => number_or(1, words),
        Form::CountOr(words) => number_or(0, words),
        Form::Period => text(&format!("{ABOVE_ZERO}({DURATION})")),
        Form::Timeout => text(&format!("{ABOVE_ZERO}({DURATION})|none")),
        Form::Delay => json!({ "anyOf": [{ "const": 0 }, text(&format!("[0-9]+({DURATION})|0"))] }),
        Form::DelayOrNone => {
            json!({ "anyOf": [{ "const": 0 }, text(&format!("[0-9]+({DURATION})|0|none"))] })
        }
        Form::Size => text(&format!("{ABOVE_ZERO}({SIZE})|none")),
        Form::SizeWithin(..) => text(&format!("{ABOVE_ZERO}({SIZE})")),
        Form::ByteRate => text(&format!("{ABOVE_ZERO}({SIZE})/s|none")),
        Form::Share => text("[0-9]{1,3}([.][0-9]{1,4})?%"),
        Form::Percent(..) => text("[0-9]{1,4}%"),
        Form::ShareOrNone => text("[0-9]{1,3}([.][0-9]{1,4})?%|none"),
        Form::Words(words) => json!({ "anyOf": [{ "enum": words }, variable()] }),
        Form::Empty => json!({ "type": "null" }),
        Form::Map(keys) => json!({ "$ref": format!("#/$defs/{}", keys.id.to_lowercase()) }),
        Form::Named(value) => {
            json!({ "type": ["object", "null"], "additionalProperties": self::form(value) })
        }
        Form::List(item) => json!({ "type": "array", "items": self::form(item) }),
        Form::OneOrMore(item) => {
            let item = self::form(item);
            json!({ "anyOf": [item, { "type": "array", "items": item, "minItems": 1 }] })
        }
        Form::Some(item) => {
            let item = self::form(item);
            json!({ "anyOf": [item, { "type": "array", "items": item }] })
        }
        Form::AnyOf(forms) => json!({ "anyOf": forms.iter().map(self::form).collect::<Vec<_>>() }),
    }
}

const ABOVE_ZERO: &str = "0*[1-9][0-9]*";
const DURATION: &str = "ms|s|m|h";
const SIZE: &str = "B|KiB|MiB|GiB";

/// A text of this form, or with a variable in it.
fn number_or(least: u32, words: &[&str]) -> Value {
    let word = text(&format!("{}|[0-9]+", words.join("|")));
    json!({ "anyOf": [{ "type": "integer", "minimum": least, "maximum": u32::MAX }, word] })
}

fn text(expression: &str) -> Value {
    json!({ "type": "string", "pattern": format!("^({expression})$|[$][{{]") })
}

fn variable() -> Value {
    json!({ "type": "string", "pattern": "[$][{]" })
}

#[cfg(test)]
mod tests;
