//! The access log as a worker writes it: one record per exchange or connection, formatted into the worker's own
//! buffer and handed on in batches. Nothing here waits; what cannot be handed on is dropped and counted.

mod batch;
mod clf;
mod httplog;
mod identity;
mod json;
mod record;
mod termination;
mod values;

use weir_model::log::LogFormat;

pub(crate) use batch::AccessBuffer;
pub use batch::{AccessQueue, AccessReceiver, Batch, access_queue};
pub(crate) use identity::{Identities, is_plain as is_plain_identity};
pub(crate) use record::{Attempt, Fields, Heard, Outcome, Record};

/// Appends the record as one line, with its line end.
pub(crate) fn write_line(format: &LogFormat, record: &Record<'_>, out: &mut Vec<u8>) {
    match format {
        LogFormat::Json => json::write(record, out),
        LogFormat::Common => clf::write_common(record, out),
        LogFormat::Combined => clf::write_combined(record, out),
        LogFormat::Httplog => httplog::write(record, out),
        LogFormat::Template(template) => {
            template.render(record, weir_model::template::Escape::Line, "-", out);
        }
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests;
