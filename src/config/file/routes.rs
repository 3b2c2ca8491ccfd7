//! `[[route]]` and `[[schedule]]`: where calls go, and when.

use std::path::PathBuf;

use controlplane::routing::{Dates, Days, Hours};
use jiff::tz::TimeZone;
use regex::Regex;
use toml::de::DeValue;

use crate::config::diagnostic::Diagnostic;
use crate::config::kind;
use crate::config::section::{Located, Section};

/// `[[route]]`: where calls go.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) name: Option<Located<String>>,
    pub(crate) from: Option<Located<String>>,
    pub(crate) user: Option<Regex>,
    pub(crate) when: Option<Located<String>>,
    pub(crate) to: Vec<Choice>,
    pub(crate) prefixes: Option<Located<PathBuf>>,
    pub(crate) rates: Option<Located<PathBuf>>,
}

/// A trunk in a route's `to`: its name, or its name and share.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) trunk: Option<Located<String>>,
    pub(crate) weight: Option<Located<u64>>,
}

/// `[[schedule]]`: when a route holds.
#[derive(Debug)]
pub(crate) struct Schedule {
    pub(crate) name: Option<Located<String>>,
    pub(crate) zone: Option<Located<TimeZone>>,
    pub(crate) days: Vec<Located<Days>>,
    pub(crate) hours: Vec<Located<Hours>>,
    pub(crate) dates: Vec<Located<Dates>>,
    pub(crate) except: Vec<Located<Dates>>,
}

const DESTINATION: &str =
    "one of `to` (trunks), `prefixes` (a file) and `rates` (a file), such as to = [\"carrier\"]";

pub(super) fn route(section: &mut Section<'_>) -> Route {
    let keys = ["to", "prefixes", "rates"];
    let said: Vec<_> = keys
        .into_iter()
        .filter_map(|key| section.place_of_key(key))
        .collect();
    match said.as_slice() {
        [_] => {}
        [] => {
            let message = "[[route]] leads nowhere";
            section.note(Diagnostic::error(section.span(), message, DESTINATION));
        }
        [first, second, ..] => {
            let message = "[[route]] leads to two things";
            let clash = Diagnostic::error(second.clone(), message, DESTINATION);
            section.note(clash.clashing_with(first.clone(), "the first is here"));
        }
    }
    Route {
        name: section.optional("name", &kind::name()),
        from: section.optional("from", &kind::reference("[[trunk]]")),
        user: section
            .optional("user", &kind::user_pattern())
            .map(|located| located.value),
        when: section.optional("when", &kind::reference("[[schedule]]")),
        to: choices(section),
        prefixes: section.optional("prefixes", &kind::table_path()),
        rates: section.optional("rates", &kind::table_path()),
    }
}

fn choices(section: &mut Section<'_>) -> Vec<Choice> {
    const EXPECTED: &str =
        "a list of trunks, each its name or { trunk = \"name\", weight = 1 to 65535 }";
    let Some(value) = section.find("to") else {
        return Vec::new();
    };
    let DeValue::Array(elements) = value.get_ref() else {
        section.note(Diagnostic::error(value.span(), "`to` is no list", EXPECTED));
        return Vec::new();
    };
    if elements.is_empty() {
        section.note(Diagnostic::error(value.span(), "`to` is empty", EXPECTED));
    }
    let trunk = kind::reference("[[trunk]]");
    elements
        .iter()
        .map(|element| match element.get_ref() {
            DeValue::Table(_) => section
                .within("to", "a trunk of `to`", element, |share| Choice {
                    trunk: share.required("trunk", &trunk),
                    weight: share.required("weight", &kind::number(1, 65_535)),
                })
                .unwrap_or(Choice {
                    trunk: None,
                    weight: None,
                }),
            _ => Choice {
                trunk: section.read("to", &trunk, element),
                weight: None,
            },
        })
        .collect()
}

pub(super) fn schedule(section: &mut Section<'_>) -> Schedule {
    Schedule {
        name: section.required("name", &kind::name()),
        zone: section.required("zone", &kind::time_zone()),
        days: section.optional_list("days", &kind::of_time()),
        hours: section.optional_list("hours", &kind::of_time()),
        dates: section.optional_list("dates", &kind::of_time()),
        except: section.optional_list("except", &kind::of_time()),
    }
}
