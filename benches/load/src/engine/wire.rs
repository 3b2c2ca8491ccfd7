//! What the loop sends and receives through: AF_XDP sockets, or a simulated relay in tests.

use crate::packet::Side;

/// Two sides, and a clock.
pub trait Wire {
    /// What can go wrong so badly that the run is over.
    type Error;

    /// The time in nanoseconds.
    fn now(&mut self) -> u64;

    /// Sends up to `count` frames of a side. `write` puts the next one at the start of the room that it is given
    /// (1,500 bytes at least) and says how long it is; it is called for frames that will leave. Says how many.
    fn send(
        &mut self,
        side: Side,
        count: usize,
        write: impl FnMut(&mut [u8]) -> usize,
    ) -> Result<usize, Self::Error>;

    /// Shows what a side has received, a batch at the most. Says how many.
    fn receive(&mut self, side: Side, see: impl FnMut(&[u8])) -> Result<usize, Self::Error>;

    /// Does what is to be done now and then, and when there is nothing else to do.
    fn tend(&mut self) -> Result<(), Self::Error>;

    /// Frames that arrived and were dropped for want of room on the tool's own side, since the beginning.
    fn own_drops(&mut self) -> Result<u64, Self::Error>;
}
