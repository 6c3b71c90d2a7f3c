//! The texts that problems point into, and everything else that was read.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// One file.
#[derive(Clone, Debug)]
pub struct File {
    /// Its path, as the user wrote it.
    pub name: String,
    /// Its text, without a byte-order mark.
    pub text: String,
    /// Where each line begins and ends.
    lines: Vec<(usize, usize)>,
}

impl File {
    /// A file with this name and text.
    pub(super) fn new(name: &str, text: &str) -> Self {
        Self { name: name.into(), text: text.into(), lines: line_places(text).collect() }
    }

    /// A line without its line break, counted from 1.
    pub fn line(&self, number: u32) -> Option<&str> {
        let (start, end) = *self.lines.get(number.checked_sub(1)? as usize)?;
        self.text.get(start..end)
    }
}

/// The lines of a text, ended as in YAML: by LF, CR LF or a single CR.
pub(super) fn lines(text: &str) -> impl Iterator<Item = &str> {
    line_places(text).map(|(start, end)| &text[start..end])
}

/// Where each line begins and ends.
pub(super) fn line_places(text: &str) -> impl Iterator<Item = (usize, usize)> {
    let mut next = Some(0);
    std::iter::from_fn(move || {
        let start = next?;
        let Some(length) = text[start..].find(['\n', '\r']) else {
            next = None;
            return Some((start, text.len()));
        };
        let end = start + length;
        next = Some(end + if text[end..].starts_with("\r\n") { 2 } else { 1 });
        Some((start, end))
    })
}

/// All files of a configuration; [`weir_model::problem::Span::file`] is an index into them.
#[derive(Clone, Debug, Default)]
pub struct Files {
    files: Vec<File>,
    watched: BTreeSet<PathBuf>,
}

impl Files {
    /// Adds a file and returns its number.
    pub(super) fn add(&mut self, name: &str, text: &str) -> u16 {
        self.files.push(File::new(name, text));
        u16::try_from(self.files.len() - 1).unwrap_or(u16::MAX)
    }

    /// The file of this number.
    pub fn file(&self, number: u16) -> Option<&File> {
        self.files.get(usize::from(number))
    }

    /// Remembers a file or folder whose change may change what was read.
    pub(super) fn watch(&mut self, path: &Path) {
        self.watched.insert(path.to_owned());
    }

    /// Every file and folder whose change may change what was read: the configuration, the folders that patterns of
    /// `include` look into, and what it names (pages, tokens), whether they could be read or not. A folder that was
    /// given as a whole is not among them.
    pub fn watched(&self) -> impl Iterator<Item = &Path> {
        self.watched.iter().map(PathBuf::as_path)
    }

    /// Gives every file the name that `name` makes of its own.
    pub fn rename(&mut self, name: impl Fn(&str) -> String) {
        for file in &mut self.files {
            file.name = name(&file.name);
        }
    }

    /// All files in order of reading.
    pub fn iter(&self) -> impl Iterator<Item = &File> {
        self.files.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_as_in_yaml() {
        let file = File::new("", "a\nb\r\nc\rd\n");
        let lines: Vec<_> = (0..7).map(|number| file.line(number)).collect();
        assert_eq!(lines, [None, Some("a"), Some("b"), Some("c"), Some("d"), Some(""), None]);
    }
}
