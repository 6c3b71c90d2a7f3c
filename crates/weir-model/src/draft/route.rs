//! A route as a file says it.

use super::{Setting, Text};
use crate::{
    problem::{Located, Span},
    time::Millis,
};

/// An unchecked route.
#[derive(Clone, Debug, Default)]
pub struct RouteDraft {
    /// Where it starts.
    pub span: Span,
    /// True if the reader reported a problem in it: nothing is said about what may be missing because of that.
    pub broken: bool,
    /// Its name, if it has one of its own.
    pub name: Option<Text>,
    /// Any of them holds; empty takes everything.
    pub conditions: Vec<ConditionDraft>,
    /// Exactly one is right; all are kept so that a second one can be pointed at.
    pub actions: Vec<Located<ActionDraft>>,
    /// How the target changes.
    pub rewrite: Option<Located<RewriteDraft>>,
    /// Edits of the request.
    pub request_headers: Option<Located<EditsDraft>>,
    /// Edits of the response.
    pub response_headers: Option<Located<EditsDraft>>,
    /// Calls of gRPC-Web are made calls of gRPC for the backend.
    pub grpc_web: Setting<bool>,
    /// For the whole exchange.
    pub timeout: Setting<Millis>,
    /// What is tried again.
    pub retry: Setting<RetryDraft>,
}

/// A route at the top of a file, evaluated after the routes of each listener that it names.
#[derive(Clone, Debug, Default)]
pub struct SharedRouteDraft {
    /// Names of listeners.
    pub listeners: Vec<Text>,
    /// The route.
    pub route: RouteDraft,
}

/// What is tried again; see [`crate::route::Retry`].
#[derive(Clone, Debug, Default)]
pub struct RetryDraft {
    /// Further attempts.
    pub retries: Setting<u32>,
    /// Words and status codes, as written; none if the key is absent.
    pub retry_on: Setting<Vec<Text>>,
    /// For one attempt.
    pub per_try: Setting<Millis>,
    /// In millionths; inner none is no limit.
    pub budget: Setting<Option<u32>>,
    /// Which requests may be sent twice.
    pub methods: Setting<RetryMethodsDraft>,
}

/// See [`crate::route::RetryMethods`].
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "named and documented as in the compiled route")]
pub enum RetryMethodsDraft {
    Idempotent,
    All,
    /// As written.
    These(Vec<Text>),
}

/// A name (of a header, a query parameter, a cookie) and what its value may be.
pub type NamedTexts = (Text, Vec<Located<TextDraft>>);

/// Everything in it holds; a list means any of its members; an empty list was not given.
#[derive(Clone, Debug, Default)]
pub struct ConditionDraft {
    /// Where it starts.
    pub span: Span,
    /// Host names, as written.
    pub host: Vec<Text>,
    /// Path patterns, as written.
    pub path: Vec<Text>,
    /// Methods.
    pub method: Vec<Text>,
    /// Header fields.
    pub headers: Vec<NamedTexts>,
    /// Query parameters.
    pub query: Vec<NamedTexts>,
    /// Cookies.
    pub cookies: Vec<NamedTexts>,
    /// Networks, as written.
    pub source: Vec<Text>,
    /// Names of hosts that clients ask for when they begin TLS, as written.
    pub sni: Vec<Text>,
    /// Protocols named by ALPN.
    pub alpn: Vec<Text>,
    /// The certificate of the client.
    pub client_cert: Option<Located<ClientCertDraft>>,
    /// Calls of gRPC.
    pub grpc: Option<Located<GrpcDraft>>,
    /// None of these may hold.
    pub not: Vec<Self>,
}

/// What a client certificate has to be; see [`crate::route::CertificateMatch`].
#[derive(Clone, Debug, Default)]
pub struct ClientCertDraft {
    /// Names, as written.
    pub san: Vec<Text>,
    /// Subjects.
    pub subject: Vec<Located<TextDraft>>,
    /// Whether there has to be one at all.
    pub present: Option<Located<bool>>,
}

/// Calls of gRPC; see [`crate::route::GrpcMatch`].
#[derive(Clone, Debug, Default)]
pub struct GrpcDraft {
    /// Names of services with their packages, as written.
    pub service: Vec<Text>,
    /// Names of methods, as written.
    pub method: Vec<Text>,
}

/// How a text is compared.
#[derive(Clone, Debug)]
pub enum TextDraft {
    /// It is this text.
    Exact(String),
    /// It begins with this text.
    Prefix(String),
    /// The expression matches somewhere in it.
    Regex(String),
    /// It is there at all, or is not.
    Present(bool),
}

/// What becomes of a request.
#[derive(Clone, Debug)]
pub enum ActionDraft {
    /// Goes to the pool of this name.
    Pool(Text),
    /// Goes to one of several pools.
    Split(Vec<ArmDraft>),
    /// Is answered with a redirect.
    Redirect(RedirectDraft),
    /// Is answered with a fixed response.
    Respond(RespondDraft),
}

impl ActionDraft {
    /// The key in the file.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Pool(_) => "pool",
            Self::Split(_) => "split",
            Self::Redirect(_) => "redirect",
            Self::Respond(_) => "respond",
        }
    }
}

/// One arm of a split.
#[derive(Clone, Debug, Default)]
pub struct ArmDraft {
    /// Its pool.
    pub pool: Option<Text>,
    /// Its share relative to the other arms.
    pub weight: Option<Located<u32>>,
}

/// See [`crate::route::Redirect`].
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "named and documented as in the compiled redirect")]
pub struct RedirectDraft {
    pub scheme: Option<Text>,
    pub host: Option<Text>,
    pub port: Option<Located<u32>>,
    pub path: PathEditDraft,
    pub code: Option<Located<u32>>,
}

/// See [`crate::route::Respond`].
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "named and documented as in the compiled response")]
pub struct RespondDraft {
    pub status: Option<Located<u32>>,
    pub body: Option<Text>,
    pub headers: Vec<(Text, Text)>,
}

/// How a path changes; at most one of them is right.
#[derive(Clone, Debug, Default)]
pub struct PathEditDraft {
    /// This path for every request.
    pub whole: Option<Text>,
    /// Instead of the prefix that the route matched.
    pub prefix: Option<Text>,
    /// The expression, and what stands instead of each match.
    pub regex: Option<(Text, Text)>,
}

/// How the forwarded target changes.
#[derive(Clone, Debug, Default)]
pub struct RewriteDraft {
    /// The path.
    pub path: PathEditDraft,
    /// The Host that the backend sees.
    pub host: Option<Text>,
}

/// Edits of header fields.
#[derive(Clone, Debug, Default)]
pub struct EditsDraft {
    /// Written in place of every field of that name.
    pub set: Vec<(Text, Text)>,
    /// Written after the fields that came.
    pub add: Vec<(Text, Text)>,
    /// Left out.
    pub remove: Vec<Text>,
}
