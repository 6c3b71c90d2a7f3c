//! A list of backends in a file of its own: read by the same rules as `backends` of a pool.

use std::path::Path;

use weir_model::{draft::BackendDraft, problem::Severity, snapshot::compile};

use super::{Refusal, Report, Surroundings, load};

/// Reads a file that is a list of backends.
///
/// # Errors
/// Every problem of the file: it is taken as a whole, or not at all.
pub fn backends(path: &Path, surroundings: &Surroundings) -> Result<Vec<BackendDraft>, Refusal> {
    let (backends, loaded) = load::backends(path, surroundings)?;
    let mut problems = loaded.problems;
    problems.extend(compile::judge(&backends));
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        problems.sort_by(|a, b| (a.span, &a.cause).cmp(&(b.span, &b.cause)));
        return Err(Report { files: loaded.files, problems });
    }
    Ok(backends)
}
