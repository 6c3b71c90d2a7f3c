//! Podman's service, which speaks as Docker does: containers are started and stopped while 40 clients go on.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{
    super::{folder, kill::under_load},
    Scene, nothing_failed,
};
use crate::process::Running;

/// How long each state lasts after weir has noticed it.
const PHASE: Duration = Duration::from_millis(800);
/// Where the containers serve.
const PORT: u16 = 8080;
/// Bytes of their page, as the clients expect it.
const PAGE: usize = 1024;
/// Containers may not be allowed more than whoever starts them, which Podman does not look at by itself.
const FILES: u32 = 4096;
const PROCESSES: u32 = 4096;

/// An engine with its own images and containers.
struct Engine {
    folder: PathBuf,
}

impl Engine {
    /// An engine that has an image with a static busybox and a page.
    fn new() -> Result<Self> {
        let engine = Self { folder: folder("discovery-podman")? };
        let root = engine.folder.join("image");
        fs::create_dir_all(root.join("bin"))?;
        fs::create_dir_all(root.join("www"))?;
        fs::copy("/bin/busybox", root.join("bin/busybox")).context("busybox-static is not installed")?;
        fs::set_permissions(root.join("bin/busybox"), fs::Permissions::from_mode(0o755))?;
        fs::write(root.join("www/index.html"), "x".repeat(PAGE))?;
        let archive = engine.folder.join("image.tar");
        let status = Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&archive).arg(".").status()?;
        ensure!(status.success(), "tar failed");
        engine.podman(&["import", &archive.display().to_string(), "weir-peer"])?;
        Ok(engine)
    }

    /// Podman with everything it keeps in our folder, and within limits that it may pass on.
    fn command(&self, arguments: &[&str]) -> Command {
        let folder = self.folder.display();
        let mut command = Command::new("prlimit");
        command.args([&format!("--nofile={FILES}"), &format!("--nproc={PROCESSES}"), "podman"]);
        command.args(["--runtime", "runc", "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"]);
        command.args(["--events-backend", "file", "--root", &format!("{folder}/root")]);
        command.args(["--runroot", &format!("{folder}/run"), "--tmpdir", &format!("{folder}/tmp")]);
        command.args(arguments);
        command
    }

    fn podman(&self, arguments: &[&str]) -> Result<String> {
        let output = self.command(arguments).output().context("podman cannot be started")?;
        if !output.status.success() {
            bail!("podman {arguments:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn socket(&self) -> String {
        format!("unix://{}/podman.sock", self.folder.display())
    }

    /// Starts the service.
    fn serve(&self) -> Result<Running> {
        let mut command = self.command(&["system", "service", "--time", "0", &self.socket()]);
        let running = Running::start(&mut command, &self.folder)?;
        let socket = self.folder.join("podman.sock");
        running.ready(|| Ok(std::os::unix::net::UnixStream::connect(&socket).map(drop)?))?;
        Ok(running)
    }

    /// Runs a container of the image.
    fn run(&self, name: &str, labels: &[&str]) -> Result<()> {
        let port = PORT.to_string();
        let mut arguments = vec!["run", "--detach", "--name", name];
        labels.iter().for_each(|label| arguments.extend(["--label", *label]));
        arguments.extend(["weir-peer", "/bin/busybox", "httpd", "-f", "-p", &port, "-h", "/www"]);
        self.podman(&arguments).map(drop)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Err(error) = self.podman(&["rm", "--all", "--force", "--time", "0"]) {
            eprintln!("containers were left behind: {error:#}");
        }
    }
}

/// Containers come and go, the engine is away for a while, and no client notices.
pub(in super::super) fn come_and_go(program: &Path) -> Result<String> {
    const LABEL: &str = "weir.pool=app";
    if !rustix::process::geteuid().is_root() {
        bail!("only root can give containers addresses that can be reached");
    }
    let engine = Engine::new()?;
    let mut service = Some(engine.serve()?);
    engine.run("one", &[LABEL])?;
    engine.run("other", &["weir.pool=somebody-else"])?;
    // Nine connections may wait for busybox; more would have to ask again after a second or three.
    let pool = format!(
        "discover: {{ docker: {{ host: '{}', label: {LABEL}, port: {PORT} }} }}, limits: {{ connections: 8, queue_timeout: 20s }}",
        engine.socket()
    );
    let scene = Scene::start(program, "discovery-containers", &pool)?;
    let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    scene.has(&named(&["one"]))?;
    let mut events = 0;
    let count = under_load(scene.web, false, || {
        let mut step = |work: &mut dyn FnMut() -> Result<()>, names: &[&str]| -> Result<()> {
            work()?;
            events += 1;
            scene.has(&named(names))?;
            thread::sleep(PHASE);
            Ok(())
        };
        step(&mut || engine.run("two", &[LABEL, "weir.weight=2"]), &["one", "two"])?;
        step(&mut || engine.run("three", &[LABEL, "weir.port=8080"]), &["one", "two", "three"])?;
        // Told to end, which busybox as the first process does not hear, as many programs take their time; then killed.
        let podman = |arguments: &[&str]| engine.podman(arguments).map(drop);
        step(&mut || podman(&["kill", "--signal", "TERM", "one"]), &["two", "three"])?;
        step(&mut || podman(&["stop", "--time", "0", "one"]), &["two", "three"])?;
        step(&mut || podman(&["start", "one"]), &["one", "two", "three"])?;
        step(&mut || podman(&["kill", "--signal", "TERM", "two"]), &["one", "three"])?;
        step(&mut || podman(&["rm", "--force", "--time", "0", "two"]), &["one", "three"])?;
        step(&mut || podman(&["pause", "three"]), &["one"])?;
        step(&mut || podman(&["unpause", "three"]), &["one", "three"])?;
        // Without the engine nothing changes; what happened meanwhile is seen once it is back.
        service.take().context("the service ran before")?.finish()?;
        scene.fails("")?;
        engine.run("four", &[LABEL])?;
        scene.has(&named(&["one", "three"]))?;
        service = Some(engine.serve()?);
        scene.has(&named(&["four", "one", "three"]))?;
        thread::sleep(PHASE);
        Ok(())
    })?;
    let sentence = nothing_failed(&scene, &count, 4)?;
    drop(scene);
    drop(service);
    Ok(format!(
        "{events} times a container was started, stopped, paused or removed, the engine away: {sentence}"
    ))
}
