//! Records, stories and the collector.

use super::*;

fn with_seen(sections: &str) -> String {
    let (others, _) = EXAMPLE.split_once("[explain]").expect("it is the last");
    format!("{others}\n{sections}\n")
}

#[test]
fn records_stories_and_the_collector_are_off_or_bounded_until_they_are_asked_for() {
    let read = |sections: &str| {
        let checked = check_text(&with_seen(sections), Some(&host()));
        checked.config.expect("it can be used")
    };
    let config = read("");
    assert_eq!((&config.cdr, &config.hep), (&None, &None));
    assert_eq!(
        config.control.explain,
        controlplane::settings::Explain::default()
    );
    assert!(!config.control.mirror);
    let config = read(
        "[cdr]\nfile = \"/var/log/calls.csv\"\nformat = \"csv\"\nrotate_size = 10000\n\
         rotate_every = \"1h\"\nsync = \"off\"\n[explain]\ncalls = 0\nmessages = \"whole\"\n\
         [hep]\ncollector = \"192.0.2.9:9060\"\nid = 7\npassword = \"x\"\n",
    );
    let cdr = config.cdr.expect("it is there");
    assert_eq!(cdr.file, Path::new("/var/log/calls.csv"));
    assert_eq!(cdr.format, crate::cdr::Format::Csv);
    assert_eq!((cdr.rotate_size, cdr.sync), (Some(10_000), None));
    assert_eq!(cdr.rotate_every, Some(Duration::from_secs(3600)));
    assert_eq!(config.control.explain.calls, 0);
    assert!(config.control.explain.messages && config.control.mirror);
    let hep = config.hep.expect("it is there");
    assert_eq!((hep.id, hep.password.as_deref()), (7, Some("x")));
    assert!(
        !format!("{hep:?}").contains("\"x\""),
        "a secret is not shown"
    );
}

#[test]
fn what_is_wrong_with_records_and_the_collector() {
    for (sections, expected) in [
        ("[cdr]\nformat = \"json\"", "file"),
        ("[cdr]\nfile = \"calls.json\"", "is not absolute"),
        (
            "[cdr]\nfile = \"/x\"\nformat = \"xml\"",
            "\"json\", \"csv\"",
        ),
        ("[hep]\nid = 1", "collector"),
        (
            "[hep]\ncollector = \"10.0.0.1:9060\"\npassword = \"\"",
            "printable",
        ),
        ("[explain]\nmessages = \"all\"", "\"summary\", \"whole\""),
    ] {
        let checked = check_text(&with_seen(sections), Some(&host()));
        assert!(checked.config.is_none(), "{sections}");
        let report = checked.report.to_string();
        assert!(report.contains(expected), "{report}");
    }
}
