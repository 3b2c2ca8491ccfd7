//! How many files the services may have open, so that enough are left for everybody else's sockets.

/// What processes commonly may, where the kernel does not tell.
const COMMON: usize = 1024;

/// Files of recordings, and connections of forwarding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Recordings at a time.
    pub(crate) recordings: usize,
    /// Connections at a time.
    pub(crate) connections: usize,
}

impl Limits {
    /// By what this process may open.
    pub(crate) fn of_process() -> Self {
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
        Self::of(open_files(&limits).unwrap_or(COMMON))
    }

    /// Half of all files for recordings, a quarter for connections.
    fn of(files: usize) -> Self {
        Self {
            recordings: (files / 2).min(4000),
            connections: (files / 4).min(2000),
        }
    }
}

/// The limit in force, of the kernel's table of limits.
fn open_files(limits: &str) -> Option<usize> {
    let mut lines = limits.lines();
    let line = lines.find_map(|line| line.strip_prefix("Max open files"))?;
    let soft = line.split_whitespace().next()?;
    // Else it is "unlimited".
    Some(soft.parse().unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_what_the_process_may_open() {
        let table = "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 524288               files\n";
        assert_eq!(open_files(table), Some(1024));
        assert_eq!(
            open_files("Max open files unlimited unlimited files"),
            Some(usize::MAX)
        );
        assert_eq!(open_files(""), None);
        let common = Limits {
            recordings: 512,
            connections: 256,
        };
        assert_eq!(Limits::of(1024), common);
        assert_eq!(Limits::of(usize::MAX).recordings, 4000);
        assert!(Limits::of_process().recordings > 0);
    }
}
