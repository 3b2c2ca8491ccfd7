//! A call's messages as a ladder: a column for each party, tandem beside the caller, an arrow for each message.
//!
//! ```text
//!              10.1.0.2:5060               tandem               10.2.0.2:5060
//!    +0.000          │────────── INVITE ──────►│                      │
//!    +0.004          │                         │────── INVITE ───────►│
//! ```

use crate::admin::views::{Story, StoryMessage};

/// Characters from one column to the next.
const STEP: usize = 28;
/// Characters before the first column.
const MARGIN: usize = 22;
/// Parties beside tandem; those that come later share the last column.
const MOST: usize = 6;

/// The ladder as text.
pub(super) fn draw(story: &Story) -> String {
    let messages = || {
        let lines = story.lines.iter();
        lines.filter_map(|line| Some((line.at_seconds, line.message.as_ref()?)))
    };
    let mut parties: Vec<&str> = Vec::new();
    for (_, message) in messages() {
        if !parties.contains(&&*message.remote) && parties.len() < MOST {
            parties.push(&message.remote);
        }
    }
    let mut text = format!("call {}, began {}\n\n", story.call, story.started);
    text.push_str(&heading(&parties));
    for (at, message) in messages() {
        text.push_str(&rung(at, message, &parties));
    }
    if story.omitted > 0 {
        text.push_str(&format!(
            "\n{} lines of the story are left out\n",
            story.omitted
        ));
    }
    text
}

/// The column of a party: the caller is left of tandem, all others right.
fn column(party: usize) -> usize {
    if party == 0 { 0 } else { party + 1 }
}

const TANDEM: usize = 1;

fn place(column: usize) -> usize {
    MARGIN + column * STEP
}

fn heading(parties: &[&str]) -> String {
    let mut row = Row::new(place(parties.len().max(1)) + STEP);
    for (number, party) in parties.iter().enumerate() {
        row.centre(place(column(number)), party);
    }
    row.centre(place(TANDEM), "tandem");
    row.end()
}

fn rung(at: f64, message: &StoryMessage, parties: &[&str]) -> String {
    let columns = parties.len().max(1) + 1;
    let mut row = Row::new(place(columns - 1) + STEP);
    row.write(0, &format!("{:>10}", format!("+{at:.3}")));
    for column in 0..columns {
        row.write(place(column), "│");
    }
    let party = parties.iter().position(|party| *party == message.remote);
    let party = place(column(party.unwrap_or(parties.len().saturating_sub(1))));
    let tandem = place(TANDEM);
    let (left, right) = (party.min(tandem) + 1, party.max(tandem));
    for place in left..right {
        row.write(place, "─");
    }
    let rightwards = (party > tandem) == message.sent;
    match rightwards {
        true => row.write(right - 1, "►"),
        false => row.write(left, "◄"),
    }
    let again = if message.repeated { " again" } else { "" };
    let room = STEP - 6;
    let label: String = format!("{}{again}", message.summary)
        .chars()
        .take(room)
        .collect();
    // In the gap beside tandem, however far the other end is.
    let middle = if party < tandem {
        tandem - STEP / 2
    } else {
        tandem + STEP / 2
    };
    row.centre(middle, &format!(" {label} "));
    row.end()
}

/// A line of characters, each in its place.
struct Row(Vec<char>);

impl Row {
    fn new(width: usize) -> Self {
        Self(vec![' '; width])
    }

    fn write(&mut self, place: usize, text: &str) {
        for (cell, character) in self.0.iter_mut().skip(place).zip(text.chars()) {
            *cell = character;
        }
    }

    fn centre(&mut self, place: usize, text: &str) {
        let half = text.chars().count() / 2;
        self.write(place.saturating_sub(half), text);
    }

    fn end(self) -> String {
        let text: String = self.0.into_iter().collect();
        format!("{}\n", text.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::story;
    use super::*;

    #[test]
    fn arrows_lead_from_who_sent_to_who_received() {
        let text = draw(&story());
        let lines: Vec<&str> = text.lines().collect();
        let expected = [
            "call 17, began 2026-01-01T00:00:00.000Z",
            "",
            "                10.1.0.2:5060                  tandem                   10.2.0.2:5060               10.2.0.3:5060",
            "    +0.000            │───────── INVITE ─────────►│                           │                           │",
            "    +0.001            │                           │───────── INVITE ─────────►│                           │",
            "    +0.501            │                           │────── INVITE again ──────►│                           │",
            "    +1.500            │                           │───────── INVITE ──────────────────────────────────────►│",
            "    +1.600            │                           │◄────── 180 Ringing ───────────────────────────────────│",
            "    +1.700            │◄────── 180 Ringing ───────│                           │                           │",
        ];
        // Widths are checked by shape: every life line stands where the heading says.
        assert_eq!(lines[0], expected[0]);
        for line in &lines[3..9] {
            let characters: Vec<char> = line.chars().collect();
            assert_eq!(characters[place(0)], '│', "{text}");
            assert_eq!(characters[place(TANDEM)], '│', "{text}");
        }
        let arrow = |line: &str| -> Vec<(usize, char)> {
            let characters = line.chars().enumerate();
            characters.filter(|(_, c)| "►◄".contains(*c)).collect()
        };
        assert_eq!(arrow(lines[3]), [(place(TANDEM) - 1, '►')], "{text}");
        assert_eq!(arrow(lines[4]), [(place(2) - 1, '►')], "{text}");
        assert_eq!(arrow(lines[6]), [(place(3) - 1, '►')], "{text}");
        assert_eq!(arrow(lines[7]), [(place(TANDEM) + 1, '◄')], "{text}");
        assert_eq!(arrow(lines[8]), [(place(0) + 1, '◄')], "{text}");
        assert!(lines[5].contains("INVITE again"), "{text}");
        assert!(text.ends_with("3 lines of the story are left out\n"));
    }

    #[test]
    fn a_story_without_messages_is_a_heading() {
        let text = draw(&Story::default());
        assert!(text.contains("tandem"), "{text}");
    }
}
