//! A set of workers in sixteen bytes, as long as there are no more than 64 of them.

use contract::WorkerId;

/// Which of the workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum WorkerSet {
    /// One bit each.
    Few(u64),
    /// The same of more than one word.
    Many(Box<[u64]>),
}

impl WorkerSet {
    /// No worker of so many.
    pub(super) fn none(workers: usize) -> Self {
        match workers {
            0..=64 => Self::Few(0),
            _ => Self::Many(vec![0; workers.div_ceil(64)].into()),
        }
    }

    /// Puts the worker in, or takes it out.
    pub(super) fn set(&mut self, worker: WorkerId, there: bool) {
        let (word, bit) = (usize::from(worker.0) / 64, 1 << (worker.0 % 64));
        let word = match self {
            Self::Few(bits) if word == 0 => Some(bits),
            Self::Few(_) => None,
            Self::Many(words) => words.get_mut(word),
        };
        if let Some(bits) = word {
            *bits = if there { *bits | bit } else { *bits & !bit };
        }
    }

    /// Takes every worker out.
    pub(super) fn clear(&mut self) {
        match self {
            Self::Few(bits) => *bits = 0,
            Self::Many(words) => words.fill(0),
        }
    }

    /// How many workers it has.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Few(bits) => bits.count_ones() as usize,
            Self::Many(words) => words.iter().map(|bits| bits.count_ones() as usize).sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_workers_is_told_apart() {
        for workers in [1_u16, 2, 63, 64, 65, 129] {
            let mut set = WorkerSet::none(workers.into());
            for worker in 0..workers {
                assert_eq!(set.len(), usize::from(worker));
                set.set(WorkerId(worker), true);
                set.set(WorkerId(worker), true);
            }
            set.set(WorkerId(workers - 1), false);
            assert_eq!(set.len(), usize::from(workers) - 1);
            set.clear();
            assert_eq!(set, WorkerSet::none(workers.into()));
        }
        assert!(size_of::<WorkerSet>() <= 16);
    }
}
