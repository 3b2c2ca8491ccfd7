//! Differences from rtpengine that are meant: `tests/corpus/ng/differences.toml`, of which each must occur.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::compared::Difference;

const LIST: &str = include_str!("../../corpus/ng/differences.toml");

/// One that is meant. `*` stands for any text.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Allowed {
    /// What the docs call it.
    name: String,
    /// The exchanges where it may occur.
    exchanges: Vec<String>,
    /// Lines that only rtpengine says.
    #[serde(default)]
    theirs: Vec<String>,
    /// Lines that only tandem says.
    #[serde(default)]
    ours: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    difference: Vec<Allowed>,
}

/// What of these differences nobody has allowed, as people read it, and which that are allowed have not occurred.
pub(crate) fn judged(differences: &[Difference]) -> (Vec<String>, Vec<String>) {
    let list: List = toml::from_str(LIST).expect("a file of the repository");
    let mut occurred = BTreeSet::new();
    let mut left = Vec::new();
    for difference in differences {
        let mut unexplained = |lines: &[String], patterns: fn(&Allowed) -> &[String]| {
            let lines = lines.iter().filter(|line| {
                let allowed = list.difference.iter().find(|allowed| {
                    let here = any(&allowed.exchanges, &difference.exchange);
                    here && any(patterns(allowed), line)
                });
                allowed
                    .map(|allowed| occurred.insert(&allowed.name))
                    .is_none()
            });
            lines.cloned().collect::<Vec<_>>()
        };
        let theirs = unexplained(&difference.theirs, |allowed| &allowed.theirs);
        let ours = unexplained(&difference.ours, |allowed| &allowed.ours);
        if !theirs.is_empty() || !ours.is_empty() {
            let mut text = format!("{}, {}:", difference.exchange, difference.place);
            theirs
                .iter()
                .for_each(|line| text.push_str(&format!("\n  rtpengine: {line}")));
            ours.iter()
                .for_each(|line| text.push_str(&format!("\n  tandem:    {line}")));
            left.push(text);
        }
    }
    let names = list.difference.iter().map(|allowed| &allowed.name);
    let unused = names.filter(|name| !occurred.contains(name)).cloned();
    (left, unused.collect())
}

fn any(patterns: &[String], text: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, text))
}

fn matches(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(text) = text.strip_prefix(start) else {
        return false;
    };
    (0..=text.len())
        .filter_map(|from| text.get(from..))
        .any(|text| matches(rest, text))
}
