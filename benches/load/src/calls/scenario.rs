//! The scenarios that SIPp plays: those of `tests/sipp`, with audio put in where it is asked for.

/// The callers' file, with a delay for each response in its log.
const CALLER: &str = include_str!("../../../../tests/sipp/load-caller.xml");
const CALLEE: &str = include_str!("../../../../tests/sipp/load-callee.xml");
/// A second of G.711 A-law.
pub(super) const TONE: &[u8] = include_bytes!("../../../../tests/sipp/tone.alaw");
/// The file that scenarios call the tone by.
pub(super) const TONE_FILE: &str = "tone.alaw";

const STARTS: &str = "<!-- audio starts -->";
const ENDS: &str = "<!-- audio ends -->";

/// Who plays it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Caller,
    Callee,
}

impl Role {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Callee => "callee",
        }
    }
}

/// The scenario's text.
pub(super) fn text(role: Role, audio: bool) -> String {
    let text = match role {
        Role::Caller => CALLER,
        Role::Callee => CALLEE,
    };
    if !audio {
        return text.to_owned();
    }
    let action = |what: &str| format!("<nop><action><exec rtp_stream=\"{what}\" /></action></nop>");
    text.replace("[auto_media_port]", "[rtpstream_audio_port]")
        .replace(STARTS, &action(&format!("{TONE_FILE},-1,8")))
        .replace(ENDS, &action("pause"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audio_is_put_in_when_asked_for_and_the_rest_stays() {
        for role in [Role::Caller, Role::Callee] {
            let silent = text(role, false);
            let loud = text(role, true);
            for scenario in [&silent, &loud] {
                let document = roxmltree::Document::parse(scenario).expect("well-formed XML");
                assert_eq!(document.root_element().tag_name().name(), "scenario");
            }
            assert_eq!(silent.matches("rtp_stream").count(), 0);
            assert_eq!(loud.matches("rtp_stream=").count(), 2);
            assert_eq!(loud.matches("[rtpstream_audio_port]").count(), 1);
            assert!(!loud.contains("auto_media_port"));
        }
        assert_eq!(TONE.len(), 8000);
    }
}
