//! Backends: nginx with a page that says who served it, and Python with a page that says what it received.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use super::folder;
use crate::process::{self, Running};

/// Bytes of nginx's page; the same as in the benches, so that their clients can be used.
const PAGE: usize = 1024;

/// Starts nginx, as a single process, with a page of 1 KiB and the folder `files` below `/files/`.
pub(super) fn nginx_site(name: &str, address: SocketAddr) -> Result<Running> {
    nginx(name, address, "")
}

/// The same with a page that is a 500 for as long as the file `switch` exists.
pub(super) fn nginx_switched(name: &str, address: SocketAddr, switch: &Path) -> Result<Running> {
    nginx(name, address, &format!("if (-f {}) {{ return 500; }}", switch.display()))
}

fn nginx(name: &str, address: SocketAddr, first: &str) -> Result<Running> {
    let folder = folder(name)?;
    fs::create_dir_all(folder.join("files"))?;
    let file = folder.join("nginx.conf");
    let files = folder.join("files");
    let page = "x".repeat(PAGE);
    fs::write(
        &file,
        format!(
            "master_process off;\npid nginx.pid;\nerror_log stderr error;\nevents {{ worker_connections 2048; }}\n\
             http {{\n  access_log off;\n  client_body_temp_path body;\n  proxy_temp_path proxy;\n  \
             fastcgi_temp_path fastcgi;\n  uwsgi_temp_path uwsgi;\n  scgi_temp_path scgi;\n  \
             keepalive_requests 1000000;\n  server {{\n    listen {address};\n    \
             add_header X-Backend {name};\n    location / {{ {first} return 200 \"{page}\"; }}\n    \
             location /files/ {{ alias {}/; }}\n  }}\n}}\n",
            files.display()
        ),
    )?;
    let running = Running::start(&mut process::nginx(&file, &folder), &folder)?;
    running.listens(address)?;
    Ok(running)
}

/// Where the files of an nginx site lie.
pub(super) fn files(name: &str) -> Result<PathBuf> {
    Ok(folder(name)?.join("files"))
}

/// Starts a Python server that answers every upload with its length and digest.
pub(super) fn python_site(name: &str, address: SocketAddr) -> Result<Running> {
    let folder = folder(name)?;
    let file = folder.join("backend.py");
    fs::write(&file, include_str!("backend.py"))?;
    let mut command = Command::new("python3");
    command.arg(file).arg(address.ip().to_string()).arg(address.port().to_string());
    let running = Running::start(&mut command, &folder)?;
    running.listens(address)?;
    Ok(running)
}
