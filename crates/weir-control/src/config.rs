//! The configuration language: files to a draft, a draft to a snapshot, problems to text.
//!
//! ```text
//! files → yaml (nodes with places) → read (the language: a draft) → weir-model's compile → snapshot
//! ```
//!
//! Every stage collects problems instead of stopping at the first one; [`compile`] reports those of all stages at
//! once.

mod backends;
pub(crate) mod certificates;
mod files;
mod load;
mod read;
mod reference;
mod render;
mod schema;
mod surroundings;
mod yaml;

use weir_model::{
    draft::{Draft, Machine, PoolDraft},
    problem::{Problem, Severity, Span},
    snapshot::{self, Snapshot, compile::Credentials},
    status::Registry,
    time::Millis,
};

pub use backends::backends;
pub use files::{File, Files};
pub use load::{load, load_in};
pub use reference::reference;
pub use render::{Style, visible};
pub use schema::schema;
pub use surroundings::Surroundings;

/// What was read, and what is wrong with how it is written.
#[derive(Debug)]
pub struct Loaded {
    /// What the files say, as far as it could be read.
    pub draft: Draft,
    /// Their texts, to show problems in.
    pub files: Files,
    /// What could not be read.
    pub problems: Vec<Problem>,
}

/// A snapshot and what to say about it.
#[derive(Debug)]
pub struct Compiled {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// Warnings, and the files they stand in.
    pub report: Report,
    /// The pools that discover backends, to be compiled anew when something was found.
    pub discovering: Vec<PoolDraft>,
    /// What came from files that certificates stand in, to be read again when these change.
    pub credentials: Vec<Credentials>,
}

/// Problems together with the files that they point into.
#[derive(Debug)]
pub struct Report {
    /// The texts.
    pub files: Files,
    /// In order of place.
    pub problems: Vec<Problem>,
}

/// A configuration that is refused: a report with at least one error.
pub type Refusal = Report;

impl Report {
    /// As text for people, with source lines and a summary; empty if there is no problem.
    pub fn render(&self, style: Style) -> String {
        render::render(&self.problems, &self.files, style)
    }

    /// The first error with its place, in one line: `weir.yaml:3:5: …`, and how many more there are.
    pub fn headline(&self) -> String {
        let mut errors = self.problems.iter().filter(|problem| problem.severity == Severity::Error);
        let Some(first) = errors.next() else { return String::new() };
        let more = match errors.count() {
            0 => String::new(),
            count => format!(" (and {count} more)"),
        };
        let file = self.files.file(first.span.file).map_or("", |file| &*file.name);
        match first.span {
            Span { line: 0, .. } => format!("{file}: {}{more}", first.cause),
            Span { line, column, .. } => format!("{file}:{line}:{column}: {}{more}", first.cause),
        }
    }

    /// How many errors and warnings there are.
    pub fn counts(&self) -> (usize, usize) {
        let errors = self.problems.iter().filter(|problem| problem.severity == Severity::Error).count();
        (errors, self.problems.len() - errors)
    }
}

/// Reads one text as a whole configuration. `name` stands for it in problems; files that the text names are looked for
/// where `name` would be.
pub fn from_text(name: &str, text: &str) -> Loaded {
    from_text_in(name, text, &Surroundings::of_process())
}

/// [`from_text`], in surroundings that need not be those of this process.
pub fn from_text_in(name: &str, text: &str, surroundings: &Surroundings) -> Loaded {
    load::text(name, text, surroundings)
}

impl Loaded {
    /// Nothing yet.
    fn new(surroundings: &Surroundings) -> Self {
        let machine = Machine { files: surroundings.files, here: surroundings.here };
        let draft = Draft { machine, ..Draft::default() };
        Self { draft, files: Files::default(), problems: Vec::new() }
    }
}

/// A duration as the language writes it: `250ms`, `5s`, `2m`, `1h`. For the command line, which has to speak the same.
///
/// # Errors
/// What to write instead.
pub fn duration(text: &str) -> Result<Millis, String> {
    read::parse_duration(text)
}

/// Compiles what was read. Problems of reading and of compiling are reported together.
///
/// # Errors
/// All problems, if at least one of them is an error.
pub fn compile(loaded: Loaded, generation: u64, registry: &mut Registry) -> Result<Compiled, Refusal> {
    let Loaded { draft, files, mut problems } = loaded;
    let (snapshot, more) = match snapshot::compile::compile(&draft, generation, registry) {
        Ok((snapshot, warnings)) => (Some(snapshot), warnings),
        Err(problems) => (None, problems),
    };
    problems.extend(more);
    problems.sort_by(|a, b| (a.span, &a.cause).cmp(&(b.span, &b.cause)));
    let refused = problems.iter().any(|problem| problem.severity == Severity::Error);
    let report = Report { files, problems };
    match snapshot {
        Some(snapshot) if !refused => {
            let discovering = snapshot::compile::discovering(&draft);
            let credentials = snapshot::compile::credentials(&draft);
            Ok(Compiled { snapshot, report, discovering, credentials })
        }
        _ => Err(report),
    }
}
