//! Paths of log files: relative to the file that names them.

use std::path::Path;

use weir_model::draft::LogsDraft;

use super::Files;

/// Makes the path of the access log relative to nothing but where the process runs.
pub(super) fn place(logs: &mut LogsDraft, files: &Files) {
    let Some(path) = logs.access.as_mut().and_then(|access| access.value.path.as_mut()) else { return };
    if path.value == "-" || path.value.is_empty() || path.value.starts_with("syslog:") {
        return;
    }
    let folder = files.file(path.span.file).and_then(|file| Path::new(&file.name).parent());
    if let Some(joined) = folder.map(|folder| folder.join(&path.value)) {
        path.value = joined.to_string_lossy().into_owned();
    }
}
