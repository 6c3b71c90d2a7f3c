//! What is never shown to anybody: the values of header fields that are there to be secret, in names of routes,
//! explanations, and answers of the admin API.

/// Field names that carry secrets whatever else they are called.
const SECRET: [&str; 4] = ["authorization", "proxy-authorization", "cookie", "set-cookie"];
/// Parts of names that say so.
const TELLING: [&str; 8] =
    ["token", "secret", "password", "passwd", "api-key", "apikey", "credential", "auth-key"];

/// Stands for what is hidden.
pub const HIDDEN: &str = "***";

/// True for the name of a header field, cookie or parameter whose value is a secret.
pub fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET.contains(&name.as_str()) || TELLING.iter().any(|part| name.contains(part))
}

/// The value of a header field, cookie or parameter, or what stands for it.
pub fn shown<'v>(name: &str, value: &'v str) -> &'v str {
    if is_secret(name) { HIDDEN } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_hidden_and_nothing_else() {
        for name in ["Authorization", "cookie", "X-Api-Key", "x-vault-token", "X-Client-Secret"] {
            assert_eq!(shown(name, "s3cret"), HIDDEN, "{name}");
        }
        for name in ["Host", "X-Author", "Cache-Control", "X-Key"] {
            assert_eq!(shown(name, "v"), "v", "{name}");
        }
    }
}
