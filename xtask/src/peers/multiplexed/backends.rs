//! Backends that speak HTTP/2: Node, nginx, hypercorn and nghttpd, in clear text and over TLS, asked by clients of both
//! versions; and nginx that is reloaded under load.

use std::{fs, net::SocketAddr, path::Path, process::Command, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};

use super::{
    super::{clients::curl, databases::output, folder, termination::Made, weir},
    tools::{self, Load},
    web,
};
use crate::process::{self, Running, free_address};

/// Bytes of a long answer.
const LONG: usize = 1 << 20;

/// A backend that runs, and how it is asked.
struct Backend {
    name: &'static str,
    address: SocketAddr,
    secure: bool,
    /// Whether it is a program of ours, which answers uploads and makes long answers by itself.
    ours: bool,
    _running: Running,
}

/// nginx with a page, a file and workers that can be replaced.
fn nginx(name: &'static str, address: SocketAddr, made: Option<&Made>) -> Result<Running> {
    let folder = folder(name)?;
    fs::create_dir_all(folder.join("files"))?;
    fs::write(folder.join("files/long"), vec![b'l'; LONG])?;
    let tls = made.map_or_else(String::new, |made| {
        let (certificate, key) = (made.path("site.pem"), made.path("site.key"));
        format!("    ssl_certificate {certificate};\n    ssl_certificate_key {key};\n")
    });
    let ssl = if made.is_some() { "ssl " } else { "" };
    let (page, files) = ("x".repeat(1024), folder.join("files"));
    let text = format!(
        "worker_processes 1;\npid nginx.pid;\nerror_log stderr error;\nevents {{ worker_connections 2048; }}\nhttp {{\n  \
         access_log off;\n  client_body_temp_path body;\n  proxy_temp_path proxy;\n  fastcgi_temp_path fastcgi;\n  \
         uwsgi_temp_path uwsgi;\n  scgi_temp_path scgi;\n  keepalive_requests 1000;\n  server {{\n    listen {address} \
         {ssl}http2;\n{tls}    add_header X-Version $server_protocol;\n    add_header X-Backend {name};\n    location / \
         {{ return 200 \"{page}\"; }}\n    location = /long {{ alias {}/long; }}\n  }}\n}}\n",
        files.display()
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, text)?;
    let running = Running::start(&mut process::nginx(&file, &folder), &folder)?;
    running.listens(address)?;
    Ok(running)
}

fn hypercorn(name: &str, address: SocketAddr, made: Option<&Made>) -> Result<Running> {
    let mut command = Command::new(tools::python()?);
    command.args([
        "-m",
        "hypercorn",
        "asgi_app:app",
        "--log-level",
        "warning",
        "--bind",
        &address.to_string(),
    ]);
    if let Some(made) = made {
        command.args(["--certfile", &made.path("site.pem"), "--keyfile", &made.path("site.key")]);
    }
    let running =
        tools::server(name, command.current_dir(tools::source("")).env("PYTHONDONTWRITEBYTECODE", "1"))?;
    running.listens(address)?;
    Ok(running)
}

fn nghttpd(name: &str, address: SocketAddr, made: Option<&Made>) -> Result<Running> {
    let pages = folder(&format!("{name}-pages"))?;
    fs::write(pages.join("index.html"), "x".repeat(1024))?;
    fs::write(pages.join("long"), vec![b'l'; LONG])?;
    let mut command = Command::new("nghttpd");
    command.args(["-a", "127.0.0.1", "--trailer", "x-sum: four", "-d"]).arg(&pages);
    let port = address.port().to_string();
    match made {
        Some(made) => command.args([&port, &made.path("site.key"), &made.path("site.pem")]),
        None => command.args(["--no-tls", &port]),
    };
    // Debian keeps it where programs of the administrator are.
    let path = std::env::var("PATH").unwrap_or_default();
    let running = tools::server(name, command.env("PATH", format!("{path}:/usr/sbin")))?;
    running.listens(address)?;
    Ok(running)
}

/// All of them; those with TLS have `secure`.
fn start(made: &Made) -> Result<Vec<Backend>> {
    let mut backends = Vec::new();
    for secure in [false, true] {
        let name = |clear, encrypted| if secure { encrypted } else { clear };
        let made = secure.then_some(made);
        let mut add =
            |name: &'static str, ours, start: &dyn Fn(&'static str, SocketAddr) -> Result<Running>| {
                let address = free_address()?;
                let running = start(name, address).with_context(|| format!("{name} does not start"))?;
                backends.push(Backend { name, address, secure, ours, _running: running });
                anyhow::Ok(())
            };
        let kind = if secure { "h2" } else { "h2c" };
        add(name("node-h2c", "node-h2"), true, &|name, address| web::node(name, kind, address, made))?;
        add(name("nginx-h2c", "nginx-h2"), false, &|name, address| nginx(name, address, made))?;
        add(name("hypercorn-h2c", "hypercorn-h2"), true, &|name, address| hypercorn(name, address, made))?;
        add(name("nghttpd-h2c", "nghttpd-h2"), false, &|name, address| nghttpd(name, address, made))?;
    }
    Ok(backends)
}

/// One host name for each backend.
fn configuration(address: SocketAddr, backends: &[Backend], made: &Made) -> String {
    let mut text = format!("listeners:\n  web:\n    bind: {address}\n    protocol: http\n    routes:\n");
    for Backend { name, .. } in backends {
        text += &format!("      - {{ match: {{ host: {name}.test }}, pool: {name} }}\n");
    }
    text += "pools:\n";
    for Backend { name, address, secure, .. } in backends {
        // Over TLS both sides agree on what they speak.
        let how = match secure {
            true => format!("tls: {{ ca: {}, sni: site.test }}", made.path("ca.pem")),
            false => "protocol: h2".to_owned(),
        };
        text += &format!("  {name}: {{ backends: [\"{address}\"], {how} }}\n");
    }
    text
}

/// Each backend is asked by clients of both versions.
pub(in super::super) fn servers(program: &Path) -> Result<String> {
    let made = Made::new("http2-backends-certificates")?;
    let (web, backends) = (free_address()?, start(&made)?);
    let running = weir(program, "http2-backends", &configuration(web, &backends, &made))?;
    running.listens(web)?;
    let upload = folder("http2-backends")?.join("upload");
    fs::write(&upload, vec![b'u'; LONG])?;
    let sum = output(Command::new("sha256sum").arg(&upload))?;
    let digest = format!("{LONG} {}", sum.split(' ').next().unwrap_or_default());
    let mut requests = 0;
    for backend in &backends {
        // In clear text curl makes no second request on a connection of HTTP/2; h2load does.
        for (version, pages) in [("--http1.1", 100), ("--http2-prior-knowledge", 1)] {
            let asked = ask(backend, (version, pages), web, &upload, &digest);
            requests += asked.with_context(|| format!("{} asked with {version}", backend.name))?;
        }
        let url = format!("http://{}.test:{}/", backend.name, web.port());
        web::many(&url, web, 1000, (8, 16)).with_context(|| backend.name)?;
        requests += 1000;
    }
    Ok(format!("{requests} requests to {} servers, 0 failed", backends.len()))
}

/// Pages, a long answer, and an upload where there is somebody to take it; how many requests that were.
fn ask(
    backend: &Backend,
    (version, pages): (&str, usize),
    web: SocketAddr,
    upload: &Path,
    digest: &str,
) -> Result<usize> {
    let resolve = format!("{}.test:{}:127.0.0.1", backend.name, web.port());
    let url = format!("http://{}.test:{}", backend.name, web.port());
    let fetch = |more: &[&str]| curl(&[&[version, "--resolve", &resolve], more].concat(), None);
    let print = ["-o", "/dev/null", "-w", "%{http_code} %{size_download} %header{x-version}\n"];
    let said = fetch(&[&print[..], &[&format!("{url}/?[1-{pages}]")]].concat())?;
    let fine = |line: &&str| line.starts_with("200 1024") && (line.contains(" 2") || line.contains("HTTP/2"));
    // nghttpd says no version; it has only one.
    let fine = |line: &&str| fine(line) || (backend.name.starts_with("nghttpd") && *line == "200 1024 ");
    let good = said.lines().filter(fine).count();
    ensure!(
        good == pages,
        "{good} of {pages} pages are as they should be, the last one {:?}",
        said.lines().next_back()
    );
    let head = fetch(&["-I", &format!("{url}/")])?;
    ensure!(head.contains(" 200"), "HEAD: {head}");
    let path = if backend.ours { format!("{url}/long?{LONG}") } else { format!("{url}/long") };
    let long = fetch(&[&["-o", "/dev/null", "-w", "%{http_code} %{size_download}"][..], &[&path]].concat())?;
    ensure!(long == format!("200 {LONG}"), "a long answer: {long}");
    if !backend.ours {
        return Ok(pages + 2);
    }
    let content = format!("@{}", upload.display());
    let to = format!("{url}/digest");
    for (way, input) in
        [(["-T", &content[1..]], None), (["--data-binary", &content], None), (["-T", "-"], Some(upload))]
    {
        let said = curl(&[&[version, "--resolve", &resolve][..], &way, &[&to]].concat(), input)?;
        ensure!(said == digest, "an upload ({}): `{said}` and not `{digest}`", way.join(" "));
    }
    Ok(pages + 5)
}

/// Node behind weir behind Node: trailers, hints, WebSockets and all else from HTTP/2 to HTTP/2.
pub(in super::super) fn end_to_end(program: &Path) -> Result<String> {
    let made = Made::new("http2-end-certificates")?;
    let (clear, secure) = (free_address()?, free_address()?);
    let (h2c, h2) = (free_address()?, free_address()?);
    let _nodes = [web::node("end-h2c", "h2c", h2c, None)?, web::node("end-h2", "h2", h2, Some(&made))?];
    let configuration = format!(
        "listeners:\n  clear: {{ bind: {clear}, protocol: http, pool: clear }}\n  secure:\n    bind: {secure}\n    protocol: \
         https\n    pool: secure\n    tls: {{ certificates: [{{ cert: {}, key: {} }}] }}\npools:\n  clear: {{ backends: \
         [\"{h2c}\"], protocol: h2 }}\n  secure: {{ backends: [\"{h2}\"], protocol: h2, tls: {{ ca: {}, sni: site.test }} }}\n",
        made.path("site.pem"),
        made.path("site.key"),
        made.path("ca.pem")
    );
    let running = weir(program, "http2-end", &configuration)?;
    running.listens(secure)?;
    let authority = made.path("ca.pem");
    let mut passed = 0;
    for (origin, authority) in
        [(format!("http://{clear}"), None), (format!("https://{secure}"), Some(&*authority))]
    {
        let found = web::checks(&origin, authority, &[]).with_context(|| origin.clone())?;
        ensure!(found["version"] == "2.0", "the backend has seen {found}");
        passed += found["checks"].as_u64().unwrap_or_default();
    }
    Ok(format!("{passed} checks passed"))
}

/// Two nginx are reloaded in turn, which sends their clients away (GOAWAY), while clients in Go go on.
pub(in super::super) fn reloaded(program: &Path) -> Result<String> {
    const EACH: usize = 5;
    let peers = tools::go("peers")?;
    let made = Made::new("http2-reloaded-certificates")?;
    let (web, a, b) = (free_address()?, free_address()?, free_address()?);
    let sites = [nginx("http2-reloaded-a", a, Some(&made))?, nginx("http2-reloaded-b", b, Some(&made))?];
    let configuration = format!(
        "listeners:\n  web: {{ bind: {web}, protocol: http, pool: app }}\npools:\n  app: {{ backends: [\"{a}\", \"{b}\"], tls: \
         {{ ca: {}, sni: site.test }} }}\n",
        made.path("ca.pem")
    );
    let running = weir(program, "http2-reloaded", &configuration)?;
    running.listens(web)?;
    let load = Load::start(&peers, &["web", "-url", &format!("http://{web}/")])?;
    for site in sites.iter().cycle().take(2 * EACH) {
        thread::sleep(Duration::from_millis(300));
        site.hang_up()?;
    }
    thread::sleep(Duration::from_millis(500));
    Ok(format!("{} reloads of two servers; {}", 2 * EACH, load.finish()?))
}
