//! From a path to a draft: one file, or a directory of files merged in name order, and the files that these include.

mod include;

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::io::Errno;
use weir_model::{
    draft::{BackendDraft, Draft},
    problem::{Problem, Span},
};

use super::{Files, Loaded, Refusal, Surroundings, files::lines, read, yaml};

/// Larger files are refused unread: nobody writes them, but somebody may point at a disk image.
const LARGEST: u64 = 64 << 20;

/// Reads a file, or every `*.yaml` and `*.yml` of a directory in name order.
///
/// # Errors
/// If nothing can be read at all. Problems inside the files are in [`Loaded::problems`].
pub fn load(path: &Path) -> Result<Loaded, Refusal> {
    load_in(path, &Surroundings::of_process())
}

/// [`load`], in surroundings that need not be those of this process.
///
/// # Errors
/// If nothing can be read at all.
pub fn load_in(path: &Path, surroundings: &Surroundings) -> Result<Loaded, Refusal> {
    let mut loading = Loading::new(surroundings);
    let metadata = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    let paths = if metadata.is_dir() { listed(path)? } else { vec![path.to_owned()] };
    loading.alone = paths.len() == 1;
    for path in paths {
        loading.file(&path).map_err(|error| unreadable(&path, &error))?;
    }
    Ok(loading.loaded)
}

/// Reads a text that stands in no file of its own.
pub(super) fn text(name: &str, text: &str, surroundings: &Surroundings) -> Loaded {
    let mut loading = Loading::new(surroundings);
    loading.add(Path::new(name), text.as_bytes());
    loading.loaded
}

/// Reads a file that is a list of backends.
///
/// # Errors
/// If it cannot be read at all.
pub(super) fn backends(
    path: &Path,
    surroundings: &Surroundings,
) -> Result<(Vec<BackendDraft>, Loaded), Refusal> {
    let mut loading = Loading::new(surroundings);
    let bytes = list_bytes(path).map_err(|error| unreadable(path, &error))?;
    let parsed = loading.parse(path, &bytes);
    let place = loading.place(path);
    let list = parsed.map(|root| read::list(&root, place, &mut loading.loaded));
    Ok((list.unwrap_or_default(), loading.loaded))
}

/// What was read so far, and what is being read.
struct Loading {
    loaded: Loaded,
    surroundings: Arc<Surroundings>,
    /// Files that were read or are being read, however they were named.
    seen: BTreeSet<PathBuf>,
    /// Files that are being read, each one included by the one before.
    open: Vec<(PathBuf, String)>,
    /// True while there is one file only, which then has to say something.
    alone: bool,
}

impl Loading {
    fn new(surroundings: &Surroundings) -> Self {
        Self {
            loaded: Loaded::new(surroundings),
            surroundings: Arc::new(surroundings.clone()),
            seen: BTreeSet::new(),
            open: Vec::new(),
            alone: true,
        }
    }

    /// Reads a file and what it includes, unless it was read before.
    fn file(&mut self, path: &Path) -> io::Result<()> {
        self.loaded.files.watch(path);
        // What is behind a pipe has no other name: `/dev/stdin` leads to `pipe:[1]`, which is nowhere.
        let identity = match fs::canonicalize(path) {
            Err(_) if is_pipe(path) => path.to_owned(),
            identity => identity?,
        };
        if self.seen.contains(&identity) {
            return Ok(());
        }
        if self.loaded.files.iter().count() >= usize::from(u16::MAX) {
            return Err(io::Error::other("there are too many files; 65,535 is the most"));
        }
        let bytes = bytes(path)?;
        self.seen.insert(identity.clone());
        self.open.push((identity, path.to_string_lossy().into_owned()));
        self.add(path, &bytes);
        self.open.pop();
        Ok(())
    }

    /// The nodes of one file; none if its syntax is broken, which is then among the problems.
    fn parse(&mut self, path: &Path, bytes: &[u8]) -> Option<yaml::Node> {
        let loaded = &mut self.loaded;
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let text = String::from_utf8_lossy(bytes);
        let file = loaded.files.add(&path.to_string_lossy(), &text);
        if let Err(error) = std::str::from_utf8(bytes) {
            let span = place_of(&bytes[..error.valid_up_to()], file);
            let remedy = "save the file as UTF-8";
            loaded.problems.push(Problem::error(span, "the file is not UTF-8 text", remedy));
            return None;
        }
        yaml::parse(&text, file, &mut loaded.problems)
    }

    fn place(&self, path: &Path) -> read::Place {
        // What comes through a pipe was written in no folder: then that of the process counts.
        let folder = path.parent().filter(|_| !is_pipe(path));
        read::Place {
            folder: folder.unwrap_or(Path::new("")).to_owned(),
            surroundings: self.surroundings.clone(),
            alone: self.alone,
        }
    }

    /// Adds the text of one file, and the files that it includes.
    fn add(&mut self, path: &Path, bytes: &[u8]) {
        let before = self.loaded.problems.len();
        let root = self.parse(path, bytes);
        if self.loaded.problems.len() > before {
            // Keys may have been lost, with whole listeners and pools in them.
            broken(&mut self.loaded.draft);
        }
        let Some(root) = root else { return };
        let place = self.place(path);
        let folder = place.folder.clone();
        let found = read::read(&root, place, &mut self.loaded);
        for pattern in found {
            self.alone = false;
            self.include(&pattern, &folder);
        }
    }
}

fn is_pipe(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo())
}

fn broken(draft: &mut Draft) {
    draft.listeners_incomplete = true;
    draft.pools_incomplete = true;
    draft.routes_incomplete = true;
}

/// The place right behind a text that is valid.
fn place_of(before: &[u8], file: u16) -> Span {
    let text = String::from_utf8_lossy(before);
    let line = lines(&text).count();
    let column = lines(&text).last().map_or(0, |last| last.chars().count()) + 1;
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    Span { file, line: number(line), column: number(column), length: 1 }
}

fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    let too_large = || io::Error::other(format!("it is larger than {} MiB", LARGEST >> 20));
    if fs::metadata(path)?.len() > LARGEST {
        return Err(too_large());
    }
    // A pipe does not say how much is to come.
    let mut bytes = Vec::new();
    File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST { Err(too_large()) } else { Ok(bytes) }
}

/// A list is not written by hand, and may become a pipe or endless by mistake.
fn list_bytes(path: &Path) -> io::Result<Vec<u8>> {
    const LARGEST_LIST: u64 = 16 << 20;
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    if metadata.len() > LARGEST_LIST {
        return Err(io::Error::other(format!("it is larger than {} MiB", LARGEST_LIST >> 20)));
    }
    fs::read(path)
}

fn listed(directory: &Path) -> Result<Vec<PathBuf>, Refusal> {
    let entries = fs::read_dir(directory).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
    let entries = entries.map_err(|error| unreadable(directory, &error))?;
    let yaml = |path: &PathBuf| path.extension().is_some_and(|end| end == "yaml" || end == "yml");
    let mut paths: Vec<_> = entries.into_iter().map(|entry| entry.path()).filter(yaml).collect();
    paths.sort();
    if paths.is_empty() {
        let cause = "there is no *.yaml or *.yml file in this directory";
        return Err(refusal(directory, cause.into(), "name the file itself, or add one"));
    }
    Ok(paths)
}

fn unreadable(path: &Path, error: &io::Error) -> Refusal {
    let remedy = match error.kind() {
        io::ErrorKind::NotFound => "check the path given with `-c`",
        io::ErrorKind::PermissionDenied => "give the user that runs weir the right to read it",
        _ if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            "its symbolic links lead in a circle: name the file itself"
        }
        _ => "name a file that can be read, or a directory of such files",
    };
    refusal(path, format!("the file cannot be read: {error}"), remedy)
}

fn refusal(path: &Path, cause: String, remedy: &str) -> Refusal {
    let mut files = Files::default();
    let file = files.add(&path.to_string_lossy(), "");
    Refusal { files, problems: vec![Problem::error(Span { file, ..Span::default() }, cause, remedy)] }
}

#[cfg(test)]
mod tests;
