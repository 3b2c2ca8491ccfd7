//! What the kernel says of a process: its memory and processor time (`/proc/PID`, proc_pid_stat(5)).

use std::fs;

/// Ticks a second in which the kernel counts processor time for user space: 100 on every Linux.
const TICKS: f64 = 100.0;

/// Resident memory in KB; `None` when the process has gone.
pub(crate) fn resident_kb(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    field(&status, "VmRSS:")
}

fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Processor seconds of all threads of a process.
pub(crate) fn processor_seconds(pid: u32) -> Option<f64> {
    seconds(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Processor seconds of a process's first thread: tandem's control plane.
pub(crate) fn first_thread_seconds(pid: u32) -> Option<f64> {
    seconds(&fs::read_to_string(format!("/proc/{pid}/task/{pid}/stat")).ok()?)
}

/// Fields 14 and 15, user and system time; the second field is a name that may hold anything.
fn seconds(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) as f64 / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_a_past() {
        let pid = std::process::id();
        assert!(resident_kb(pid).is_some_and(|kb| kb > 500));
        assert!(processor_seconds(pid).is_some());
        assert!(first_thread_seconds(pid).is_some());
        assert_eq!(resident_kb(u32::MAX), None);
    }

    #[test]
    fn names_with_blanks_and_brackets_do_not_shift_fields() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194560 1 2 3 4 250 150 0 0 20 0 1 0 99 1 2";
        assert_eq!(seconds(stat), Some(4.0));
        assert_eq!(seconds("42 (x) S 1"), None);
        assert_eq!(field("VmRSS:\t   123 kB\n", "VmRSS:"), Some(123));
    }
}
