//! curl and wrk as clients, nginx and Python as backends.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{folder, site, weir};
use crate::{
    bench::{probe, wrk},
    process::{Running, free_address},
};

/// An HTTP listener in front of these backends, with health checks.
pub(super) fn http(program: &Path, name: &str, backends: &[SocketAddr]) -> Result<(Running, SocketAddr)> {
    let address = free_address()?;
    let backends: Vec<_> = backends.iter().map(|backend| format!("\"{backend}\"")).collect();
    let configuration = format!(
        "listeners:\n  web:\n    bind: {address}\n    protocol: http\n    pool: app\n\
         pools:\n  app:\n    backends: [{}]\n    health: {{ http: /, interval: 1s }}\n\
         shutdown: {{ announce: 100ms, drain: 10s }}\n",
        backends.join(", ")
    );
    let running = weir(program, name, &configuration)?;
    running.ready(|| {
        // The first health checks decide before there is traffic.
        let said = curl(&["-o", "/dev/null", "-w", "%{http_code}", &format!("http://{address}/")], None)?;
        ensure!(said == "200", "the answer is {said}");
        Ok(())
    })?;
    Ok((running, address))
}

/// Runs curl; what it prints. `input` is a file for its standard input.
pub(super) fn curl(arguments: &[&str], input: Option<&Path>) -> Result<String> {
    let mut command = Command::new("curl");
    command.args(["-sS", "--max-time", "60"]).args(arguments);
    if let Some(input) = input {
        command.stdin(Stdio::from(std::fs::File::open(input)?));
    }
    let output = command.output().context("curl cannot be started")?;
    let error = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    ensure!(output.status.success(), "curl {}: {error}", arguments.join(" "));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Fetches a URL (curl's `[1-N]` counts) and returns how many answers there were and how many were not 200.
fn count(arguments: &[&str]) -> Result<(usize, usize)> {
    let said = curl(&[&["-o", "/dev/null", "-w", "%{http_code}\n"], arguments].concat(), None)?;
    let codes: Vec<_> = said.lines().collect();
    Ok((codes.len(), codes.iter().filter(|code| **code != "200").count()))
}

/// Something long that no compression makes short, and the same every time.
fn long_file(path: &Path, length: usize) -> Result<Vec<u8>> {
    let mut state = 1u64;
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        (state >> 56) as u8
    })
    .take(length)
    .collect();
    std::fs::write(path, &bytes)?;
    Ok(bytes)
}

/// Pages, files of many sizes, ranges, every version that curl speaks in clear text.
pub(super) fn curl_nginx(program: &Path) -> Result<String> {
    let backends = [free_address()?, free_address()?];
    let _sites = [site::nginx_site("curl-a", backends[0])?, site::nginx_site("curl-b", backends[1])?];
    let mut bytes = Vec::new();
    for name in ["curl-a", "curl-b"] {
        bytes = long_file(&site::files(name)?.join("long"), 50_000_000)?;
    }
    let (_weir, address) = http(program, "curl-nginx", &backends)?;
    let url = format!("http://{address}");
    let (mut requests, mut failed) = (0, 0);
    for arguments in [
        vec![format!("{url}/[1-500]")],
        vec!["--http1.0".into(), format!("{url}/[1-100]")],
        vec!["-I".into(), format!("{url}/[1-100]")],
        vec!["--no-keepalive".into(), "-H".into(), "Connection: close".into(), format!("{url}/[1-100]")],
        vec!["--parallel".into(), "--parallel-max".into(), "40".into(), format!("{url}/[1-500]")],
    ] {
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let (more, wrong) = count(&arguments)?;
        (requests, failed) = (requests + more, failed + wrong);
    }
    let received = folder("curl-nginx")?.join("received");
    let received_text = received.to_string_lossy().into_owned();
    for extra in [vec![], vec!["--limit-rate", "100M"], vec!["--http1.0"]] {
        let url = format!("{url}/files/long");
        curl(&[&extra[..], &["-o", &received_text, &url]].concat(), None)?;
        requests += 1;
        failed += usize::from(std::fs::read(&received)? != bytes);
    }
    curl(&["-r", "1000-1999", "-o", &received_text, &format!("{url}/files/long")], None)?;
    requests += 1;
    failed += usize::from(std::fs::read(&received)? != bytes[1000..2000]);
    ensure!(failed == 0, "{failed} of {requests} requests failed");
    Ok(format!("{requests} requests, 0 failed"))
}

/// Uploads with a length, in chunks and after a 100; answers in chunks.
pub(super) fn curl_python(program: &Path) -> Result<String> {
    let backend = free_address()?;
    let _site = site::python_site("python", backend)?;
    let (_weir, address) = http(program, "curl-python", &[backend])?;
    let file = folder("curl-python")?.join("upload");
    let url = format!("http://{address}/");
    let mut requests = 0;
    for length in [0, 1, 1000, 100_000, 20_000_000] {
        long_file(&file, length)?;
        let path = file.to_string_lossy().into_owned();
        let digest = Command::new("sha256sum").arg(&file).output()?.stdout;
        let digest = String::from_utf8_lossy(&digest).split(' ').next().unwrap_or_default().to_owned();
        let expected = format!("{length} {digest}\n");
        for (arguments, input) in [
            (vec!["-T", &path, &url], None),
            (vec!["-T", "-", &url], Some(file.as_path())),
            (vec!["-T", &path, "-H", "Expect: 100-continue", &url], None),
            (
                vec!["-X", "POST", "-H", "Transfer-Encoding: chunked", "--data-binary", "@-", &url],
                Some(&*file),
            ),
        ] {
            let said = curl(&arguments, input)?;
            ensure!(said == expected, "curl {}: {said:?} instead of {expected:?}", arguments.join(" "));
            requests += 1;
        }
    }
    let said = curl(&[&format!("{url}chunked")], None)?;
    ensure!(said.len() == 100 * 1024, "{} bytes of a chunked answer", said.len());
    let said = curl(&["-H", "X-Forwarded-For: 6.6.6.6", &url], None)?;
    ensure!(said == "hello from python to 127.0.0.1\n", "{said:?}");
    Ok(format!("{} requests, 0 failed", requests + 2))
}

/// As many requests as fit, on 64 and on 512 connections.
pub(super) fn wrk_nginx(program: &Path) -> Result<String> {
    let backends = [free_address()?, free_address()?];
    let _sites = [site::nginx_site("wrk-a", backends[0])?, site::nginx_site("wrk-b", backends[1])?];
    let (_weir, address) = http(program, "wrk-nginx", &backends)?;
    let mut requests = 0;
    for connections in [64, 512] {
        let outcome = wrk::run(address, connections, 4)?;
        // The two backends answer with headers of the same length.
        if let Some(reason) = outcome.void(connections, probe::exchange(address, 2)?) {
            bail!("{connections} connections: {reason}");
        }
        requests += outcome.requests;
    }
    Ok(format!("{requests} requests, 0 failed"))
}
