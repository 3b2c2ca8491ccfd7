//! What the machine is, for the report.

use std::fs;
use std::thread;

use crate::engine::OpenDevice;
use crate::report::{Device, Machine};

/// This machine, with the devices that were opened and their queues.
pub fn describe(devices: &[(&OpenDevice, &[u32])], load_cores: &[usize]) -> Machine {
    let devices = devices.iter().map(|(open, queues)| Device {
        name: open.device.name().to_owned(),
        driver: open.device.driver().to_owned(),
        xdp_mode: open.mode.to_owned(),
        queues: queues.to_vec(),
    });
    Machine {
        cpu: cpu(),
        cores: thread::available_parallelism().map_or(0, usize::from),
        kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
            .unwrap_or_default()
            .trim()
            .to_owned(),
        devices: devices.collect(),
        load_cores: load_cores.to_vec(),
    }
}

/// The first processor's name; empty where the kernel does not tell.
fn cpu() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let named = text.lines().find_map(|line| {
        let (field, name) = line.split_once(':')?;
        (field.trim() == "model name").then(|| name.trim().to_owned())
    });
    named.unwrap_or_default()
}
