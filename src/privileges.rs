//! Whether the process may do what the dataplane needs, asked before anything is opened, so that the answer
//! names the capability and not the first call that fails.

use std::{fs, io};

/// Numbers from linux/capability.h. Without CAP_PERFMON the kernel's verifier forbids the XDP program to
/// add a variable to a map value's address, as it does for programs that it does not trust
/// (kernel/bpf/verifier.c, `sanitize_ptr_alu`).
const NEEDED: [(&str, u32); 4] = [
    ("CAP_NET_ADMIN", 12),
    ("CAP_NET_RAW", 13),
    ("CAP_BPF", 39),
    ("CAP_PERFMON", 38),
];

/// It includes CAP_BPF and CAP_PERFMON (linux/capability.h, `bpf_capable`, `perfmon_capable`).
const CAP_SYS_ADMIN: u32 = 21;

/// Why the process may not run the dataplane.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrivilegeError {
    /// Capabilities are missing.
    #[error(
        "missing {}: run tandem as root, or give it CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF \
         and CAP_PERFMON (`setcap cap_net_admin,cap_net_raw,cap_bpf,cap_perfmon+ep`, or systemd's \
         AmbientCapabilities)",
        .0.join(", ")
    )]
    Missing(Vec<&'static str>),
    /// The kernel does not tell.
    #[error("cannot read the process's capabilities: {0}")]
    Unknown(io::Error),
}

/// Fails when a capability is missing.
pub(crate) fn check() -> Result<(), PrivilegeError> {
    let status = fs::read_to_string("/proc/self/status").map_err(PrivilegeError::Unknown)?;
    let effective = effective(&status).ok_or_else(|| {
        let reason = "/proc/self/status has no CapEff";
        PrivilegeError::Unknown(io::Error::new(io::ErrorKind::InvalidData, reason))
    })?;
    match missing(effective) {
        missing if missing.is_empty() => Ok(()),
        missing => Err(PrivilegeError::Missing(missing)),
    }
}

fn effective(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn missing(effective: u64) -> Vec<&'static str> {
    let has = |bit: u32| effective & (1 << bit) != 0;
    let lacks = |&&(name, bit): &&(&'static str, u32)| match name {
        "CAP_BPF" | "CAP_PERFMON" => !has(bit) && !has(CAP_SYS_ADMIN),
        _ => !has(bit),
    };
    NEEDED.iter().filter(lacks).map(|&(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_missing_capability_is_named() {
        assert_eq!(missing(u64::MAX), [""; 0]);
        assert_eq!(
            missing(0),
            ["CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_BPF", "CAP_PERFMON"]
        );
        assert_eq!(missing(!(1 << 13)), ["CAP_NET_RAW"]);
        let old = (1 << 12) | (1 << 13) | (1 << CAP_SYS_ADMIN);
        assert_eq!(missing(old), [""; 0], "CAP_SYS_ADMIN includes the others");
    }

    #[test]
    fn the_kernels_line_is_read() {
        let status = "Name:\tx\nCapEff:\t000001ffffffffff\nCapBnd:\t0\n";
        assert_eq!(effective(status), Some(0x1ff_ffff_ffff));
        assert_eq!(effective("Name:\tx\n"), None);
    }
}
