//! Asking the cache for memory that will be needed soon.
//!
//! Neither waits, nor changes anything but what is in the cache. An address where no memory is is of no
//! consequence.

/// Asks for the cache line that an element of a slice starts in. The index is not checked.
#[inline(always)]
pub fn prefetch<T>(slice: &[T], index: usize) {
    prefetch_address(slice.as_ptr().wrapping_add(index).cast());
}

#[inline(always)]
pub(crate) fn prefetch_address(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing into the program and faults nowhere, whatever the address.
        unsafe { _mm_prefetch(address.cast(), _MM_HINT_T0) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
