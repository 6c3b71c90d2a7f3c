//! weir in process, for tests: a configuration in, addresses out.

use std::{
    fmt::Write as _,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use weir::app::{App, Sink};

/// A running weir with one listener called `web`; it stops when it is dropped.
pub(crate) struct Weir(App);

impl Weir {
    /// Starts from a whole configuration.
    ///
    /// # Panics
    /// If it is refused.
    #[track_caller]
    pub(crate) fn from_text(text: &str) -> Self {
        let app = App::from_text(text);
        Self(app.unwrap_or_else(|error| panic!("{error}\n--- in ---\n{text}")))
    }

    /// The same with a process log of its own.
    ///
    /// # Panics
    /// If it is refused.
    #[allow(dead_code, reason = "not every test that includes this file needs all of it")]
    #[track_caller]
    pub(crate) fn with_log(text: &str, log: Sink) -> Self {
        let app = App::from_text_with_log(text, log);
        Self(app.unwrap_or_else(|error| panic!("{error}\n--- in ---\n{text}")))
    }

    /// Where the listener is bound.
    pub(crate) fn address(&self) -> SocketAddr {
        self.0.address("web")
    }

    /// The balancer itself.
    #[allow(dead_code, reason = "not every test that includes this file needs all of it")]
    pub(crate) const fn app(&self) -> &App {
        &self.0
    }
}

/// One listener `web`, one pool `app`, one worker, no health checks.
pub(crate) struct Setup {
    protocol: &'static str,
    backends: Vec<SocketAddr>,
    listener: Vec<String>,
    route: Vec<String>,
    pool: Vec<String>,
}

#[allow(dead_code, reason = "not every test that includes this file needs all of it")]
impl Setup {
    /// An HTTP listener in front of these backends.
    pub(crate) fn http(backends: &[SocketAddr]) -> Self {
        Self {
            protocol: "http",
            backends: backends.to_vec(),
            listener: Vec::new(),
            route: Vec::new(),
            pool: Vec::new(),
        }
    }

    /// A TCP listener in front of these backends.
    pub(crate) fn tcp(backends: &[SocketAddr]) -> Self {
        Self { protocol: "tcp", ..Self::http(backends) }
    }

    /// A listener that passes TLS on, in front of these backends.
    pub(crate) fn tls(backends: &[SocketAddr]) -> Self {
        Self { protocol: "tls", ..Self::http(backends) }
    }

    /// One more line of the listener.
    pub(crate) fn listener(mut self, line: &str) -> Self {
        self.listener.push(line.to_owned());
        self
    }

    /// One more line of the route.
    pub(crate) fn route(mut self, line: &str) -> Self {
        self.route.push(line.to_owned());
        self
    }

    /// One more line of the pool.
    pub(crate) fn pool(mut self, line: &str) -> Self {
        self.pool.push(line.to_owned());
        self
    }

    /// Starts it.
    ///
    /// # Panics
    /// If the configuration is refused.
    #[track_caller]
    pub(crate) fn start(&self) -> Weir {
        let backends: Vec<_> = self.backends.iter().map(|address| format!("\"{address}\"")).collect();
        let mut text = format!(
            "workers: 1\n\
             listeners:\n  web:\n    bind: 127.0.0.1:0\n    protocol: {}\n    routes:\n      - pool: app\n",
            self.protocol
        );
        let line = |text: &mut String, line: &String| writeln!(text, "    {line}");
        self.route.iter().try_for_each(|entry| line(&mut text, &format!("    {entry}"))).unwrap();
        self.listener.iter().try_for_each(|entry| line(&mut text, entry)).unwrap();
        writeln!(text, "pools:\n  app:\n    backends: [{}]", backends.join(", ")).unwrap();
        self.pool.iter().try_for_each(|entry| line(&mut text, entry)).unwrap();
        Weir::from_text(&text)
    }
}

/// A process log that can be read while it is written.
#[allow(dead_code, reason = "not every test that includes this file needs all of it")]
pub(crate) fn journal() -> (Sink, impl Fn() -> String) {
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(text);
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let page = Arc::default();
    let sink = Sink::lines(Page(Arc::clone(&page)));
    (sink, move || String::from_utf8_lossy(&page.lock().unwrap()).into_owned())
}
