//! The terminal: raw mode and the other screen for as long as a [`Screen`] runs, and back on every way out.
//!
//! ```text
//!   keys (thread) ───┐
//!   signals (thread) ┼──► one bounded channel ──► the loop: state ─► cells ─► one write
//!   asking (thread) ─┘
//! ```
//!
//! The loop waits for nothing but the channel and the terminal itself. A line that is slower than the answers
//! makes it skip pictures, never fall behind: it takes all that has come before it draws.

use std::cell::RefCell;
use std::io::{self, IsTerminal, Write};
use std::rc::Rc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use ratatui_core::terminal::Terminal;
use ratatui_crossterm::CrosstermBackend;
use ratatui_crossterm::crossterm::cursor::{Hide, Show};
use ratatui_crossterm::crossterm::event::{self, Event, KeyEvent};
use ratatui_crossterm::crossterm::terminal::{
    DisableLineWrap, EnableLineWrap, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode,
    enable_raw_mode,
};
use ratatui_crossterm::crossterm::{execute, queue};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use super::draw::draw;
use super::picture::Snapshot;
use super::screen::{Screen, Step};

/// What waits for the loop at the most; whoever has more waits for it.
const WAITING: usize = 64;

/// How long the loop may take to end after a signal. It may be held up by a terminal that takes nothing.
const FAREWELL: Duration = Duration::from_secs(1);

/// What the loop is told.
enum News {
    Key(KeyEvent),
    Resized,
    Answer(Box<Result<Snapshot, String>>),
    /// A signal, or the end of the keyboard.
    Over,
}

/// Shows what `ask` answers, each interval, until a key or a signal ends it.
pub(super) fn run(
    interval: Duration,
    ask: impl FnMut() -> Result<Snapshot, String> + Send + 'static,
) -> io::Result<()> {
    if !io::stdout().is_terminal() {
        let why = "stdout is no terminal: `--once` or `--json` need none";
        return Err(io::Error::new(io::ErrorKind::Unsupported, why));
    }
    let (sender, news) = sync_channel(WAITING);
    watch_signals(sender.clone())?;
    let _restored = Raw::enter()?;
    watch_keys(sender.clone());
    keep_asking(interval, ask, sender);
    show(&mut Screen::new(interval), &news)
}

fn show(screen: &mut Screen, news: &Receiver<News>) -> io::Result<()> {
    let outbox = Outbox::default();
    let mut terminal = Terminal::new(CrosstermBackend::new(outbox.clone()))?;
    let mut answered = false;
    loop {
        terminal.draw(|frame| draw(screen, frame.area(), frame.buffer_mut()))?;
        let sent = outbox.send()?;
        if answered {
            screen.line.note(sent);
        }
        answered = false;
        let Ok(first) = news.recv() else {
            return Ok(());
        };
        for each in [first].into_iter().chain(news.try_iter()) {
            match each {
                News::Over => return Ok(()),
                News::Resized => {}
                News::Answer(answer) => {
                    screen.answer(*answer);
                    answered = true;
                }
                News::Key(key) => match screen.key(key) {
                    Some(Step::Quit) => return Ok(()),
                    // Not Terminal::clear, which asks the terminal where the cursor is.
                    Some(Step::Redraw) => terminal.resize(terminal.size()?.into())?,
                    Some(Step::Draw) | None => {}
                },
            }
        }
    }
}

/// What the terminal is to be sent: gathered, so that a refresh is one write and one packet of an ssh line.
#[derive(Clone, Debug, Default)]
struct Outbox(Rc<RefCell<Vec<u8>>>);

impl Outbox {
    /// Sends it all; how many bytes that was.
    fn send(&self) -> io::Result<usize> {
        let bytes = self.0.take();
        let mut stdout = io::stdout().lock();
        stdout.write_all(&bytes)?;
        stdout.flush()?;
        Ok(bytes.len())
    }
}

impl Write for Outbox {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    /// Whoever flushes parts of a refresh would make several packets of it.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The terminal in raw mode, showing its other screen. Put back when dropped, and before a panic speaks.
struct Raw;

impl Raw {
    fn enter() -> io::Result<Self> {
        let told = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore();
            told(panic);
            // Also of another thread than the loop's, which would draw over it.
            std::process::exit(101);
        }));
        enable_raw_mode()?;
        let raw = Self;
        // Cells are placed one by one: wrapping at the last column would scroll.
        execute!(io::stdout(), EnterAlternateScreen, Hide, DisableLineWrap)?;
        Ok(raw)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore();
    }
}

/// As it was found. Nothing can be done about errors: the terminal may be gone.
fn restore() {
    let mut bytes = Vec::new();
    let _ = queue!(bytes, EnableLineWrap, LeaveAlternateScreen, Show);
    let _ = io::stdout().write_all(&bytes);
    let _ = io::stdout().flush();
    let _ = disable_raw_mode();
}

fn watch_keys(sender: SyncSender<News>) {
    thread::spawn(move || {
        loop {
            let news = match event::read() {
                Ok(Event::Key(key)) => News::Key(key),
                Ok(Event::Resize(..)) => News::Resized,
                Ok(_) => continue,
                Err(_) => News::Over,
            };
            let last = matches!(news, News::Over);
            if sender.send(news).is_err() || last {
                return;
            }
        }
    });
}

fn watch_signals(sender: SyncSender<News>) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGQUIT])?;
    thread::spawn(move || {
        if signals.forever().next().is_none() {
            return;
        }
        // Full: the loop is held up. It hears of it when it goes on, if it does in time.
        let _ = sender.try_send(News::Over);
        thread::sleep(FAREWELL);
        let _ = disable_raw_mode();
        std::process::exit(1);
    });
    Ok(())
}

/// Asks at once and then at each interval. Answers that come late do not move the next ones.
fn keep_asking(
    interval: Duration,
    mut ask: impl FnMut() -> Result<Snapshot, String> + Send + 'static,
    sender: SyncSender<News>,
) {
    thread::spawn(move || {
        let mut due = Instant::now();
        loop {
            if sender.send(News::Answer(Box::new(ask()))).is_err() {
                return;
            }
            due = next_after(due, interval, Instant::now());
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    });
}

/// The first time after `now` that is a whole number of intervals after `due`.
pub(super) fn next_after(due: Instant, interval: Duration, now: Instant) -> Instant {
    let late = now.saturating_duration_since(due).as_nanos();
    let passed = late / interval.as_nanos().max(1);
    due + interval * (u32::try_from(passed).unwrap_or(0).saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn late_answers_do_not_move_the_next_ones() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(next_after(start, second, at(0)), at(1_000));
        assert_eq!(next_after(start, second, at(999)), at(1_000));
        assert_eq!(next_after(start, second, at(1_000)), at(2_000));
        assert_eq!(next_after(start, second, at(3_700)), at(4_000));
    }

    /// Set where this test is the program in the terminal of the other.
    const INSIDE: &str = "TANDEM_TEST_PANICS";

    #[test]
    fn a_panic_in_any_thread_is_read_on_the_screen_that_was_before() {
        if std::env::var_os(INSIDE).is_some() {
            let _raw = Raw::enter().expect("it runs in a terminal");
            let _ = Command::new("stty").arg("-g").status();
            let _ = thread::spawn(|| panic!("of this test")).join();
            return;
        }
        let test = std::env::current_exe().expect("it runs");
        let line = format!(
            "stty -g; {INSIDE}=1 {} --nocapture --exact {}::a_panic_in_any_thread_is_read_on_the_screen_that_was_before; \
             echo ended $?; stty -g",
            test.display(),
            module_path!().trim_start_matches("tandem::"),
        );
        let output = Command::new("script")
            .args(["-qec", &line, "/dev/null"])
            .output()
            .expect("bsdutils are everywhere");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("ended 101"), "{text}");
        let place = |what: &str| {
            text.find(what)
                .unwrap_or_else(|| panic!("no {what} in {text}"))
        };
        let (other, back) = (place("\u{1b}[?1049h"), place("\u{1b}[?1049l"));
        assert!(other < back && back < place("panicked at"), "{text}");
        assert!(back < place("\u{1b}[?25h"), "the cursor is back: {text}");
        let modes: Vec<_> = text
            .split(['\r', '\n'])
            .filter(|line| line.matches(':').count() > 20)
            .collect();
        assert_eq!(modes.len(), 3, "before, inside, after: {text}");
        assert_ne!(modes[0], modes[1], "raw");
        assert_eq!(modes[0], modes[2], "as it was");
    }
}
