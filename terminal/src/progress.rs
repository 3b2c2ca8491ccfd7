//! One line that says how far a program is: rewritten in place on a terminal, a line each time elsewhere,
//! so that a log of it can be read.

use std::io::{self, IsTerminal, Write};

/// Where progress goes, and whether a line stands there that the next one replaces.
#[derive(Debug)]
pub struct Progress<W> {
    out: W,
    rewrites: bool,
    standing: bool,
}

impl Progress<io::Stderr> {
    /// Progress on stderr, so that stdout has the result alone.
    pub fn on_stderr() -> Self {
        let out = io::stderr();
        let rewrites = out.is_terminal();
        Self::new(out, rewrites)
    }
}

impl<W: Write> Progress<W> {
    /// Progress on `out`, which is a terminal or not.
    pub fn new(out: W, rewrites: bool) -> Self {
        Self {
            out,
            rewrites,
            standing: false,
        }
    }

    /// Shows how far it is. That nobody reads it is no reason to stop.
    pub fn show(&mut self, line: &str) {
        let _ = if self.rewrites {
            self.standing = true;
            write!(self.out, "\r\x1b[K{line}")
        } else {
            writeln!(self.out, "{line}")
        };
        let _ = self.out.flush();
    }

    /// Says something that stays.
    pub fn say(&mut self, line: &str) {
        self.clear();
        let _ = writeln!(self.out, "{line}");
    }

    /// Removes a line that would be replaced.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.standing) {
            let _ = write!(self.out, "\r\x1b[K");
            let _ = self.out.flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(rewrites: bool) -> String {
        let mut out = Vec::new();
        let mut progress = Progress::new(&mut out, rewrites);
        progress.show("1 s");
        progress.show("2 s");
        progress.say("done");
        progress.clear();
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn a_terminal_has_one_line_and_a_log_has_all() {
        assert_eq!(shown(true), "\r\x1b[K1 s\r\x1b[K2 s\r\x1b[Kdone\n");
        assert_eq!(shown(false), "1 s\n2 s\ndone\n");
    }
}
