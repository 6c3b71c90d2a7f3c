//! From a path to a draft: one file, or a directory of files merged in name order.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use weir_model::{
    draft::Draft,
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
    let mut loaded = Loaded::new(surroundings);
    let surroundings = Arc::new(surroundings.clone());
    let metadata = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    let paths = if metadata.is_dir() { listed(path)? } else { vec![path.to_owned()] };
    for path in paths {
        let bytes = bytes(&path).map_err(|error| unreadable(&path, &error))?;
        add(&mut loaded, &path.to_string_lossy(), &bytes, &surroundings);
    }
    Ok(loaded)
}

/// Adds one file to what was read so far.
pub(super) fn add(loaded: &mut Loaded, name: &str, bytes: &[u8], surroundings: &Arc<Surroundings>) {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = String::from_utf8_lossy(bytes);
    let file = loaded.files.add(name, &text);
    if let Err(error) = std::str::from_utf8(bytes) {
        let span = place_of(&bytes[..error.valid_up_to()], file);
        let remedy = "save the file as UTF-8";
        loaded.problems.push(Problem::error(span, "the file is not UTF-8 text", remedy));
        return broken(&mut loaded.draft);
    }
    let before = loaded.problems.len();
    let root = yaml::parse(&text, file, &mut loaded.problems);
    if loaded.problems.len() > before {
        // Keys may have been lost, with whole listeners and pools in them.
        broken(&mut loaded.draft);
    }
    if let Some(root) = root {
        let folder = Path::new(name).parent().unwrap_or(Path::new(""));
        let place = read::Place { folder: folder.to_owned(), surroundings: surroundings.clone() };
        read::read(&root, place, &mut loaded.draft, &mut loaded.problems);
    }
}

fn broken(draft: &mut Draft) {
    draft.listeners_incomplete = true;
    draft.pools_incomplete = true;
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
    if fs::metadata(path)?.len() > LARGEST {
        return Err(io::Error::other(format!("it is larger than {} MiB", LARGEST >> 20)));
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
        let cause = "there is no *.yaml file in this directory";
        return Err(refusal(directory, cause.into(), "name the file itself, or add one"));
    }
    Ok(paths)
}

fn unreadable(path: &Path, error: &io::Error) -> Refusal {
    let remedy = match error.kind() {
        io::ErrorKind::NotFound => "check the path given with `-c`",
        io::ErrorKind::PermissionDenied => "give the user that runs weir the right to read it",
        _ => "",
    };
    refusal(path, format!("the file cannot be read: {error}"), remedy)
}

fn refusal(path: &Path, cause: String, remedy: &str) -> Refusal {
    let mut files = Files::default();
    let file = files.add(&path.to_string_lossy(), "");
    Refusal { files, problems: vec![Problem::error(Span { file, ..Span::default() }, cause, remedy)] }
}

#[cfg(test)]
mod tests {
    use std::env;

    use weir_model::status::Registry;

    use super::*;
    use crate::config::{self, Style};

    /// A directory that is there for one test.
    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let path = env::temp_dir().join(format!("weir-load-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            for (name, text) in files {
                fs::write(path.join(name), text).unwrap();
            }
            Self(path)
        }

        /// What is said about it, with the names of files only.
        fn outcome(&self) -> String {
            let compile = |mut loaded: Loaded| {
                loaded.files.rename(|name| name.rsplit('/').next().unwrap_or(name).to_owned());
                config::compile(loaded, 1, &mut Registry::new(1))
            };
            match load(&self.0).and_then(compile) {
                Ok(compiled) => format!("{} pools", compiled.snapshot.pools.len()),
                Err(refusal) => refusal.render(Style::Plain),
            }
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const WEB: &str = "listeners: { web: { bind: ':80', protocol: http, pool: app } }\n";
    const APP: &str = "pools: { app: { backends: ['10.0.0.1:80'] } }\n";

    #[test]
    fn the_files_of_a_directory_are_one_configuration() {
        let files = [("a.yaml", WEB), ("b.yml", APP), ("c.txt", "not: read"), ("README", "[")];
        assert_eq!(Directory::new("merged", &files).outcome(), "1 pools");
    }

    #[test]
    fn what_two_files_say_is_refused_with_both_places() {
        let b = format!("{APP}workers: 2\n");
        let c = format!("{APP}workers: 3\n");
        let outcome = Directory::new("twice", &[("a.yaml", WEB), ("b.yaml", &b), ("c.yaml", &c)]).outcome();
        for expected in [
            "error: there are two pools named `app`\n  --> c.yaml:1:10\n",
            "error: `workers` is given in two files\n  --> c.yaml:2:1\n",
            "  --> b.yaml:2:1\n",
            "2 errors\n",
        ] {
            assert!(outcome.contains(expected), "{outcome}");
        }
    }

    #[test]
    fn a_broken_file_does_not_make_the_others_wrong() {
        let outcome = Directory::new("broken", &[("a.yaml", WEB), ("b.yaml", "pools: [")]).outcome();
        assert!(outcome.ends_with("\n1 error\n"), "{outcome}");
    }

    #[test]
    fn what_cannot_be_read_says_so() {
        assert!(Directory::new("empty", &[]).outcome().contains("there is no *.yaml file in this directory"));
        let refusal = load(Path::new("/nowhere/weir.yaml")).unwrap_err().render(Style::Plain);
        assert!(
            refusal.contains("the file cannot be read") && refusal.contains("/nowhere/weir.yaml"),
            "{refusal}"
        );
    }
}
