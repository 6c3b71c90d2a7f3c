//! A weir that logs, and its log.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::Value;
use weir::app::{App, Sink};

/// A path that no other test uses.
pub(crate) fn path(name: &str) -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("weir-logging-{name}-{}-{count}", std::process::id()))
}

/// What the process's own log was told.
pub(crate) type Said = Arc<Mutex<Vec<String>>>;

/// A running weir with a listener called `web` and an access log.
pub(crate) struct Logged {
    pub(crate) app: App,
    /// The configuration.
    pub(crate) text: String,
    /// Its own file in the folder for temporary ones; none if the log goes elsewhere.
    file: Option<PathBuf>,
    pub(crate) said: Said,
}

impl Logged {
    /// One listener, one pool `app`, one worker; `more` are lines of the pool and of the file.
    pub(crate) fn http(backends: &[SocketAddr], format: &str, more: &str) -> Self {
        Self::start("http", backends, format, more, "")
    }

    /// `keys` are lines of the listener.
    pub(crate) fn start(
        protocol: &str,
        backends: &[SocketAddr],
        format: &str,
        more: &str,
        keys: &str,
    ) -> Self {
        let backends: Vec<_> = backends.iter().map(|address| format!("\"{address}\"")).collect();
        let backends = backends.join(", ");
        let text = format!(
            "workers: 1\nlisteners:\n  web:\n    bind: 127.0.0.1:0\n    protocol: {protocol}\n    \
             pool: app\n{keys}pools:\n  app:\n    backends: [{backends}]\n{more}"
        );
        Self::from_text(&text, &format!("format: '{format}'"))
    }

    /// A whole file but for its access log, which has these keys beside its path.
    pub(crate) fn from_text(text: &str, keys: &str) -> Self {
        let path = path("access");
        let text = format!("{text}access_log: {{ path: {}, {keys} }}\n", path.display());
        Self { file: Some(path), ..Self::launch(&text) }
    }

    /// A whole file, whose access log is somebody else's to read.
    pub(crate) fn launch(text: &str) -> Self {
        let said = Said::default();
        let heard = said.clone();
        let sink = Sink::function(move |line| heard.lock().unwrap().push(line.text.clone()));
        let app = App::from_text_with_log(text, sink);
        Self {
            app: app.unwrap_or_else(|error| panic!("{error}\n--- in ---\n{text}")),
            text: text.to_owned(),
            file: None,
            said,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.app.address("web")
    }

    /// Where its lines go.
    pub(crate) fn path(&self) -> &Path {
        self.file.as_deref().expect("the log has a file of its own")
    }

    /// Stops it.
    pub(crate) fn stop(self) {
        self.app.shutdown(&|| true);
    }

    /// Lines dropped so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.app.snapshot().logging.status.dropped.load(Ordering::Relaxed)
    }

    /// Stops it; every line that was written.
    pub(crate) fn lines(self) -> Vec<String> {
        let path = self.path().to_owned();
        self.stop();
        let text = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let text = String::from_utf8(text).expect("every format is UTF-8");
        assert!(text.is_empty() || text.ends_with('\n'));
        text.lines().map(str::to_owned).collect()
    }

    /// Stops it; every line as JSON.
    pub(crate) fn objects(self) -> Vec<Value> {
        let lines = self.lines();
        lines.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
    }
}
