//! CONNECT with real programs: tinyproxy as what ends the tunnels, curl and Chromium as those who ask for them.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use super::{
    super::{clients::curl, folder, scanners, site, termination::Made, weir},
    web,
};
use crate::process::{Running, free_address};

/// Downloads, each through a tunnel of its own.
const DOWNLOADS: usize = 12;

fn tinyproxy(name: &str, address: SocketAddr) -> Result<Running> {
    let folder = folder(name)?;
    let file = folder.join("tinyproxy.conf");
    let (host, port) = (address.ip(), address.port());
    fs::write(&file, format!("Port {port}\nListen {host}\nTimeout 60\nMaxClients 50\nAllow 127.0.0.1\n"))?;
    let mut command = Command::new("tinyproxy");
    command.args(["-d", "-c"]).arg(&file);
    let running = Running::start(&mut command, &folder)?;
    running.listens(address)?;
    Ok(running)
}

/// curl asks in HTTP/1.1, Chromium over TLS in HTTP/2; inside of the tunnels they speak as they like.
pub(in super::super) fn connect(program: &Path) -> Result<String> {
    let made = Made::new("tunnels-certificates")?;
    let (clear, outer, inner) = (free_address()?, free_address()?, free_address()?);
    let (page, files, first, second) = (free_address()?, free_address()?, free_address()?, free_address()?);
    let _node = web::node("tunnels-node", "h1", page, None)?;
    let _site = site::nginx_site("tunnels-site", files)?;
    let long: Vec<u8> = (0..8_000_000u32).map(|at| (at.wrapping_mul(0x9e37_79b9) >> 24) as u8).collect();
    fs::write(site::files("tunnels-site")?.join("long"), &long)?;
    let _proxies = [tinyproxy("tunnels-first", first)?, tinyproxy("tunnels-second", second)?];
    let log = folder("tunnels")?.join("access.log");
    let tls = format!(
        "protocol: https\n    tls: {{ certificates: [{{ cert: {}, key: {} }}] }}",
        made.path("site.pem"),
        made.path("site.key")
    );
    let tunnels = "routes:\n      - { match: { method: CONNECT }, pool: proxies }";
    let configuration = format!(
        "access_log: {{ path: {}, format: json }}\nlisteners:\n  clear:\n    bind: {clear}\n    protocol: http\n    {tunnels}\n  \
         outer:\n    bind: {outer}\n    {tls}\n    {tunnels}\n  inner:\n    bind: {inner}\n    {tls}\n    pool: app\npools:\n  \
         app: {{ backends: [\"{page}\"] }}\n  proxies: {{ backends: [\"{first}\", \"{second}\"] }}\n\
         shutdown: {{ announce: 0s, drain: 1s }}\n",
        log.display()
    );
    let running = weir(program, "tunnels", &configuration)?;
    running.listens(inner)?;
    let saved = folder("tunnels")?.join("long");
    for _ in 0..DOWNLOADS {
        let saved = saved.display().to_string();
        let (proxy, url) = (format!("http://{clear}"), format!("http://{files}/files/long"));
        curl(&["-p", "-x", &proxy, "-o", &saved, &url], None)?;
        ensure!(fs::read(&saved)? == long, "what came through the tunnel is not what was sent");
    }
    let shown = browse(&made, outer, inner)?;
    ensure!(shown.contains(">through a socket h2<"), "the browser shows `{shown}`");
    ensure!(running.finish()?, "weir did not report success");
    let log = fs::read_to_string(&log)?;
    let counted =
        |words: &[&str]| log.lines().filter(|line| words.iter().all(|word| line.contains(word))).count();
    let asked = |version, backend: SocketAddr| {
        counted(&["\"method\":\"CONNECT\"", version, "\"status\":200", &format!("\"backend\":\"{backend}\"")])
    };
    let each = [asked("HTTP/1.1", first), asked("HTTP/1.1", second)];
    ensure!(each == [DOWNLOADS / 2; 2], "the tunnels of curl went {each:?} in\n{log}");
    let streams = asked("HTTP/2.0", first) + asked("HTTP/2.0", second);
    ensure!(streams > 0, "the browser asked for no tunnel by HTTP/2 in\n{log}");
    Ok(format!("{DOWNLOADS} downloads by curl, {streams} tunnels over HTTP/2 by Chromium"))
}

/// What Chromium shows of a page that it reaches through a tunnel alone.
fn browse(made: &Made, outer: SocketAddr, inner: SocketAddr) -> Result<String> {
    let mut command = Command::new("chromium");
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]);
    command.arg(format!("--user-data-dir={}", folder("tunnels-profile")?.display()));
    command.arg(format!("--ignore-certificate-errors-spki-list={}", scanners::pin(&made.path("site.pem"))?));
    command.arg(format!("--host-resolver-rules=MAP site.test {}", outer.ip()));
    command.arg(format!("--proxy-server=https://site.test:{}", outer.port()));
    // Addresses of the machine itself are reached without a proxy otherwise.
    command.arg("--proxy-bypass-list=<-loopback>");
    command.arg(format!("https://{inner}/browser")).stdin(Stdio::null());
    let output = command.output().context("chromium cannot be started")?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
