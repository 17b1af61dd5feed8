//! What a subject costs before anybody asks it anything: its start, its memory, idle connections.

use std::fs;
use std::io;
use std::time::Duration;

use tokio::time::sleep;

use crate::idle::open_all;
use crate::namespace::AS_IT_COMES;
use crate::peers::bench::start_workers;
use crate::progress::say;
use crate::report::{Footprint, Report};
use crate::stats::median;
use crate::subjects::{Kind, Stage, Subject};
use crate::target::Target;

/// Starts of each subject; the report takes their median.
const STARTS: usize = 7;
/// Idle connections. A relay needs two descriptors for each, and 20,000 is a common hard limit.
const IDLE: u32 = 10_000;
const IDLE_RELAY: u32 = 9_900;
/// Until memory is what it stays.
const SETTLE: Duration = Duration::from_millis(500);

/// Memory and start of every subject; who cannot is noted in the report.
///
/// # Errors
/// The workers do not start.
pub(crate) async fn measure(kinds: &[Kind], stage: &Stage, report: &mut Report) -> io::Result<()> {
    let mut stage = stage.variant(super::Setting::Usual);
    stage.dir = stage.dir.with_file_name("footprint");
    fs::create_dir_all(&stage.dir)?;
    let _workers = start_workers(&mut stage, 2, None).await?;
    for kind in kinds.iter().filter(|kind| !kind.is_for_bodies()) {
        say(&format!("footprint of {}", kind.name()));
        match of(kind, &stage, report).await {
            Ok(footprint) => report.footprints.push(footprint),
            Err(reason) => report.miss(kind.name(), Some("footprint"), reason),
        }
    }
    Ok(())
}

async fn of(kind: &Kind, stage: &Stage, report: &mut Report) -> Result<Footprint, String> {
    let (mut start_ms, mut rss) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let subject = Subject::start(kind, stage)?;
        start_ms.push(subject.started_in.as_secs_f64() * 1e3);
        sleep(SETTLE).await;
        rss.push(subject.rss_kib().map_err(|error| error.to_string())? as f64);
    }
    let subject = Subject::start(kind, stage)?;
    report.note(&subject);
    let idle = if kind.is_relay() { IDLE_RELAY } else { IDLE };
    let target = Target::Tcp((AS_IT_COMES, subject.port).into());
    let open = open_all(&target, idle, true).await.map_err(|error| error.to_string())?;
    sleep(SETTLE).await;
    let rss_idle_kib = subject.rss_kib().map_err(|error| error.to_string())?;
    drop(open);
    let rss_start_kib = median(rss).unwrap_or_default() as u64;
    Ok(Footprint { subject: kind.name().to_owned(), start_ms, rss_start_kib, idle, rss_idle_kib })
}
