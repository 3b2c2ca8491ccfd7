//! `docs/testing.md` says which journey shows what: each that it names must exist, and each group of journeys must be named.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const PAGE: &str = include_str!("../docs/testing.md");

/// The journeys, by module.
fn journeys() -> BTreeMap<String, Vec<String>> {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/journeys");
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(place).expect("the journeys are there") {
        let path = entry.expect("an entry of the directory").path();
        if path.extension().is_none_or(|end| end != "rs") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a file of the repository");
        let tests: Vec<String> = text
            .split("#[test]\n")
            .skip(1)
            .filter_map(|after| after.split_once("fn ")?.1.split_once('(').map(|fun| fun.0))
            .map(str::to_owned)
            .collect();
        if let Some(module) = path.file_stem().filter(|_| !tests.is_empty()) {
            found.insert(module.to_string_lossy().into_owned(), tests);
        }
    }
    assert!(found.len() > 20, "journeys: {found:?}");
    found
}

/// What the page names as `module::journey` or `module::*`.
fn named() -> Vec<(&'static str, &'static str)> {
    let code = PAGE.split('`').skip(1).step_by(2);
    code.filter(|word| word.starts_with(|first: char| first.is_lowercase()))
        .filter_map(|word| word.split_once("::"))
        .collect()
}

#[test]
fn every_journey_that_the_page_names_exists() {
    let journeys = journeys();
    let missing: Vec<_> = named()
        .into_iter()
        .filter(|(module, journey)| {
            let tests = journeys.get(*module);
            !tests.is_some_and(|tests| *journey == "*" || tests.iter().any(|test| test == journey))
        })
        .collect();
    assert!(missing.is_empty(), "there are no journeys {missing:?}");
}

#[test]
fn every_group_of_journeys_is_named() {
    let named = named();
    let unnamed: Vec<_> = journeys()
        .into_keys()
        .filter(|module| !named.iter().any(|(name, _)| name == module))
        .collect();
    assert!(
        unnamed.is_empty(),
        "docs/testing.md says nothing of {unnamed:?}"
    );
}

#[test]
fn every_line_of_a_table_of_journeys_names_one() {
    let mut of_journeys = false;
    let mut lines = 0;
    for line in PAGE.lines() {
        of_journeys = line.starts_with('|') && (of_journeys || line.ends_with("| journeys |"));
        if of_journeys && !line.ends_with("| journeys |") && !line.contains("---") {
            lines += 1;
            assert!(line.contains("::"), "no journey in: {line}");
        }
    }
    assert!(lines > 30, "{lines} lines");
}
