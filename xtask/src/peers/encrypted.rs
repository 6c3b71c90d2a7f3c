//! TLS and PROXY headers with real programs at the other end: nginx, PostgreSQL and Redis behind weir, curl and their own
//! clients before it, HAProxy as one who reads PROXY headers.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};

use super::{
    clients::curl,
    databases::{self, output},
    folder, weir,
};
use crate::process::{self, Running, free_address};

/// An authority in `ca.pem`, and what it has signed.
struct Certificates(PathBuf);

impl Certificates {
    fn new(name: &str) -> Result<Self> {
        let made = Self(folder(name)?);
        made.openssl(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 30 \
             -subj /CN=Peers",
        )?;
        Ok(made)
    }

    /// `NAME.pem` and `NAME.key` for these hosts.
    fn issue(&self, name: &str, hosts: &str) -> Result<()> {
        self.openssl(&format!(
            "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key -out {name}.csr \
             -subj /CN={name} -addext subjectAltName={hosts}"
        ))?;
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -copy_extensions copy -days 30 \
             -out {name}.pem"
        ))
    }

    fn openssl(&self, arguments: &str) -> Result<()> {
        let mut command = Command::new("openssl");
        output(command.args(arguments.split_whitespace()).current_dir(&self.0)).map(drop)
    }

    fn path(&self, file: &str) -> String {
        self.0.join(file).display().to_string()
    }
}

/// nginx in the foreground with this `server`.
fn nginx(name: &str, address: SocketAddr, server: &str) -> Result<Running> {
    let folder = folder(name)?;
    let file = folder.join("nginx.conf");
    fs::write(
        &file,
        format!(
            "master_process off;\npid nginx.pid;\nerror_log stderr error;\nevents {{ worker_connections 2048; }}\n\
             http {{\n  access_log off;\n  client_body_temp_path body;\n  proxy_temp_path proxy;\n  \
             fastcgi_temp_path fastcgi;\n  uwsgi_temp_path uwsgi;\n  scgi_temp_path scgi;\n  server {{\n{server}\n  }}\n}}\n"
        ),
    )?;
    let running = Running::start(&mut process::nginx(&file, &folder), &folder)?;
    running.listens(address)?;
    Ok(running)
}

/// nginx that wants a client certificate and a PROXY header, behind weir, behind curl with TLS: encrypted all the way.
pub(super) fn nginx_tls(program: &Path) -> Result<String> {
    let made = Certificates::new("tls-nginx-certificates")?;
    made.issue("site", "DNS:app.internal")?;
    made.issue("weir", "DNS:localhost,IP:127.0.0.1")?;
    let backend = free_address()?;
    let page = "x".repeat(1024);
    let server = format!(
        "    listen {backend} ssl proxy_protocol;\n    ssl_certificate {};\n    ssl_certificate_key {};\n    \
         ssl_client_certificate {};\n    ssl_verify_client on;\n    ssl_session_cache shared:S:1m;\n    \
         keepalive_requests 7;\n    add_header X-Subject $ssl_client_s_dn;\n    add_header X-Name $ssl_server_name;\n    \
         add_header X-Client $proxy_protocol_addr:$proxy_protocol_port;\n    add_header X-Reused $ssl_session_reused;\n    \
         location / {{ return 200 \"{page}\"; }}",
        made.path("site.pem"),
        made.path("site.key"),
        made.path("ca.pem"),
    );
    let _nginx = nginx("tls-nginx", backend, &server)?;
    let (clear, secure) = (free_address()?, free_address()?);
    let configuration = format!(
        "listeners:\n  clear: {{ bind: {clear}, protocol: http, pool: app }}\n  secure:\n    bind: {secure}\n    \
         protocol: https\n    pool: app\n    tls: {{ certificates: [{{ cert: {cert}, key: {key} }}] }}\n\
         pools:\n  app:\n    backends: [\"{backend}\"]\n    tls: {{ ca: {ca}, sni: app.internal, cert: {cert}, key: {key} }}\n    \
         send_proxy_protocol: v2\n    health: {{ http: /, interval: 1s }}\n",
        ca = made.path("ca.pem"),
        cert = made.path("weir.pem"),
        key = made.path("weir.key"),
    );
    let running = weir(program, "tls-nginx-weir", &configuration)?;
    let (ca, url) = (made.path("ca.pem"), format!("https://localhost:{}/", secure.port()));
    running.ready(|| curl(&["-f", "--cacert", &ca, &url], None))?;
    let head = curl(&["-D", "-", "-o", "/dev/null", "--cacert", &ca, &url], None)?;
    // It comes by HTTP/2, which has names in lower case.
    for expected in ["x-subject: CN=weir", "x-name: app.internal", "x-client: 127.0.0.1:"] {
        ensure!(head.contains(expected), "no `{expected}` in the answer: {head}");
    }
    let (mut requests, mut wrong) = (0, 0);
    let many = format!("https://localhost:{}/[1-400]", secure.port());
    let plain = format!("http://{clear}/[1-400]");
    for arguments in [
        vec!["--cacert", &ca, &many],
        vec!["--cacert", &ca, "--tls-max", "1.2", &many],
        vec!["--cacert", &ca, "--parallel", "--parallel-max", "20", &many],
        vec![&plain],
    ] {
        let print = ["-o", "/dev/null", "-w", "%{http_code} %{size_download}\n"];
        let said = curl(&[&print, &arguments[..]].concat(), None)?;
        requests += said.lines().count();
        wrong += said.lines().filter(|line| *line != "200 1024").count();
    }
    ensure!(wrong == 0, "{wrong} of {requests} requests failed: {}", running.last_words());
    // Every seventh request nginx closes the connection, and the next one takes the session up again.
    let reused = curl(&["-s", "-D", "-", "-o", "/dev/null", &format!("http://{clear}/[1-40]")], None)?;
    let reused = reused.lines().filter(|line| line.trim() == "X-Reused: r").count();
    ensure!(reused > 0, "no session was resumed");
    Ok(format!("{requests} requests, {wrong} failed; {reused} of 40 answers on resumed sessions"))
}

/// PostgreSQL with TLS that client and server agree on themselves, through a tcp listener.
pub(super) fn postgresql_tls(program: &Path) -> Result<String> {
    let made = Certificates::new("tls-postgresql-certificates")?;
    made.issue("db", "DNS:localhost")?;
    let (server, backend, programs) = databases::start_postgresql("tls-postgresql", |data| {
        let key = databases::for_postgres(&made.0.join("db.key"), data)?;
        let certificate = databases::for_postgres(&made.0.join("db.pem"), data)?;
        let setting = |name: &str, path: PathBuf| format!("{name}={}", path.display());
        Ok(vec!["ssl=on".to_owned(), setting("ssl_key_file", key), setting("ssl_cert_file", certificate)])
    })?;
    let (_weir, address) = databases::tcp(program, "tls-postgresql-weir", &[backend])?;
    let port = address.port().to_string();
    let environment = [
        ("PGSSLMODE", "verify-full".to_owned()),
        ("PGSSLROOTCERT", made.path("ca.pem")),
        ("PGHOSTADDR", "127.0.0.1".to_owned()),
    ];
    let run = |name: &str, arguments: &[&str]| {
        let mut command = Command::new("env");
        command.args(environment.iter().map(|(name, value)| format!("{name}={value}")));
        command.arg(programs.join(name)).args(["-h", "localhost", "-p", &port, "-U", "postgres"]);
        output(command.args(arguments).arg("postgres"))
    };
    server.ready(|| run("pgbench", &["-i", "-q"]))?;
    let encrypted =
        run("psql", &["-At", "-c", "select version from pg_stat_ssl where pid = pg_backend_pid()"])?;
    ensure!(encrypted.trim() == "TLSv1.3", "the connection is not encrypted: {encrypted}");
    let said = run("pgbench", &["-c", "8", "-j", "2", "-T", "3", "-S", "-C"])?;
    let transactions = databases::number_after(&said, "number of transactions actually processed: ")?;
    let failed = databases::number_after(&said, "number of failed transactions: ")?;
    ensure!(failed == 0 && transactions > 0, "{failed} transactions failed: {said}");
    Ok(format!("{transactions} connections with a transaction each, 0 failed"))
}

/// Redis in every position: passed through, ended at weir, begun at weir with a client certificate.
pub(super) fn redis_tls(program: &Path) -> Result<String> {
    const EACH: u64 = 20_000;
    let made = Certificates::new("tls-redis-certificates")?;
    made.issue("redis", "DNS:redis.internal")?;
    made.issue("weir", "DNS:localhost")?;
    let (plain, encrypted) = (free_address()?, free_address()?);
    let folder = folder("tls-redis")?;
    let mut server = Command::new("redis-server");
    let (plain_port, tls_port) = (plain.port().to_string(), encrypted.port().to_string());
    let (ca, cert, key) = (made.path("ca.pem"), made.path("redis.pem"), made.path("redis.key"));
    server.args(["--bind", "127.0.0.1", "--port", &plain_port, "--tls-port", &tls_port]);
    server.args(["--tls-cert-file", &cert, "--tls-key-file", &key, "--tls-ca-cert-file", &ca]);
    server.args(["--tls-auth-clients", "yes", "--save", "", "--appendonly", "no"]);
    let server = Running::start(server.current_dir(&folder), &folder)?;
    server.listens(encrypted)?;
    let [through, ended, begun] = [free_address()?, free_address()?, free_address()?];
    let (own_cert, own_key) = (made.path("weir.pem"), made.path("weir.key"));
    let configuration = format!(
        "listeners:\n  through: {{ bind: {through}, protocol: tls, pool: passed }}\n  ended:\n    bind: {ended}\n    \
         protocol: tcp\n    pool: plain\n    tls: {{ certificates: [{{ cert: {own_cert}, key: {own_key} }}] }}\n  \
         begun: {{ bind: {begun}, protocol: tcp, pool: encrypted }}\n\
         pools:\n  passed: {{ backends: [\"{encrypted}\"] }}\n  plain: {{ backends: [\"{plain}\"] }}\n  \
         encrypted:\n    backends: [\"{encrypted}\"]\n    health: {{ tls: {{}}, interval: 1s }}\n    \
         tls: {{ ca: {ca}, sni: redis.internal, cert: {own_cert}, key: {own_key} }}\n"
    );
    let running = weir(program, "tls-redis-weir", &configuration)?;
    let with_tls = ["--tls", "--cacert", &ca, "--cert", &own_cert, "--key", &own_key, "--sni"];
    let positions: [(SocketAddr, Vec<&str>); 3] = [
        (through, [&with_tls[..], &["redis.internal"]].concat()),
        (ended, [&with_tls[..], &["localhost"]].concat()),
        (begun, Vec::new()),
    ];
    let mut requests = 0;
    for (address, tls) in &positions {
        let port = address.port().to_string();
        let client = |name: &str, arguments: &[&str]| {
            let mut command = Command::new(name);
            output(command.args(["-h", "127.0.0.1", "-p", &port]).args(tls).args(arguments))
        };
        running.ready(|| {
            let said = client("redis-cli", &["PING"])?;
            ensure!(said.trim() == "PONG", "{said}");
            Ok(())
        })?;
        for arguments in [&["-c", "20"][..], &["-c", "20", "-P", "16"]] {
            let count = EACH.to_string();
            let more = ["-q", "-n", &count, "INCR", "counter"];
            client("redis-benchmark", &[arguments, &more].concat())?;
            requests += EACH;
        }
    }
    let counter =
        output(Command::new("redis-cli").args(["-h", "127.0.0.1", "-p", &plain_port, "GET", "counter"]))?;
    ensure!(counter.trim() == requests.to_string(), "{} of {requests} requests arrived", counter.trim());
    Ok(format!("{requests} requests in three positions, 0 failed"))
}

/// HAProxy in the foreground with these sections.
fn haproxy(name: &str, sections: &str) -> Result<Running> {
    let folder = folder(name)?;
    let file = folder.join("haproxy.cfg");
    let defaults =
        "defaults\n  mode http\n  timeout client 10s\n  timeout server 10s\n  timeout connect 1s\n";
    fs::write(&file, format!("{defaults}{sections}"))?;
    Running::start(Command::new("haproxy").args(["-db", "-f"]).arg(&file), &folder)
}

/// HAProxy reads what weir says of clients: addresses, and the facts of version 2 under a checksum that it verifies.
pub(super) fn haproxy_reads(program: &Path) -> Result<String> {
    let made = Certificates::new("proxy-haproxy-certificates")?;
    made.issue("weir", "DNS:localhost")?;
    let backend = free_address()?;
    let haproxy = haproxy(
        "proxy-haproxy",
        &format!(
            "frontend f\n  bind {backend} accept-proxy\n  http-request return status 200 content-type text/plain \
             lf-string \"%[src]:%[src_port] %[dst]:%[dst_port] %[fc_pp_authority] %[fc_pp_unique_id,length]\"\n"
        ),
    )?;
    haproxy.listens(backend)?;
    let (first, second) = (free_address()?, free_address()?);
    let configuration = format!(
        "listeners:\n  first: {{ bind: {first}, protocol: http, pool: first }}\n  second:\n    bind: {second}\n    \
         protocol: https\n    pool: second\n    tls: {{ certificates: [{{ cert: {}, key: {} }}] }}\n\
         pools:\n  first:\n    backends: [\"{backend}\"]\n    send_proxy_protocol: v1\n    health: {{ http: /, interval: 1s }}\n  \
         second:\n    backends: [\"{backend}\"]\n    health: {{ http: /, interval: 1s }}\n    \
         send_proxy_protocol: {{ version: v2, tlvs: [authority, unique_id, crc32c] }}\n",
        made.path("weir.pem"),
        made.path("weir.key"),
    );
    let running = weir(program, "proxy-haproxy-weir", &configuration)?;
    let print = ["-w", " %{local_ip}:%{local_port}\n"];
    let told = |arguments: &[&str]| {
        running.ready(|| curl(&[&["-f", "--fail-early"], &print[..], arguments].concat(), None))
    };
    let said = told(&[&format!("http://{first}/[1-20]")])?;
    for line in said.lines() {
        let own = line.split(' ').next_back().unwrap_or_default();
        ensure!(line.starts_with(&format!("{own} {first} ")), "HAProxy was told: {line}");
    }
    let ca = made.path("ca.pem");
    let said_more = told(&["--cacert", &ca, &format!("https://localhost:{}/[1-20]", second.port())])?;
    for line in said_more.lines() {
        let own = line.split(' ').next_back().unwrap_or_default();
        ensure!(line.starts_with(&format!("{own} {second} localhost 36")), "HAProxy was told: {line}");
    }
    let count = said.lines().count() + said_more.lines().count();
    ensure!(count == 40, "{count} of 40 answers came");
    Ok(format!("{count} clients were made known"))
}

/// HAProxy and curl say who their clients are, in both versions; who is not trusted, or says nothing, is not served.
pub(super) fn haproxy_writes(program: &Path) -> Result<String> {
    let (weir_at, untrusting, first, second) =
        (free_address()?, free_address()?, free_address()?, free_address()?);
    let haproxy = haproxy(
        "haproxy-writes",
        &format!(
            "listen first\n  bind {first}\n  server s {weir_at} send-proxy check-send-proxy check inter 200ms\n\
             listen second\n  bind {second}\n  server s {weir_at} send-proxy-v2 proxy-v2-options crc32c,unique-id\n"
        ),
    )?;
    let configuration = format!(
        "listeners:\n  front:\n    bind: {weir_at}\n    protocol: http\n    accept_proxy_protocol: {{ trust: [127.0.0.0/8] }}\n    \
         routes: [{{ respond: {{ status: 200, body: \"$client_address\" }} }}]\n  \
         strict:\n    bind: {untrusting}\n    protocol: http\n    accept_proxy_protocol: {{ trust: [192.0.2.0/24] }}\n    \
         routes: [{{ respond: {{ status: 200, body: never }} }}]\n"
    );
    let running = weir(program, "haproxy-writes-weir", &configuration)?;
    let mut count = 0;
    for front in [first, second] {
        let url = format!("http://{front}/");
        // The client of each request has an address of its own.
        for last in 2..12 {
            let own = format!("127.0.0.{last}");
            let said = haproxy.ready(|| curl(&["-f", "--interface", &own, &url], None))?;
            ensure!(said == own, "weir was told {said}, and not {own}");
            count += 1;
        }
    }
    let with_header = curl(&["-f", "--haproxy-protocol", &format!("http://{weir_at}/")], None)?;
    ensure!(with_header == "127.0.0.1", "curl is {with_header}");
    for refused in [&[][..], &["--haproxy-protocol"]] {
        let url = format!("http://{untrusting}/");
        ensure!(
            curl(&[refused, &[&url]].concat(), None).is_err(),
            "{refused:?} is served by who trusts nobody here"
        );
    }
    ensure!(
        curl(&[&format!("http://{weir_at}/")], None).is_err(),
        "who says nothing is served: {}",
        running.last_words()
    );
    Ok(format!("{} clients were made known, 3 were refused", count + 1))
}
