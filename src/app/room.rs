//! How many client connections the limit of open files has room for.

use crate::config::Config;
use crate::telemetry::say;

/// Descriptors where nobody says how many: what most systems start a process with.
pub(super) const DESCRIPTORS_USUAL: u64 = 1024;
/// Descriptors for everything that is no connection: listeners, event queues, pipes, standard streams.
const DESCRIPTORS_OWN: usize = 64;

/// Client connections that may be open beside those to workers, of which there may be one per slot.
pub(super) fn connections_max(config: &Config, descriptors: u64) -> usize {
    let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
    let workers = config.workers.source.count();
    let taken = DESCRIPTORS_OWN + workers * (config.workers.slots.count as usize + 4);
    let room = descriptors.saturating_sub(taken).max(descriptors / 2);
    match config.limits.connections {
        Some(wanted) if wanted > room => {
            say::warn(format_args!(
                "limits.connections={wanted}, but {descriptors} open files leave room for {room}; raise `ulimit -n`"
            ));
            wanted
        }
        Some(wanted) => wanted,
        None => room,
    }
}
