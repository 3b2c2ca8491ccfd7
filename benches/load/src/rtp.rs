//! `tandem-load rtp`: from arguments to a report.

use std::process::ExitCode;

use crate::cli::RtpArgs;
use crate::streams::{self, StreamsError};

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum RtpError {
    /// The streams.
    #[error(transparent)]
    Streams(#[from] StreamsError),
}

/// Does what was asked for.
pub fn execute(args: &RtpArgs) -> Result<ExitCode, RtpError> {
    if let Some(file) = &args.source.streams {
        streams::from_file(file)?;
    }
    Ok(ExitCode::SUCCESS)
}
