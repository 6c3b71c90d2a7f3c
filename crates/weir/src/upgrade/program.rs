//! The program that an upgrade starts: what stands at its path by then, with the arguments of now.

use std::{
    env,
    ffi::OsString,
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// A path and arguments.
#[derive(Debug)]
pub(crate) struct Program {
    pub(super) path: PathBuf,
    pub(super) arguments: Vec<OsString>,
}

impl Program {
    /// The program that this process runs. To be asked for at the start: later the file may be another one.
    ///
    /// # Errors
    /// If the process cannot tell what it runs.
    pub(crate) fn of_this_process() -> Result<Self> {
        let mut arguments = env::args_os();
        let called = arguments.next().map(PathBuf::from);
        let runs = env::current_exe().context("the path of the program cannot be told")?;
        // What it was called by is followed anew each time: it may be a link that an upgrade lets point elsewhere.
        let path = called.and_then(|called| find(&called)).filter(|found| is_same(found, &runs));
        Ok(Self { path: path.unwrap_or(runs), arguments: arguments.collect() })
    }
}

/// Where a program is that was called by this name, as a shell finds it.
fn find(called: &Path) -> Option<PathBuf> {
    if called.components().count() > 1 {
        return Some(env::current_dir().ok()?.join(called));
    }
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(called)).find(|file| {
        fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    })
}

fn is_same(one: &Path, other: &Path) -> bool {
    let file = |path: &Path| fs::metadata(path).map(|found| (found.dev(), found.ino())).ok();
    file(one).is_some() && file(one) == file(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_as_a_shell_finds_it() {
        let shell = find(Path::new("sh")).unwrap();
        assert!(shell.is_absolute() && shell.ends_with("sh"));
        assert_eq!(find(Path::new("/bin/sh")), Some("/bin/sh".into()));
        assert!(find(Path::new("./sh")).unwrap().is_absolute());
        assert_eq!(find(Path::new("there-is-no-such-program")), None);
        assert!(is_same(&shell, &shell) && !is_same(&shell, Path::new("/nowhere")));
        assert!(!is_same(Path::new("/nowhere"), Path::new("/nowhere")));
    }
}
