//! Which worker serves which queues: the i-th queue of a device goes to worker i modulo their number, so
//! that every worker has a socket on every device and can send wherever a call leaves.

use contract::{DeviceId, QueueId};
use dataplane::settings::Worker;

use crate::host::Host;

use super::diagnostic::Diagnostic;
use super::file::{Device, Queues, Workers};

/// The workers with their queues. Notes devices that have too few. Without a host each device is taken to
/// have as many queues as there are workers.
pub(crate) fn assign(
    workers: &Workers,
    devices: &[Device],
    host: Option<&Host>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Worker> {
    let cores = workers.cores.as_deref().unwrap_or_default();
    let mut assigned: Vec<Worker> = cores
        .iter()
        .map(|core| Worker {
            core: usize::try_from(core.value).unwrap_or(usize::MAX),
            queues: Vec::new(),
        })
        .collect();
    if assigned.is_empty() {
        return assigned;
    }
    for (device, index) in devices.iter().zip(0..) {
        let Some(queues) = queues_of(device, cores.len(), host) else {
            continue; // No such device, or no name: noted elsewhere.
        };
        if queues.len() < assigned.len() {
            diagnostics.push(too_few(workers, device, queues.len()));
        }
        let of_workers = (0..assigned.len()).cycle();
        for (queue, worker) in queues.into_iter().zip(of_workers) {
            assigned[worker].queues.push((DeviceId(index), queue));
        }
    }
    assigned
}

fn queues_of(device: &Device, workers: usize, host: Option<&Host>) -> Option<Vec<QueueId>> {
    let count = match &device.queues {
        Queues::Listed(queues) => {
            let id = |number| u32::try_from(number).ok().map(QueueId);
            return Some(queues.iter().filter_map(|queue| id(queue.value)).collect());
        }
        Queues::All => match host {
            Some(host) => host.devices.get(&device.name.as_ref()?.value)?.queues,
            None => u32::try_from(workers).ok()?,
        },
    };
    Some((0..count).map(QueueId).collect())
}

fn too_few(workers: &Workers, device: &Device, queues: usize) -> Diagnostic {
    let cores = workers.cores.as_deref().unwrap_or_default();
    let name = device.name.as_ref().map_or("?", |name| &name.value);
    let plural = if queues == 1 { "" } else { "s" };
    let message = format!(
        "{} workers cannot share {queues} queue{plural} of device {name}: each needs one of its own",
        cores.len()
    );
    let expected = format!(
        "at most {queues} core{plural}, or more queues (`ethtool -L {name} combined {}`)",
        cores.len()
    );
    let first = cores.first().map_or(0, |core| core.span.start);
    let end = cores.last().map_or(first, |core| core.span.end);
    Diagnostic::error(first..end, message, expected)
}
