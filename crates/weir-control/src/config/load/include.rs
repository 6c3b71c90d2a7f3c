//! `include`: further files by name or pattern.
//!
//! They are read where they are named, after everything else in the naming file. A file that was read before is not read
//! again.

use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern};
use weir_model::{draft::Text, problem::Problem};

use super::{Loading, broken};

/// Files that include each other in a row.
const DEEPEST: usize = 16;

const OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

impl Loading {
    /// Reads what one entry of `include` names.
    pub(super) fn include(&mut self, entry: &Text, folder: &Path) {
        if self.open.len() >= DEEPEST {
            let cause = format!("{DEEPEST} files include each other in a row");
            return self.refuse(entry, cause, "include the files from fewer places");
        }
        let is_pattern = entry.value.contains(['*', '?', '[']);
        let paths = if is_pattern { self.matching(entry, folder) } else { vec![folder.join(&entry.value)] };
        for path in paths {
            if path.is_dir() {
                let cause = format!("`{}` is a folder", path.display());
                let remedy = format!("name the files in it: `{}/*.yaml`", entry.value.trim_end_matches('/'));
                self.refuse(entry, cause, &remedy);
            } else if let Some(cycle) = self.cycle(&path) {
                self.refuse(entry, cycle, "let only one of them include the other");
            } else if let Err(error) = self.file(&path) {
                let cause = format!("the file `{}` cannot be read: {error}", path.display());
                let remedy = if is_pattern { "" } else { "paths are relative to the file that names them" };
                self.refuse(entry, cause, remedy);
            }
        }
    }

    /// Files that a pattern matches, in name order, without the one that the pattern stands in.
    fn matching(&mut self, entry: &Text, folder: &Path) -> Vec<PathBuf> {
        let escaped = Pattern::escape(&folder.to_string_lossy());
        let pattern = Path::new(&escaped).join(&entry.value);
        self.watch_folders(&folder.join(&entry.value));
        let found = match glob::glob_with(&pattern.to_string_lossy(), OPTIONS) {
            Ok(found) => found,
            Err(error) => {
                let cause = format!("`{}` is not a pattern: {}", entry.value, error.msg);
                self.refuse(entry, cause, "write for example `conf.d/*.yaml`");
                return Vec::new();
            }
        };
        let mut paths = Vec::new();
        for path in found {
            match path {
                Ok(path) => paths.push(path),
                Err(error) => {
                    let cause =
                        format!("the folder `{}` cannot be read: {}", error.path().display(), error.error());
                    self.refuse(entry, cause, "give the user that runs weir the right to read it");
                }
            }
        }
        let own = self.open.last().map(|(identity, _)| identity.clone());
        let found = paths.len();
        paths.retain(|path| !path.is_dir() && (own.is_none() || path.canonicalize().ok() != own));
        if found == 0 {
            let cause = format!("no file matches `{}`", entry.value);
            let remedy =
                "paths are relative to the file that names them; remove the pattern if none is expected";
            self.loaded.problems.push(Problem::warning(entry.span, cause, remedy));
        }
        paths
    }

    /// New files may appear in the folder that comes before the first part with a wildcard.
    fn watch_folders(&mut self, pattern: &Path) {
        let plain =
            |part: &std::path::Component<'_>| !part.as_os_str().to_string_lossy().contains(['*', '?', '[']);
        let folder: PathBuf = pattern.components().take_while(plain).collect();
        self.loaded.files.watch(if folder.as_os_str().is_empty() { Path::new(".") } else { &folder });
    }

    /// The way back to a file that is being read.
    fn cycle(&self, path: &Path) -> Option<String> {
        let identity = path.canonicalize().ok()?;
        let from = self.open.iter().position(|(open, _)| *open == identity)?;
        let mut way: Vec<_> = self.open[from..].iter().map(|(_, name)| name.as_str()).collect();
        way.extend(way.first().copied());
        Some(format!("the files include each other in a circle: {}", way.join(" → ")))
    }

    fn refuse(&mut self, entry: &Text, cause: String, remedy: &str) {
        self.loaded.problems.push(Problem::error(entry.span, cause, remedy));
        // What it would have said is missing, which must not be said to be wrong elsewhere.
        broken(&mut self.loaded.draft);
    }
}
