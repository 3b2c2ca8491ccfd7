//! Writing to stdout: a reader that has seen enough (`tandem calls | head`) is no failure.

use std::io::{self, Write};

/// Writes text as it is, and sees it through.
///
/// # Errors
/// What stdout says, except that its reader has gone.
pub fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}
