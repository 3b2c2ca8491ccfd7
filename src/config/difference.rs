//! What differs between two texts of the configuration file, in the operator's own words: section by section, key
//! by key. What a section means is not looked at, only which sections and keys a running process can take anew.
//!
//! Sections are known by their `name`; a list of sections without names (`[[route]]`) is compared in order, so that a
//! route that is put between two others is one addition.

use std::fmt;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::kind::SECRET_KEYS;

/// The whole difference, in the order of the new file; what is gone comes last within its sort.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) changes: Vec<Change>,
}

/// One thing that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Change {
    /// `[sip]`, `[[trunk]] "carrier"`, `[[route]] 3`; the number of a section without a name is its place in the
    /// file that has it, from 1.
    pub(crate) section: String,
    /// The key; nothing when the whole section is new or gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    /// What it was, as TOML; nothing when it is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) before: Option<String>,
    /// What it is now, as TOML; nothing when it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<String>,
    /// A running process cannot take it over.
    pub(crate) needs_restart: bool,
}

impl Difference {
    /// Compares two files that have been checked: what is no TOML is taken for an empty file.
    pub(crate) fn between(before: &str, after: &str) -> Self {
        let read = |text: &str| text.parse::<Table>().unwrap_or_default();
        let (before, after) = (read(before), read(after));
        let mut changes = Vec::new();
        for sort in sorts(&before, &after) {
            compare_sort(sort, before.get(sort), after.get(sort), &mut changes);
        }
        Self { changes }
    }

    /// The changes that a running process cannot take over.
    pub(crate) fn restarts(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|change| change.needs_restart)
    }
}

/// Whether the running process keeps what it has of this section and key: what sockets, devices and threads
/// were made from.
fn needs_restart(sort: &str, key: Option<&str>) -> bool {
    match sort {
        "workers" | "device" | "media" | "listener" | "ng_listener" | "cdr" | "hep" => true,
        "appliance" => matches!(key, Some("admin_socket" | "log_rate")),
        // Without the key: the whole section is new or gone, and with it what threads were started for.
        "ng" => matches!(
            key,
            None | Some("recording_directory" | "announcements" | "forward_to")
        ),
        _ => false,
    }
}

/// The sorts of sections of both files.
fn sorts<'t>(before: &'t Table, after: &'t Table) -> Vec<&'t str> {
    let gone = before.keys().filter(|sort| !after.contains_key(*sort));
    after.keys().chain(gone).map(String::as_str).collect()
}

fn compare_sort(
    sort: &str,
    before: Option<&Value>,
    after: Option<&Value>,
    changes: &mut Vec<Change>,
) {
    let tables = |value: Option<&Value>| -> Vec<Table> {
        let array = value.and_then(Value::as_array).cloned().unwrap_or_default();
        let table = |value| match value {
            Value::Table(table) => Some(table),
            _ => None,
        };
        array.into_iter().filter_map(table).collect()
    };
    let is_list = [before, after]
        .into_iter()
        .flatten()
        .any(|value| value.is_array());
    if is_list {
        let (before, after) = (tables(before), tables(after));
        let named = before
            .iter()
            .chain(&after)
            .all(|table| name(table).is_some());
        return match named {
            true => compare_named(sort, &before, &after, changes),
            false => compare_ordered(sort, &before, &after, changes),
        };
    }
    let table =
        |value: Option<&Value>| value.and_then(Value::as_table).cloned().unwrap_or_default();
    // A section that is not written says the same as one that is empty: its keys have defaults.
    compare_keys(
        sort,
        &format!("[{sort}]"),
        &table(before),
        &table(after),
        changes,
    );
}

fn compare_named(sort: &str, before: &[Table], after: &[Table], changes: &mut Vec<Change>) {
    // A user's name is unique within its trunk.
    let within = |table: &Table| table.get("trunk").filter(|_| sort == "user").cloned();
    let is_same =
        |one: &Table, other: &Table| name(one) == name(other) && within(one) == within(other);
    let find = |tables: &[Table], wanted: &Table| {
        let mut tables = tables.iter();
        tables.find(|table| is_same(table, wanted)).cloned()
    };
    let title = |table: &Table| format!("[[{sort}]] {:?}", name(table).unwrap_or_default());
    for section in after {
        match find(before, section) {
            Some(former) => compare_keys(sort, &title(section), &former, section, changes),
            None => changes.push(whole(sort, title(section), None, Some(section))),
        }
    }
    for section in before
        .iter()
        .filter(|section| find(after, section).is_none())
    {
        changes.push(whole(sort, title(section), Some(section), None));
    }
}

/// The longest common subsequence stays; the rest is gone or new. Files have tens of such sections; a thousand of
/// each would be a million steps.
fn compare_ordered(sort: &str, before: &[Table], after: &[Table], changes: &mut Vec<Change>) {
    let title = |place: usize| format!("[[{sort}]] {}", place + 1);
    let lengths = common_lengths(before, after);
    let length = |i: usize, j: usize| lengths[i * (after.len() + 1) + j];
    let (mut i, mut j) = (0, 0);
    while i < before.len() || j < after.len() {
        match (before.get(i), after.get(j)) {
            (Some(former), Some(section)) if former == section => {
                i += 1;
                j += 1;
            }
            (Some(former), latter) if latter.is_none() || length(i + 1, j) >= length(i, j + 1) => {
                changes.push(whole(sort, title(i), Some(former), None));
                i += 1;
            }
            (_, Some(section)) => {
                changes.push(whole(sort, title(j), None, Some(section)));
                j += 1;
            }
            (_, None) => break,
        }
    }
}

/// How long the longest common subsequence of `before[i..]` and `after[j..]` is, at `i * (after.len() + 1) + j`.
fn common_lengths(before: &[Table], after: &[Table]) -> Vec<usize> {
    let width = after.len() + 1;
    let mut lengths = vec![0; (before.len() + 1) * width];
    for i in (0..before.len()).rev() {
        for j in (0..after.len()).rev() {
            lengths[i * width + j] = match before[i] == after[j] {
                true => lengths[(i + 1) * width + j + 1] + 1,
                false => lengths[(i + 1) * width + j].max(lengths[i * width + j + 1]),
            };
        }
    }
    lengths
}

fn compare_keys(sort: &str, title: &str, before: &Table, after: &Table, changes: &mut Vec<Change>) {
    let gone = before.keys().filter(|key| !after.contains_key(*key));
    for key in after.keys().chain(gone) {
        let (former, latter) = (before.get(key), after.get(key));
        if former == latter {
            continue;
        }
        let spell = |value: &Value| spell(key, value);
        changes.push(Change {
            section: title.to_owned(),
            key: Some(key.clone()),
            before: former.map(spell),
            after: latter.map(spell),
            needs_restart: needs_restart(sort, Some(key)),
        });
    }
}

fn whole(sort: &str, section: String, before: Option<&Table>, after: Option<&Table>) -> Change {
    let spell = |table: &Table| {
        let keys = table.iter().filter(|(key, _)| *key != "name");
        let keys: Vec<_> = keys
            .map(|(key, value)| format!("{key} = {}", spell(key, value)))
            .collect();
        keys.join(", ")
    };
    Change {
        section,
        key: None,
        before: before.map(spell),
        after: after.map(spell),
        needs_restart: needs_restart(sort, None),
    }
}

/// The value as TOML, on one line; what is secret only as something that differs.
fn spell(key: &str, value: &Value) -> String {
    if SECRET_KEYS.contains(&key) {
        return "(secret)".to_owned();
    }
    match value {
        Value::Table(table) => {
            let keys = table.iter();
            let keys: Vec<_> = keys
                .map(|(key, value)| format!("{key} = {}", spell(key, value)))
                .collect();
            format!("{{ {} }}", keys.join(", "))
        }
        Value::Array(values) => {
            let values: Vec<_> = values.iter().map(|value| spell(key, value)).collect();
            format!("[{}]", values.join(", "))
        }
        other => other.to_string(),
    }
}

fn name(table: &Table) -> Option<&str> {
    table.get("name")?.as_str()
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match (&self.before, &self.after) {
            (None, _) => '+',
            (_, None) => '-',
            _ => '~',
        };
        write!(f, "{sign} {}", self.section)?;
        if let Some(key) = &self.key {
            write!(f, " {key}")?;
        }
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => write!(f, ": {before} -> {after}"),
            (Some(value), None) | (None, Some(value)) if !value.is_empty() => {
                write!(f, ": {value}")
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(before: &str, after: &str) -> Vec<String> {
        let changes = Difference::between(before, after).changes;
        changes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn named_sections_are_compared_key_by_key_wherever_they_stand() {
        let before =
            "[[trunk]]\nname = 'a'\npeers = ['10.0.0.1']\n[[trunk]]\nname = 'b'\nmedia = 'm'\n";
        let after = "[[trunk]]\nname = 'c'\nmedia = 'm'\n[[trunk]]\nname = 'a'\npeers = ['10.0.0.1', '10.0.0.2']\nuser = 'x'\n";
        assert_eq!(
            shown(before, after),
            [
                "+ [[trunk]] \"c\": media = \"m\"",
                "~ [[trunk]] \"a\" peers: [\"10.0.0.1\"] -> [\"10.0.0.1\", \"10.0.0.2\"]",
                "+ [[trunk]] \"a\" user: \"x\"",
                "- [[trunk]] \"b\": media = \"m\"",
            ]
        );
        assert!(shown(before, before).is_empty());
    }

    #[test]
    fn users_of_one_name_are_told_apart_by_their_trunks() {
        let user = |trunk: &str| format!("[[user]]\nname = 'alice'\ntrunk = '{trunk}'\n");
        let both = [user("a"), user("b")].concat();
        assert!(shown(&both, &both).is_empty());
        assert_eq!(
            shown(&both, &user("b")),
            ["- [[user]] \"alice\": trunk = \"a\""]
        );
    }

    #[test]
    fn sections_without_names_are_compared_in_order() {
        let route = |user: &str| format!("[[route]]\nuser = '{user}'\n");
        let before = [route("1"), route("2"), route("3")].concat();
        let after = [route("1"), route("9"), route("3"), route("4")].concat();
        assert_eq!(
            shown(&before, &after),
            [
                "- [[route]] 2: user = \"2\"",
                "+ [[route]] 2: user = \"9\"",
                "+ [[route]] 4: user = \"4\"",
            ]
        );
        assert_eq!(
            shown(&before, ""),
            [
                "- [[route]] 1: user = \"1\"",
                "- [[route]] 2: user = \"2\"",
                "- [[route]] 3: user = \"3\"",
            ]
        );
    }

    #[test]
    fn a_section_that_is_not_written_is_an_empty_one() {
        assert!(shown("", "[sip]\n").is_empty());
        assert_eq!(shown("", "[sip]\nt1 = '1s'\n"), ["+ [sip] t1: \"1s\""]);
    }

    #[test]
    fn secrets_stay_in_the_file() {
        let trunk = |word: &str| format!("[[trunk]]\nname = 'a'\npassword = '{word}'\n");
        assert_eq!(
            shown(&trunk("old"), &trunk("new")),
            ["~ [[trunk]] \"a\" password: (secret) -> (secret)"]
        );
        assert_eq!(
            shown("", &trunk("new")),
            ["+ [[trunk]] \"a\": password = (secret)"]
        );
        let nested =
            |word: &str| format!("[[trunk]]\nname = 'a'\nauth = [{{ password = '{word}' }}]\n");
        assert_eq!(
            shown(&nested("old"), &nested("new")),
            ["~ [[trunk]] \"a\" auth: [{ password = (secret) }] -> [{ password = (secret) }]"]
        );
    }

    #[test]
    fn what_sockets_and_threads_were_made_from_needs_a_restart() {
        let restarts = |after: &str| Difference::between("", after).restarts().count();
        assert_eq!(restarts("[workers]\ncores = [1]\n"), 1);
        assert_eq!(restarts("[[listener]]\nname = 'a'\n"), 1);
        assert_eq!(
            restarts("[appliance]\nadmin_socket = '/x'\nname = 'b'\n"),
            1
        );
        assert_eq!(restarts("[[trunk]]\nname = 'a'\n[sip]\nt1 = '1s'\n"), 0);
    }
}
