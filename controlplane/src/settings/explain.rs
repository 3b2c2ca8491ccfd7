//! How much is kept of what calls did.

/// The bounds of the stories that `tandem explain` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explain {
    /// Finished calls that are kept.
    pub calls: usize,
    /// Bytes that finished calls, and whole messages of all calls, may take.
    pub bytes: usize,
    /// Lines of one call. From a longer story the middle is left out, and counted.
    pub lines: usize,
    /// Whether whole messages are kept, for `tandem trace --pcap`.
    pub messages: bool,
}

impl Default for Explain {
    fn default() -> Self {
        Self {
            calls: 1000,
            bytes: 16 << 20,
            lines: 250,
            messages: false,
        }
    }
}
