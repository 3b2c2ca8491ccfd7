//! Where recordings go, where announcements are, who takes what is forwarded.

use super::*;

fn with_ng(keys: &str) -> Checked {
    let ng = "[[ng_listener]]\nname = \"ng\"\naddress = \"127.0.0.1:2223\"\n";
    check_text(&format!("{EXAMPLE}\n{ng}[ng]\n{keys}\n"), Some(&host()))
}

#[test]
fn the_media_services_are_off_until_it_is_said_where_to() {
    let config = with_ng("").config.expect("it can be used");
    let ng = &config.control.ng;
    assert!(!ng.recording && !ng.forwarding && !ng.playing);
    assert_eq!(config.media, crate::media::Settings::default());
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().display();
    let keys = format!(
        "recording_directory = \"{path}\"\nannouncements = \"{path}\"\nforward_to = \"[::1]:9900\""
    );
    let config = with_ng(&keys).config.expect("it can be used");
    let ng = &config.control.ng;
    assert!(ng.recording && ng.forwarding && ng.playing);
    let media = config.media;
    assert_eq!(media.recording_directory.as_deref(), Some(directory.path()));
    assert_eq!(media.announcements.as_deref(), Some(directory.path()));
    assert_eq!(media.forward_to, "[::1]:9900".parse().ok());
}

#[test]
fn what_is_wrong_with_them_is_said_with_its_place() {
    for (keys, expected) in [
        ("recording_directory = \"calls\"", "is not absolute"),
        ("announcements = 7", "an absolute path of a directory"),
        ("announcements = \"/dev/null\"", "cannot open /dev/null"),
        (
            "recording_directory = \"/nowhere/at/all\"",
            "a directory that tandem can read",
        ),
        ("forward_to = \"192.0.2.1\"", "port"),
    ] {
        let checked = with_ng(keys);
        assert!(checked.config.is_none(), "{keys}");
        let report = checked.report.to_string();
        assert!(report.contains(expected), "{report}");
        let line = EXAMPLE.lines().count() + 6;
        assert!(report.contains(&format!("t.toml:{line}:")), "{report}");
    }
}
