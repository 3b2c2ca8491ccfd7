//! Pins the calling thread to a core.

use core_affinity::CoreId;

/// Pins the calling thread, and says whether the kernel agreed: it does not for a core that does not exist
/// or is not in the process's affinity mask.
#[must_use]
pub(crate) fn to_core(core: usize) -> bool {
    let allowed = core_affinity::get_core_ids().unwrap_or_default();
    allowed.contains(&CoreId { id: core }) && core_affinity::set_for_current(CoreId { id: core })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_pinned_where_it_may_run_and_nowhere_else() {
        let cores = core_affinity::get_core_ids().expect("the affinity mask");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                assert!(!to_core(100_000));
                let first = cores.first().expect("a core");
                assert!(to_core(first.id));
                assert_eq!(core_affinity::get_core_ids().expect("the mask"), [*first]);
            });
        });
    }
}
