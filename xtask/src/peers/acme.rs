//! Pebble issues certificates and renews them, is led astray, is not there, and asks for patience; two instances race for
//! one storage.

mod authority;
mod impatient;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::folder;
use crate::process::{Running, free_address};
use authority::{Authority, Papers};
use impatient::Impatient;

/// How long an authority may take to issue.
const PATIENCE: Duration = Duration::from_secs(60);
const NAMES: [&str; 2] = ["a.weir.test", "b.weir.test"];

/// One weir with a listener that is given its certificate.
struct Instance {
    running: Running,
    secure: SocketAddr,
    admin: SocketAddr,
}

/// What an instance is told.
struct Wanted<'w> {
    directory: &'w str,
    ca: &'w Path,
    storage: &'w Path,
    challenge: &'w str,
    /// Where it listens in clear text, and behind TLS.
    at: (SocketAddr, SocketAddr),
}

impl Instance {
    fn start(program: &Path, name: &str, wanted: &Wanted<'_>) -> Result<Self> {
        let (admin, (clear, secure)) = (free_address()?, wanted.at);
        let Wanted { directory, ca, storage, challenge, .. } = wanted;
        let (ca, storage, domains) = (ca.display(), storage.display(), NAMES.join(", "));
        let configuration = format!(
            "listeners:\n  clear:\n    bind: {clear}\n    protocol: http\n    routes:\n      \
             - {{ match: {{ path: /* }}, redirect: {{ scheme: https }} }}\n  \
             secure:\n    bind: {secure}\n    protocol: https\n    tls:\n      acme: {{ directory: \"{directory}\", \
             domains: [{domains}], storage: \"{storage}\", challenge: {challenge}, ca: \"{ca}\" }}\n    routes:\n      \
             - {{ match: {{ path: /* }}, respond: {{ status: 200, body: here }} }}\n\
             admin: {{ bind: {admin} }}\nshutdown: {{ announce: 0s }}\n"
        );
        let running = super::weir(program, name, &configuration)?;
        running.listens(secure)?;
        Ok(Self { running, secure, admin })
    }

    /// What the API says of the certificate.
    fn acme(&self) -> Result<Value> {
        let output =
            Command::new("curl").args(["-sS", &format!("http://{}/api/status", self.admin)]).output()?;
        let status: Value = serde_json::from_slice(&output.stdout)?;
        let listeners = status["listeners"].as_array().context("no listeners")?;
        let own = listeners.iter().find(|listener| listener["name"] == "secure").context("no listener")?;
        Ok(own["acme"].clone())
    }

    /// One request by somebody who believes the authority whose root this is: what was answered, or nothing.
    fn asks(&self, root: Option<&Path>, name: &str) -> Result<Option<String>> {
        let port = self.secure.port();
        let mut command = Command::new("curl");
        command.args(["-s", "--max-time", "10", "--resolve", &format!("{name}:{port}:{}", self.secure.ip())]);
        match root {
            Some(root) => command.arg("--cacert").arg(root),
            None => command.arg("-k"),
        };
        let output = command.arg(format!("https://{name}:{port}/")).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(output.status.success().then_some(text))
    }

    /// Waits for something that the API says.
    fn waits(&self, what: &str, is: impl Fn(&Value) -> bool) -> Result<Value> {
        let deadline = SystemTime::now() + PATIENCE;
        loop {
            let acme = self.acme()?;
            if is(&acme) {
                return Ok(acme);
            }
            ensure!(
                SystemTime::now() < deadline,
                "{what}: {acme}; it said last: {}",
                self.running.last_words()
            );
            thread::sleep(Duration::from_millis(200));
        }
    }

    /// Waits until every name is shown a certificate of this authority.
    fn serves(&self, root: &Path) -> Result<()> {
        let deadline = SystemTime::now() + PATIENCE;
        for name in NAMES {
            while self.asks(Some(root), name)?.as_deref() != Some("here") {
                let acme = self.acme()?;
                ensure!(
                    SystemTime::now() < deadline,
                    "{name} is not served: {acme}; {}",
                    self.running.last_words()
                );
                thread::sleep(Duration::from_millis(200));
            }
        }
        Ok(())
    }

    /// The listener is there, whatever it shows.
    fn is_there(&self) -> Result<()> {
        ensure!(self.asks(None, NAMES[0])?.as_deref() == Some("here"), "the listener does not serve");
        Ok(())
    }
}

fn storage(name: &str) -> Result<PathBuf> {
    let storage = folder(name)?.join("storage");
    let _ = fs::remove_dir_all(&storage);
    Ok(storage)
}

/// Issued by http-01, and renewed under requests: certificates of 45 seconds.
pub(super) fn http(program: &Path) -> Result<String> {
    let authority = Authority::start("acme-http", 45)?;
    let storage = storage("acme-http-weir")?;
    let at = (authority.http, authority.tls);
    let wanted = Wanted {
        directory: &authority.directory,
        ca: &authority.ca,
        storage: &storage,
        challenge: "http-01",
        at,
    };
    let weir = Instance::start(program, "acme-http-weir", &wanted)?;
    weir.is_there()?;
    weir.serves(&authority.root()?)?;
    let first = weir.acme()?["not_after"].clone();
    let (mut asked, mut failed) = (0, 0);
    let root = authority.root()?;
    let deadline = SystemTime::now() + PATIENCE;
    while weir.acme()?["not_after"] == first {
        ensure!(SystemTime::now() < deadline, "it is not renewed: {}", weir.running.last_words());
        for name in NAMES {
            asked += 1;
            failed += usize::from(weir.asks(Some(&root), name)?.as_deref() != Some("here"));
        }
    }
    ensure!(failed == 0, "{failed} of {asked} requests failed until it was renewed");
    weir.serves(&root)?;
    // What clients ask for that is no proof goes to the routes.
    let url = format!("http://{}/.well-known/acme-challenge/nobody", authority.http);
    let output = Command::new("curl").args(["-s", "-o", "/dev/null", "-w", "%{http_code}", &url]).output()?;
    ensure!(output.stdout == b"302", "a path that nobody asks for is answered with something else");
    Ok(format!("issued by http-01 and renewed; {asked} requests meanwhile, 0 failed"))
}

/// Issued by tls-alpn-01.
pub(super) fn tls_alpn(program: &Path) -> Result<String> {
    let authority = Authority::start("acme-alpn", 3600)?;
    let storage = storage("acme-alpn-weir")?;
    let wanted = Wanted {
        directory: &authority.directory,
        ca: &authority.ca,
        storage: &storage,
        challenge: "tls-alpn-01",
        at: (free_address()?, authority.tls),
    };
    let weir = Instance::start(program, "acme-alpn-weir", &wanted)?;
    weir.serves(&authority.root()?)?;
    Ok("issued by tls-alpn-01".to_owned())
}

/// The authority asks where nobody is; there is no authority; its certificate is not believed; it asks for patience.
pub(super) fn failures(program: &Path) -> Result<String> {
    let authority = Authority::start("acme-fails", 3600)?;
    let elsewhere = (free_address()?, free_address()?);
    let failed = |name: &str, directory: &str, ca: &Path, with: &str| -> Result<Value> {
        let storage = storage(name)?;
        let wanted = Wanted { directory, ca, storage: &storage, challenge: "http-01", at: elsewhere };
        let weir = Instance::start(program, name, &wanted)?;
        let acme = weir.waits("no failure", |acme| acme["failures"].as_u64() > Some(0))?;
        let said = acme["last_error"].as_str().unwrap_or_default();
        ensure!(said.contains(with), "`{with}` is not in `{said}`");
        weir.is_there()?;
        ensure!(weir.running.said().contains("; the next attempt is at "), "it is not said when it goes on");
        Ok(acme)
    };
    failed("acme-astray", &authority.directory, &authority.ca, "could not verify `")?;
    let nobody = format!("https://{}/dir", free_address()?);
    failed("acme-nobody", &nobody, &authority.ca, "cannot be reached")?;
    let stranger = Papers::new("acme-stranger")?;
    failed("acme-disbelief", &authority.directory, &stranger.ca, "signed by nobody who is trusted here")?;
    let impatient = Impatient::start()?;
    let acme = failed("acme-patience", &impatient.directory, &impatient.papers.ca, "Too Many Requests")?;
    let next = acme["next_attempt"].as_str().context("no next attempt")?;
    let due = Command::new("date").args(["-d", next, "+%s"]).output()?;
    let due: u64 = String::from_utf8_lossy(&due.stdout).trim().parse()?;
    let wait = due.saturating_sub(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs());
    // Two hours were asked for; without that it would be a minute.
    ensure!((3600..=7200).contains(&wait), "the next attempt is {wait} s away");
    Ok("astray, unreachable, not believed, 429: each with its reason, and the listener stays".to_owned())
}

/// Two instances, one storage: one order, and both have the certificate.
pub(super) fn two(program: &Path) -> Result<String> {
    let authority = Authority::start("acme-two", 3600)?;
    let storage = storage("acme-two-weir")?;
    let wanted = |at| Wanted {
        directory: &authority.directory,
        ca: &authority.ca,
        storage: &storage,
        challenge: "http-01",
        at,
    };
    // The authority asks the first one, whichever of them it is that has placed the order.
    let one = Instance::start(program, "acme-one-of-two", &wanted((authority.http, authority.tls)))?;
    let other = Instance::start(program, "acme-other-of-two", &wanted((free_address()?, free_address()?)))?;
    let root = authority.root()?;
    one.serves(&root)?;
    other.serves(&root)?;
    let orders = authority.orders();
    ensure!(orders == 1, "{orders} orders were placed");
    for file in fs::read_dir(&storage)? {
        use std::os::unix::fs::PermissionsExt as _;
        let file = file?;
        let mode = file.metadata()?.permissions().mode() & 0o777;
        ensure!(mode == 0o600, "{} may be read by others: {mode:o}", file.path().display());
    }
    Ok("two instances, one order, both serve".to_owned())
}
