//! TLS that ends at weir, with curl and OpenSSL as clients: versions, client certificates, a stapled OCSP answer, and a
//! certificate that is renewed while they ask.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{clients::curl, folder, weir};
use crate::process::free_address;

/// Certificates that OpenSSL makes, in a folder.
struct Made(PathBuf);

impl Made {
    /// An authority, and certificates that it has signed: `site` with an OCSP answer, and `ops` for a client. `stranger` has
    /// signed itself.
    fn new(name: &str) -> Result<Self> {
        let made = Self(folder(name)?);
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
        made.openssl(&format!("req -x509 {key} -keyout ca.key -out ca.pem -days 30 -subj /CN=Peers"))?;
        made.openssl(&format!(
            "req -x509 {key} -keyout stranger.key -out stranger.pem -days 30 -subj /CN=stranger"
        ))?;
        made.issue("site", "serverAuth", 1)?;
        made.issue("ops", "clientAuth", 2)?;
        fs::write(made.0.join("index"), "V\t491231000000Z\t\t01\tunknown\t/CN=site\n")?;
        made.openssl("ocsp -issuer ca.pem -cert site.pem -no_nonce -reqout request.der")?;
        made.openssl(
            "ocsp -index index -rsigner ca.pem -rkey ca.key -CA ca.pem -reqin request.der -respout site.ocsp -ndays 1",
        )?;
        Ok(made)
    }

    fn issue(&self, name: &str, usage: &str, serial: u32) -> Result<()> {
        self.openssl(&format!(
            "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key -out {name}.csr \
             -subj /CN={name} -addext subjectAltName=DNS:{name}.test -addext extendedKeyUsage={usage}"
        ))?;
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -set_serial {serial} -copy_extensions copy -days 30 \
             -out {name}.pem"
        ))
    }

    fn openssl(&self, arguments: &str) -> Result<()> {
        let mut command = Command::new("openssl");
        command.args(arguments.split_whitespace()).current_dir(&self.0);
        let output = command.output().context("openssl cannot be started")?;
        ensure!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    fn path(&self, file: &str) -> String {
        self.0.join(file).display().to_string()
    }
}

/// What `openssl s_client` says of a handshake.
fn s_client(address: &str, more: &[&str]) -> Result<String> {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", address, "-servername", "site.test"]).args(more);
    let output = command.stdin(Stdio::null()).output().context("openssl cannot be started")?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

pub(super) fn curl_tls(program: &Path) -> Result<String> {
    let made = Made::new("termination-certificates")?;
    let address = free_address()?;
    let (cert, key, ocsp, ca) =
        (made.path("site.pem"), made.path("site.key"), made.path("site.ocsp"), made.path("ca.pem"));
    let configuration = format!(
        "listeners:\n  web:\n    bind: {address}\n    protocol: https\n    tls:\n      \
         certificates: [{{ cert: {cert}, key: {key}, ocsp: {ocsp} }}]\n      \
         client_auth: {{ ca: {ca}, mode: optional }}\n    \
         routes: [{{ respond: {{ body: \"$tls_version $client_cert_subject.\" }} }}]\n"
    );
    let running = weir(program, "termination", &configuration)?;
    running.listens(address)?;
    let (host, port) = ("site.test", address.port());
    let resolve = format!("{host}:{port}:{}", address.ip());
    let url = format!("https://{host}:{port}/");
    let ask = |more: &[&str]| curl(&[&["--cacert", &ca, "--resolve", &resolve], more].concat(), None);
    let (ops, ops_key) = (made.path("ops.pem"), made.path("ops.key"));
    let (stranger, stranger_key) = (made.path("stranger.pem"), made.path("stranger.key"));

    for (more, said) in [
        (&["--tls-max", "1.2"][..], "TLSv1.2 ."),
        (&["--tlsv1.3"], "TLSv1.3 ."),
        (&["--tls-max", "1.2", "--cert", &ops, "--key", &ops_key], "TLSv1.2 CN=ops."),
        (&["--tlsv1.3", "--cert", &ops, "--key", &ops_key], "TLSv1.3 CN=ops."),
    ] {
        let heard = ask(&[more, &[&url]].concat())?;
        ensure!(heard == said, "curl {more:?}: `{heard}` is not `{said}`");
    }
    let refused = ask(&["--cert", &stranger, "--key", &stranger_key, &url]);
    ensure!(refused.is_err(), "a client that nobody has signed for is served: {refused:?}");
    let staple = s_client(&address.to_string(), &["-status"])?;
    ensure!(staple.contains("OCSP Response Status: successful"), "no OCSP answer is stapled:\n{staple}");

    let asked = thread::scope(|scope| {
        let many = format!("{url}[1-3000]");
        let resolve = &resolve;
        let ca = &ca;
        let clients: Vec<_> = (0..2)
            .map(|number| {
                let many = many.clone();
                scope.spawn(move || {
                    let kind = if number == 0 { "Connection: close" } else { "Connection: keep-alive" };
                    let fixed = ["--cacert", ca, "--resolve", resolve, "-H", kind, "-o", "/dev/null"];
                    curl(&[&fixed[..], &["-w", "%{http_code}\n", &many]].concat(), None)
                })
            })
            .collect();
        made.issue("site", "serverAuth", 7)?;
        fs::write(made.path("site.ocsp"), "")?;
        made.openssl("ocsp -issuer ca.pem -cert site.pem -no_nonce -reqout request.der")?;
        fs::write(made.path("index"), "V\t491231000000Z\t\t07\tunknown\t/CN=site\n")?;
        made.openssl(
            "ocsp -index index -rsigner ca.pem -rkey ca.key -CA ca.pem -reqin request.der -respout site.ocsp -ndays 1",
        )?;
        let mut codes = Vec::new();
        for client in clients {
            let said = client.join().map_err(|_| anyhow::anyhow!("a client has ended early"))??;
            codes.extend(said.lines().map(str::to_owned));
        }
        let failed = codes.iter().filter(|code| *code != "200").count();
        ensure!(failed == 0, "{failed} of {} requests failed", codes.len());
        Ok(codes.len())
    })?;
    running.ready(|| {
        let shown = s_client(&address.to_string(), &["-showcerts"])?;
        let mut command = Command::new("openssl");
        let file = made.path("shown.pem");
        fs::write(&file, shown)?;
        let serial = command.args(["x509", "-noout", "-serial", "-in", &file]).output()?;
        match String::from_utf8_lossy(&serial.stdout).trim() {
            "serial=07" => Ok(()),
            other => bail!("the certificate that is shown has {other}"),
        }
    })?;
    Ok(format!("{asked} requests while the certificate was renewed, none failed"))
}
