//! Files that a configuration names.

use std::{
    fs::File,
    io::{self, Read as _},
    path::PathBuf,
};

use weir_model::draft::Text;

use super::Reader;

impl Reader {
    /// A path as it was written, seen from the file that names it.
    pub(super) fn path(&self, text: &str) -> PathBuf {
        self.place.folder.join(text)
    }

    /// What a file holds, if it is at most `most` bytes long.
    pub(super) fn content(&mut self, name: &Text, most: u64) -> Option<Vec<u8>> {
        let path = self.path(&name.value);
        self.paths.push(path.clone());
        match content(path, most) {
            Ok(content) => Some(content),
            Err(error) => {
                let remedy = match error.kind() {
                    io::ErrorKind::NotFound => "paths are relative to the file that names them",
                    io::ErrorKind::PermissionDenied => "give the user that runs weir the right to read it",
                    _ => "",
                };
                self.error(name.span, format!("the file `{}` cannot be read: {error}", name.value), remedy);
                None
            }
        }
    }

    /// An address; the path of a unix socket is relative to the file that names it.
    pub(super) fn address(&self, text: Text) -> Text {
        let path = text.value.strip_prefix("unix:").filter(|path| !path.is_empty());
        match path.map(|path| self.path(path).to_str().map(str::to_owned)) {
            Some(Some(path)) => Text { value: format!("unix:{path}"), ..text },
            _ => text,
        }
    }
}

/// What a file holds, if it is one and at most `most` bytes long.
pub(in crate::config) fn content(path: PathBuf, most: u64) -> io::Result<Vec<u8>> {
    // A pipe would be waited for.
    if !std::fs::metadata(&path)?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut content = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut content)?;
    if content.len() as u64 > most {
        return Err(io::Error::other(format!("it is larger than {most} bytes")));
    }
    Ok(content)
}
