//! SIGINT and SIGTERM: a flag, so that whoever waits can clean up.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::error::Error;

/// A flag that the first SIGINT or SIGTERM raises; later ones change nothing.
pub(crate) fn stop() -> Result<Arc<AtomicBool>, Error> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))
            .map_err(|error| Error::system("signal handler", error))?;
    }
    Ok(stop)
}
