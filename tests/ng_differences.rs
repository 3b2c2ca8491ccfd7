//! `docs/ng-differences.md` explains each difference from rtpengine that the journeys allow, and nothing else.

use toml::{Table, Value};

const PAGE: &str = include_str!("../docs/ng-differences.md");
const LIST: &str = include_str!("corpus/ng/differences.toml");

fn allowed() -> Vec<Table> {
    let list: Table = toml::from_str(LIST).expect("a file of the repository");
    let entries = list["difference"].as_array().expect("a list").iter();
    entries.filter_map(Value::as_table).cloned().collect()
}

#[test]
fn the_page_explains_what_is_allowed_in_the_same_order() {
    let names: Vec<_> = allowed()
        .iter()
        .filter_map(|entry| entry["name"].as_str().map(str::to_owned))
        .collect();
    let headings: Vec<_> = PAGE
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .collect();
    assert!(names.len() > 10, "{names:?}");
    assert_eq!(headings, names);
}

#[test]
fn each_explanation_says_why_and_where() {
    let sections: Vec<_> = PAGE.split("\n## ").skip(1).collect();
    assert_eq!(sections.len(), allowed().len());
    for (section, entry) in sections.iter().zip(allowed()) {
        let (_, text) = section.split_once('\n').expect("a heading has a line");
        let (why, place) = text
            .rsplit_once("\n\nIn ")
            .expect("the exchanges are named");
        assert!(why.trim().len() > 60, "{section}");
        let exchanges = entry["exchanges"].as_array().expect("a list").iter();
        for exchange in exchanges.filter_map(Value::as_str) {
            let said = match exchange {
                "*" => "every exchange".to_owned(),
                named => format!("`{named}`"),
            };
            assert!(place.contains(&said), "{exchange} is not in: {place}");
        }
    }
}
