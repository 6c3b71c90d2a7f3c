//! The texts that problems point into.

/// One file.
#[derive(Clone, Debug)]
pub struct File {
    /// Its path, as the user wrote it.
    pub name: String,
    /// Its text, without a byte-order mark.
    pub text: String,
}

impl File {
    /// A line without its line break, counted from 1. Lines end as in YAML: LF, CR LF or a single CR.
    pub fn line(&self, number: u32) -> Option<&str> {
        let mut rest = self.text.as_str();
        for _ in 1..number {
            rest = after_line(rest)?;
        }
        (number > 0).then(|| rest.split(['\n', '\r']).next().unwrap_or(rest))
    }
}

fn after_line(text: &str) -> Option<&str> {
    let end = text.find(['\n', '\r'])?;
    let rest = &text[end..];
    rest.strip_prefix("\r\n").or_else(|| rest.get(1..))
}

/// All files of a configuration; [`weir_model::problem::Span::file`] is an index into them.
#[derive(Clone, Debug, Default)]
pub struct Files(Vec<File>);

impl Files {
    /// Adds a file and returns its number.
    pub(super) fn add(&mut self, name: &str, text: &str) -> u16 {
        self.0.push(File { name: name.into(), text: text.into() });
        u16::try_from(self.0.len() - 1).unwrap_or(u16::MAX)
    }

    /// The file of this number.
    pub fn file(&self, number: u16) -> Option<&File> {
        self.0.get(usize::from(number))
    }

    /// All files in order of reading.
    pub fn iter(&self) -> impl Iterator<Item = &File> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_as_in_yaml() {
        let file = File { name: String::new(), text: "a\nb\r\nc\rd\n".into() };
        let lines: Vec<_> = (0..7).map(|number| file.line(number)).collect();
        assert_eq!(lines, [None, Some("a"), Some("b"), Some("c"), Some("d"), Some(""), None]);
    }
}
