//! Lines to a file, a pipe or standard output. What cannot be written is counted, and never leaves half a line behind
//! that another one is glued to.

use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

/// Readable for the group of the process, as logs usually are.
const MODE: u32 = 0o640;

/// An open file.
#[derive(Debug)]
pub(super) struct Lines {
    file: File,
    /// None for standard output, which cannot be opened again.
    path: Option<PathBuf>,
    /// The last thing written was a part of a line.
    torn: bool,
}

/// Why lines were not written, and how many.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) error: io::Error,
    pub(super) lines: u64,
}

impl Lines {
    /// Opens a file to append to, and makes it if it is not there.
    ///
    /// # Errors
    /// The operating system's.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: append_to(path)?, path: Some(path.to_owned()), torn: false })
    }

    /// Standard output.
    ///
    /// # Errors
    /// If the process has none.
    pub(super) fn stdout() -> io::Result<Self> {
        Ok(Self { file: rustix::io::dup(rustix::stdio::stdout())?.into(), path: None, torn: false })
    }

    /// Opens the path again: whoever renamed the file has the old one for himself from then on. If that fails, the old
    /// one is written to as before.
    ///
    /// # Errors
    /// The operating system's.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        if let Some(path) = &self.path {
            self.file = append_to(path)?;
            self.torn = false;
        }
        Ok(())
    }

    /// Writes whole lines.
    pub(super) fn write(&mut self, text: &[u8]) -> Result<(), Lost> {
        if self.torn {
            self.put(b"\n").map_err(|(error, _)| Lost { error, lines: count(text) })?;
        }
        self.put(text).map_err(|(error, written)| {
            let (before, after) = text.split_at(written);
            self.torn = before.last().is_some_and(|last| *last != b'\n');
            Lost { error, lines: count(after) }
        })?;
        self.torn = false;
        Ok(())
    }

    /// Writes all of it, or says how far it got.
    fn put(&mut self, text: &[u8]) -> Result<(), (io::Error, usize)> {
        let mut written = 0;
        while written < text.len() {
            match self.file.write(&text[written..]) {
                Ok(0) => return Err((ErrorKind::WriteZero.into(), written)),
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Whoever started us made standard output non-blocking. This thread may wait.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    thread::sleep(Duration::from_millis(10));
                }
                Err(error) => return Err((error, written)),
            }
        }
        Ok(())
    }
}

fn count(text: &[u8]) -> u64 {
    text.iter().filter(|byte| **byte == b'\n').count() as u64
}

fn append_to(path: &Path) -> io::Result<File> {
    // Opening a pipe without a reader must fail and not hang.
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits();
    let mut options = OpenOptions::new();
    let file = options.append(true).create(true).mode(MODE).custom_flags(flags.cast_signed()).open(path)?;
    let flags = fcntl_getfl(&file)?;
    fcntl_setfl(&file, flags - OFlags::NONBLOCK)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::{env, fs};

    use super::*;

    #[test]
    fn a_full_disk_loses_lines_and_says_how_many() {
        let mut full = Lines::open(Path::new("/dev/full")).unwrap();
        let lost = full.write(b"a\nb\nc\n").unwrap_err();
        assert_eq!((lost.lines, lost.error.kind()), (3, ErrorKind::StorageFull));
    }

    #[test]
    fn a_torn_line_is_ended_before_the_next_one() {
        let path = env::temp_dir().join(format!("weir-torn-{}.log", std::process::id()));
        let mut lines = Lines::open(&path).unwrap();
        lines.write(b"first\n").unwrap();
        lines.torn = true;
        lines.write(b"second\n").unwrap();
        lines.write(b"third\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "first\n\nsecond\nthird\n");
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_renamed_file_is_left_and_a_new_one_begun() {
        let path = env::temp_dir().join(format!("weir-reopen-{}.log", std::process::id()));
        let old = path.with_extension("old");
        let mut lines = Lines::open(&path).unwrap();
        lines.write(b"one\n").unwrap();
        fs::rename(&path, &old).unwrap();
        lines.write(b"two\n").unwrap();
        lines.reopen().unwrap();
        lines.write(b"three\n").unwrap();
        assert_eq!(fs::read_to_string(&old).unwrap(), "one\ntwo\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
        fs::remove_file(&path).unwrap();
        fs::remove_file(&old).unwrap();
    }

    #[test]
    fn what_cannot_be_opened_is_an_error_at_once() {
        assert_eq!(Lines::open(Path::new("/nowhere/a.log")).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(Lines::open(&env::temp_dir()).unwrap_err().kind(), ErrorKind::IsADirectory);
    }
}
