//! What the screen shows and how keys change that. Pure: keys and answers in, state out; [`super::draw`] puts it
//! into cells.

use std::time::Duration;

use ratatui_crossterm::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::picture::{Picture, Snapshot};
use super::tables::{View, table};

/// The connection to tandem.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Link {
    /// Not asked yet.
    Asking,
    /// One answer is there; a picture needs two.
    Measuring,
    /// The picture is of the last interval.
    Up,
    /// Why there is no answer.
    Lost(String),
}

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Draw again.
    Draw,
    /// Draw everything again: something else wrote to the terminal.
    Redraw,
    /// The end.
    Quit,
}

/// The state.
#[derive(Debug)]
pub(super) struct Screen {
    pub(super) view: View,
    pub(super) link: Link,
    pub(super) picture: Option<Picture>,
    pub(super) paused: bool,
    pub(super) help: bool,
    pub(super) interval: Duration,
    /// By view: the column that it is sorted by, or its own order.
    sort: [Option<usize>; View::ALL.len()],
    /// By view: rows scrolled past.
    scrolled: [usize; View::ALL.len()],
    /// The last answer, for the difference to the next.
    last: Option<Snapshot>,
    /// What the last refreshes wrote to the terminal.
    pub(super) line: LineUse,
}

/// Bytes written to the terminal for answers; keys and new sizes are not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LineUse {
    pub(super) refreshes: u64,
    pub(super) bytes: u64,
}

impl LineUse {
    /// Counts a refresh.
    pub(super) fn note(&mut self, bytes: usize) {
        self.refreshes += 1;
        self.bytes += bytes as u64;
    }
}

impl Screen {
    /// Before the first answer.
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            view: View::Overview,
            link: Link::Asking,
            picture: None,
            paused: false,
            help: false,
            interval,
            sort: [None; View::ALL.len()],
            scrolled: [0; View::ALL.len()],
            last: None,
            line: LineUse::default(),
        }
    }

    /// The column that the view is sorted by.
    pub(super) fn sort(&self) -> Option<usize> {
        self.sort[self.view.index()]
    }

    /// Rows scrolled past.
    pub(super) fn scrolled(&self) -> usize {
        self.scrolled[self.view.index()]
    }

    /// Takes an answer, or the sentence why there is none. A paused screen keeps its picture and goes on with
    /// what has come in the meantime.
    pub(super) fn answer(&mut self, answer: Result<Snapshot, String>) {
        match answer {
            Err(sentence) => {
                self.last = None;
                self.link = Link::Lost(sentence);
            }
            Ok(snapshot) => {
                let before = self.last.replace(snapshot);
                let after = self.last.as_ref();
                let pair = before.as_ref().zip(after);
                match pair.and_then(|(before, after)| Picture::between(before, after)) {
                    Some(picture) if !self.paused => {
                        self.picture = Some(picture);
                        self.link = Link::Up;
                    }
                    Some(_) => self.link = Link::Up,
                    // The first answer of a process.
                    None => self.link = Link::Measuring,
                }
            }
        }
    }

    /// Does what a key is for; `None` when it is for nothing.
    pub(super) fn key(&mut self, key: KeyEvent) -> Option<Step> {
        if key.kind == KeyEventKind::Release {
            return None;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c') => Some(Step::Quit),
                KeyCode::Char('l') => Some(Step::Redraw),
                _ => None,
            };
        }
        if self.help {
            self.help = false;
            let closes = !matches!(key.code, KeyCode::Char('q'));
            return Some(if closes { Step::Draw } else { Step::Quit });
        }
        match key.code {
            KeyCode::Char('q') => return Some(Step::Quit),
            KeyCode::Char('?' | 'h') => self.help = true,
            KeyCode::Char('p' | ' ') => self.paused = !self.paused,
            KeyCode::Char('s') => self.sort_by_next(),
            KeyCode::Tab | KeyCode::Right => self.turn(1),
            KeyCode::BackTab | KeyCode::Left => self.turn(View::ALL.len() - 1),
            KeyCode::Char(digit @ '1'..='5') => {
                let index = digit as usize - '1' as usize;
                self.view = View::ALL.get(index).copied().unwrap_or(self.view);
            }
            KeyCode::Down => self.scroll(1),
            KeyCode::Up => self.scroll(-1),
            KeyCode::PageDown => self.scroll(10),
            KeyCode::PageUp => self.scroll(-10),
            KeyCode::Home => self.scroll(isize::MIN),
            KeyCode::End => self.scroll(isize::MAX),
            _ => return None,
        }
        Some(Step::Draw)
    }

    fn turn(&mut self, by: usize) {
        let index = (self.view.index() + by) % View::ALL.len();
        self.view = View::ALL[index];
    }

    /// Its own order, then each column of numbers, then its own again.
    fn sort_by_next(&mut self) {
        let Some(picture) = &self.picture else { return };
        let sortable = table(self.view, picture).sortable();
        let next = match self.sort() {
            None => sortable.first(),
            Some(now) => sortable.iter().find(|column| **column > now),
        };
        self.sort[self.view.index()] = next.copied();
    }

    fn scroll(&mut self, by: isize) {
        let rows = self
            .picture
            .as_ref()
            .map_or(0, |picture| table(self.view, picture).rows.len());
        let scrolled = &mut self.scrolled[self.view.index()];
        *scrolled = scrolled
            .saturating_add_signed(by)
            .min(rows.saturating_sub(1));
    }
}
