//! A terminal with a program in it: a pseudo-terminal whose other end is an emulator, so that a journey sees
//! what an operator would, and what state the program leaves it in.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

/// Longer than anything takes that is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// The terminal. The program is killed when it is dropped.
pub(crate) struct Terminal {
    /// The emulator's end.
    master: File,
    /// The program's end, held so that it lives on after the program.
    slave: OwnedFd,
    program: Child,
    seen: Arc<Mutex<Seen>>,
}

struct Seen {
    emulator: vt100::Parser,
    bytes: usize,
}

impl Terminal {
    /// Starts a program in a terminal of so many columns and lines that is its controlling one.
    pub(crate) fn start(program: &str, arguments: &[&str], columns: u16, lines: u16) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).expect("the kernel has pseudo-terminals");
        grantpt(&master).expect("it is a master");
        unlockpt(&master).expect("it is a master");
        let slave = ioctl_tiocgptpeer(&master, flags).expect("it is unlocked");
        let size = Winsize {
            ws_col: columns,
            ws_row: lines,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&slave, size).expect("it is a terminal");
        let end = || slave.try_clone().expect("file descriptors are left");
        let program = Command::new("setsid")
            .args(["--ctty", program])
            .args(arguments)
            .env("TERM", "xterm")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .expect("util-linux is everywhere");
        let seen = Arc::new(Mutex::new(Seen {
            emulator: vt100::Parser::new(some(lines), some(columns), 0),
            bytes: 0,
        }));
        let master = File::from(master);
        let terminal = Self {
            seen: Arc::clone(&seen),
            slave,
            program,
            master,
        };
        let mut reads = terminal
            .master
            .try_clone()
            .expect("file descriptors are left");
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = reads.read(&mut bytes) {
                let mut seen = seen.lock().expect("nobody panics with it");
                seen.emulator.process(&bytes[..read]);
                seen.bytes += read;
            }
        });
        terminal
    }

    /// What stands on it, a line each.
    pub(crate) fn screen(&self) -> String {
        self.look(|seen| seen.emulator.screen().contents())
    }

    /// Bytes that it has been sent so far.
    pub(crate) fn bytes(&self) -> usize {
        self.look(|seen| seen.bytes)
    }

    /// Waits until a text stands on it.
    #[track_caller]
    pub(crate) fn expect(&self, text: &str) {
        let end = Instant::now() + PATIENCE;
        while !self.screen().contains(text) {
            assert!(Instant::now() < end, "no {text:?} in:\n{}", self.screen());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Presses keys.
    pub(crate) fn press(&mut self, keys: &str) {
        self.master
            .write_all(keys.as_bytes())
            .expect("the program's end is open");
    }

    /// Makes it another size; the program is told.
    pub(crate) fn resize(&self, columns: u16, lines: u16) {
        let mut size = rustix::termios::tcgetwinsize(&self.slave).expect("it is a terminal");
        (size.ws_col, size.ws_row) = (columns, lines);
        let mut seen = self.seen.lock().expect("nobody panics with it");
        seen.emulator
            .screen_mut()
            .set_size(some(lines), some(columns));
        tcsetwinsize(&self.slave, size).expect("it is a terminal");
    }

    /// Sends the program a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.program), signal).expect("the program runs");
    }

    /// Waits for the program's end.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Ok(Some(status)) = self.program.try_wait() {
                return status;
            }
            assert!(Instant::now() < end, "it still runs:\n{}", self.screen());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether a program has it to itself: the other screen, no cursor, no echo, keys without a line's end.
    pub(crate) fn is_taken(&self) -> [bool; 4] {
        let modes = tcgetattr(&self.slave)
            .expect("it is a terminal")
            .local_modes;
        let [other_screen, no_cursor] = self.look(|seen| {
            let screen = seen.emulator.screen();
            [screen.alternate_screen(), screen.hide_cursor()]
        });
        [
            other_screen,
            no_cursor,
            !modes.contains(LocalModes::ECHO),
            !modes.contains(LocalModes::ICANON),
        ]
    }

    fn look<T>(&self, at: impl FnOnce(&Seen) -> T) -> T {
        at(&self.seen.lock().expect("nobody panics with it"))
    }
}

/// Terminals have lines and columns.
fn some(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).unwrap_or(NonZeroU16::MIN)
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
        if std::thread::panicking() {
            eprintln!("--- the terminal ---\n{}", self.screen());
        }
    }
}
