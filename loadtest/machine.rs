//! The machine on which figures are taken, for the record: what they depend on besides the programs.

use std::fs;
use std::time::SystemTime;

/// Name and value of each fact, with `more` behind them. What cannot be read is said to be unknown.
pub(crate) fn facts(more: Vec<(String, String)>) -> Vec<(String, String)> {
    let read = |path: &str| fs::read_to_string(path).map_or("unknown".into(), |text| text.trim().to_owned());
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = read("/proc/meminfo");
    let memory = memory.lines().next().and_then(|line| line.strip_prefix("MemTotal:")).unwrap_or("unknown");
    let mut facts: Vec<(String, String)> = [
        ("date", humantime::format_rfc3339_seconds(SystemTime::now()).to_string()),
        ("cpu", format!("{} x {cores}", model.trim_start_matches(['\t', ' ', ':']))),
        ("memory", memory.trim().to_owned()),
        ("kernel", read("/proc/sys/kernel/osrelease")),
        ("load average", read("/proc/loadavg")),
        ("command", std::env::args().collect::<Vec<_>>().join(" ")),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    facts.extend(more);
    facts
}
