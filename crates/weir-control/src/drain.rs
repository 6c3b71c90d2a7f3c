//! Says how each drain of a backend ended.

use std::{sync::Arc, time::Duration};

use weir_model::snapshot::SnapshotCell;

use crate::health::{Clock, Log};

/// How soon an end is noticed.
const GLANCE: Duration = Duration::from_millis(250);

/// Writes a line when a backend that was let go has nothing left. Never returns; to stop it, drop it.
pub async fn run(cell: Arc<SnapshotCell>, log: Log, clock: Clock) {
    loop {
        tokio::time::sleep(GLANCE).await;
        for drained in cell.drains().ended(clock()) {
            let seconds = drained.took.0 as f64 / 1000.0;
            let gone = if drained.removed { "removed and drained" } else { "drained" };
            let cut = match drained.cut {
                0 => "nothing was cut".to_owned(),
                1 => "1 request or connection was cut".to_owned(),
                cut => format!("{cut} requests and connections were cut"),
            };
            let (pool, backend) = (&drained.pool, &drained.backend);
            log(&format!("pool={pool} backend={backend} {gone} after {seconds:.1} s: {cut}"));
        }
    }
}
