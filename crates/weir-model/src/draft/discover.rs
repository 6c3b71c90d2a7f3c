//! How a file says that backends are discovered.

use super::{Setting, Text};
use crate::{
    problem::{Located, Span},
    time::Millis,
};

/// Unchecked discovery.
#[derive(Clone, Debug, Default)]
pub struct DiscoverDraft {
    /// The key `discover`.
    pub span: Span,
    /// What is asked; more than one is a mistake. The spans are those of the keys.
    pub sources: Vec<Located<SourceDraft>>,
    /// See [`crate::discovery::Asking::refresh`].
    pub refresh: Setting<Millis>,
    /// Who is asked for names, as `ADDRESS:PORT`; the spans are those of the addresses.
    pub servers: Vec<Text>,
}

/// What is asked.
#[derive(Clone, Debug)]
pub enum SourceDraft {
    /// `NAME:PORT`.
    Dns(Text),
    /// The name of service records.
    Srv(Text),
    /// A path, complete.
    File(Text),
    /// Containers.
    Docker(DockerDraft),
}

/// Unchecked containers; see [`crate::discovery::Docker`].
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "named and documented as in the compiled source")]
pub struct DockerDraft {
    /// Where the engine is: `unix:///run/docker.sock`.
    pub host: Option<Text>,
    pub label: Option<Text>,
    pub port: Setting<u32>,
    pub network: Option<Text>,
}
