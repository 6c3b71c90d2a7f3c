//! Files that a configuration names.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use weir_model::{
    draft::Text,
    problem::{Problem, Span},
};

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
                let cause = format!("the file `{}` cannot be read: {error}", name.value);
                self.error(name.span, cause, remedy(&error));
                None
            }
        }
    }

    /// Refuses a file or socket that can never be made, and warns of one whose folder is not there: it may be on the machine that
    /// the file is for.
    pub(super) fn written(&mut self, path: &Path, span: Span) {
        // What is in /run is made at every boot, and much of it no sooner than weir is started.
        if !self.place.surroundings.folders || path.starts_with("/run") || path.starts_with("/var/run") {
            return;
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let (shown, is_dir) =
            (folder.display(), |path: &Path| std::fs::metadata(path).map(|found| found.is_dir()));
        if matches!(is_dir(path), Ok(true)) {
            self.error(span, format!("`{}` is a folder", path.display()), "name a file in it");
            return;
        }
        match is_dir(folder) {
            Ok(false) => self.error(span, format!("`{shown}` is not a folder"), "name another place"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let cause = format!("there is no folder `{shown}` here, and weir does not start without it");
                let remedy = format!("make it with `mkdir -p {shown}`, or name another place");
                self.problems.push(Problem::warning(span, cause, remedy));
            }
            // What cannot be seen from here may be seen by the user that runs weir.
            _ => {}
        }
    }

    /// An address to bind.
    pub(super) fn bind(&mut self, text: Text) -> Text {
        let bind = self.address(text);
        if let Some(path) =
            bind.value.strip_prefix("unix:").filter(|path| !path.is_empty() && !path.ends_with('/'))
        {
            self.written(Path::new(path), bind.span);
        }
        bind
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

/// What to do about a file that cannot be read.
pub(in crate::config) fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "paths are relative to the file that names them",
        io::ErrorKind::PermissionDenied => "give the user that runs weir the right to read it",
        io::ErrorKind::FileTooLarge => "name a smaller one",
        _ => "name a file that can be read",
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
        let sentence = format!("it is larger than {most} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, sentence));
    }
    Ok(content)
}
