//! On which NUMA node memory lies, and where this thread runs: the kernel's own answers, not what was asked for.
//!
//! A page lies where it was first touched from (the default policy, unless the process was started under
//! another): a thread that is pinned first and touches its memory then has it on its core's node, as long as
//! that node has pages to give.

use std::ops::Range;
use std::ptr;

/// The smallest page. A larger one is merely asked about several times.
const PAGE: usize = 4096;
/// Pages of a range that are asked about, evenly spread: the call takes some 50 ns a page.
const SAMPLES: usize = 1024;

/// The addresses that a slice covers.
pub fn span<T>(slice: &[T]) -> Range<usize> {
    let range = slice.as_ptr_range();
    range.start.addr()..range.end.addr()
}

/// The node of the core that the calling thread is on; `None` when the kernel does not say.
pub fn node_of_this_core() -> Option<u32> {
    let (mut core, mut node) = (0_u32, 0_u32);
    // SAFETY: the kernel writes two u32 that are alive; the third argument has been unused since Linux 2.6.24.
    let result = unsafe {
        libc::syscall(
            libc::SYS_getcpu,
            &raw mut core,
            &raw mut node,
            ptr::null_mut::<libc::c_void>(),
        )
    };
    (result == 0).then_some(node)
}

/// The nodes that the pages of these ranges of the process's memory lie on, ascending. Pages that have never
/// been touched lie nowhere. Empty when the kernel does not say (without CONFIG_NUMA, or where a sandbox
/// forbids `move_pages`).
pub fn nodes_of(ranges: impl IntoIterator<Item = Range<usize>>) -> Vec<u32> {
    let mut nodes: Vec<u32> = ranges.into_iter().flat_map(statuses).collect();
    nodes.sort_unstable();
    nodes.dedup();
    nodes
}

fn statuses(range: Range<usize>) -> Vec<u32> {
    let first = range.start / PAGE * PAGE;
    let pages = range.end.saturating_sub(first).div_ceil(PAGE);
    let step = pages.div_ceil(SAMPLES).max(1);
    let addresses: Vec<usize> = (0..pages)
        .step_by(step)
        .map(|page| first + page * PAGE)
        .collect();
    let mut statuses = vec![-libc::ENOENT; addresses.len()];
    // SAFETY: with no nodes given the call moves nothing: it reads `addresses` (pointer-sized numbers, which need
    // not be mapped) and writes as many `c_int` to `statuses`, which has as many.
    let result = unsafe {
        libc::syscall(
            libc::SYS_move_pages,
            0,
            addresses.len(),
            addresses.as_ptr(),
            ptr::null::<libc::c_int>(),
            statuses.as_mut_ptr(),
            0,
        )
    };
    if result != 0 {
        return Vec::new();
    }
    let node = |status: libc::c_int| u32::try_from(status).ok();
    statuses.into_iter().filter_map(node).collect()
}

/// Faults the pages of a range in, ready to be written, without changing what is in them: memory from the
/// allocator is often only promised. Says whether the kernel did (Linux 5.14, and mapped memory); if not, each
/// page comes with its first use.
pub fn fault_in(range: Range<usize>) -> bool {
    let first = range.start / PAGE * PAGE;
    let length = range.end.saturating_sub(first).next_multiple_of(PAGE);
    if range.is_empty() {
        return true;
    }
    // SAFETY: populating changes no content and takes no page away, whoever the pages belong to; an address that
    // is not mapped is an error.
    let result = unsafe {
        libc::madvise(
            ptr::without_provenance_mut(first),
            length,
            libc::MADV_POPULATE_WRITE,
        )
    };
    result == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn untouched_memory_lies_nowhere_until_it_is_faulted_in() {
        // Large enough for the allocator to map it afresh.
        let promised = vec![0_u64; 8 << 20];
        let range = span(&promised);
        let middle = range.start + (range.end - range.start) / 2..range.end;
        assert_eq!(nodes_of([middle.clone()]), [0_u32; 0]);
        assert!(fault_in(range.clone()));
        let nodes = nodes_of([range, middle]);
        assert!(!nodes.is_empty() && nodes.iter().all(|&node| is_online(node)));
        assert!(promised.iter().all(|&word| word == 0));
    }

    #[test]
    fn this_core_has_a_node_that_is_online() {
        assert!(is_online(node_of_this_core().expect("the kernel says")));
    }

    #[test]
    fn what_is_not_mapped_has_no_node_and_cannot_be_faulted_in() {
        assert_eq!(nodes_of(std::iter::once(4096..8192)), [0_u32; 0]);
        assert_eq!(nodes_of(std::iter::once(0..0)), [0_u32; 0]);
        assert!(!fault_in(4096..8192));
        assert!(fault_in(0..0));
    }

    fn is_online(node: u32) -> bool {
        let path = format!("/sys/devices/system/node/node{node}");
        fs::exists(path).expect("/sys can be looked at")
    }
}
