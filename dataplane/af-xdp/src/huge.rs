//! Pages of 2 MB for ordinary memory.

use crate::layout::HUGE_PAGE;

/// Asks the kernel for pages of 2 MB for memory that has not been used yet, such as the spare capacity of a vector:
/// for the part of it that such pages fill whole. Says whether the kernel took note; whether it has the pages shows in
/// `/proc/PID/smaps`, as `AnonHugePages`.
pub fn wish_huge_pages<T>(unused: &[T]) -> bool {
    let range = unused.as_ptr_range();
    let start = range.start.addr().next_multiple_of(HUGE_PAGE);
    let end = range.end.addr() / HUGE_PAGE * HUGE_PAGE;
    if end <= start {
        return false;
    }
    // SAFETY: the range lies within `unused`, which is alive. The advice changes neither what is in memory nor
    // whether it may be accessed, only the size of the pages that it is given.
    let result = unsafe {
        libc::madvise(
            std::ptr::with_exposed_provenance_mut(start),
            end - start,
            libc::MADV_HUGEPAGE,
        )
    };
    result == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_fills_no_huge_page_is_left_alone() {
        let mut small = Vec::<u64>::with_capacity(1000);
        assert!(!wish_huge_pages(small.spare_capacity_mut()));
    }

    #[test]
    fn memory_is_as_usable_after_the_wish() {
        let mut all = Vec::<u64>::with_capacity(4 * HUGE_PAGE / 8);
        // A kernel without them (CONFIG_TRANSPARENT_HUGEPAGE) refuses, and that is all.
        wish_huge_pages(all.spare_capacity_mut());
        all.resize(all.capacity(), 7);
        assert!(all.iter().all(|&each| each == 7));
    }
}
