//! SIGTERM: what is in flight finishes, and the process says that it went well.

use std::{path::Path, process::Command, thread, time::Duration};

use anyhow::{Result, ensure};

use super::{clients, site};
use crate::process::free_address;

/// Slow requests that are under way when weir is told to stop.
const REQUESTS: usize = 20;

pub(super) fn drains(program: &Path) -> Result<String> {
    let backend = free_address()?;
    let _site = site::python_site("drain-python", backend)?;
    let (weir, address) = clients::http(program, "drain-weir", &[backend])?;
    let url = format!("http://{address}/slow");
    let mut requests = Vec::new();
    for _ in 0..REQUESTS {
        let mut command = Command::new("curl");
        command.args(["-sS", "--max-time", "30", "-o", "/dev/null", "-w", "%{http_code}", &url]);
        command.stdout(std::process::Stdio::piped());
        requests.push(command.spawn()?);
    }
    // The backend takes a second for each; all of them are there by now, and none is done.
    thread::sleep(Duration::from_millis(500));
    let ended_well = weir.finish()?;
    let mut failed = 0;
    for request in requests {
        let output = request.wait_with_output()?;
        failed += usize::from(output.stdout != b"200");
    }
    ensure!(failed == 0, "{failed} of {REQUESTS} requests in flight failed");
    ensure!(ended_well, "weir did not report success");
    Ok(format!("{REQUESTS} requests in flight at SIGTERM, 0 failed"))
}
