//! What two ends agree on: how long a session lives and who refreshes it (RFC 4028 §7 to §9). Pure.

use std::time::Duration;

use crate::settings::{Refresher, SessionTimer, TimerMode};
use crate::sip::typed::{RefreshingEnd, SessionExpires};
use crate::sip::{HeaderName, Message};

/// The option tag.
pub(in crate::b2bua) const OPTION: &str = "timer";

/// What RFC 4028 §5 takes for Min-SE where there is none.
const DEFAULT_MIN: u32 = 90;

/// Who refreshes, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::b2bua) struct Agreement {
    /// Seconds.
    pub(in crate::b2bua) interval: u32,
    /// We do.
    pub(in crate::b2bua) ours: bool,
    /// The peer knows nothing of it: we refresh to find out whether it is there, and nothing expires.
    pub(in crate::b2bua) alone: bool,
}

/// Seconds of a setting, which are never more than a day's.
pub(super) fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

/// Whether the request asks for an interval that is too short, and understands the answer that says so.
pub(in crate::b2bua) fn too_short(policy: &SessionTimer, request: &Message) -> bool {
    let bargains = matches!(policy.mode, TimerMode::Accept | TimerMode::Request);
    let asked = request.session_expires();
    bargains && supports(request) && asked.is_ok_and(|asked| asked.seconds < seconds(policy.min))
}

fn supports(message: &Message) -> bool {
    message.lists(&HeaderName::Supported, OPTION) || message.lists(&HeaderName::Require, OPTION)
}

/// What our 2xx to this INVITE or UPDATE agrees to (RFC 4028 §9), written into it.
pub(super) fn answer(
    policy: &SessionTimer,
    request: &Message,
    response: &mut Message,
) -> Option<Agreement> {
    let supports = supports(request);
    let least = request
        .min_se()
        .unwrap_or(DEFAULT_MIN)
        .max(seconds(policy.min));
    let asked = request.session_expires().ok();
    let wanted = seconds(policy.expires).max(least);
    let interval = match (policy.mode, asked) {
        (TimerMode::Off | TimerMode::Pass, _) | (TimerMode::Accept, None) => return None,
        (TimerMode::Request, None) => wanted,
        (TimerMode::Accept, Some(asked)) => asked.seconds.max(least),
        // It may be shortened, and never lengthened.
        (TimerMode::Request, Some(asked)) => wanted.min(asked.seconds.max(least)),
    };
    let refresher = match (
        supports,
        asked.and_then(|asked| asked.refresher),
        policy.refresher,
    ) {
        (false, ..) => RefreshingEnd::Server,
        (true, Some(said), _) => said,
        (true, None, Refresher::Tandem) => RefreshingEnd::Server,
        (true, None, Refresher::Peer) => RefreshingEnd::Client,
    };
    let value = SessionExpires {
        seconds: interval,
        refresher: Some(refresher),
    };
    response
        .headers
        .set(HeaderName::SessionExpires, value.to_string());
    if refresher == RefreshingEnd::Client {
        response.headers.push(HeaderName::Require, OPTION);
    }
    if supports {
        response.headers.push(HeaderName::Supported, OPTION);
    }
    Some(Agreement {
        interval,
        ours: refresher == RefreshingEnd::Server,
        alone: !supports,
    })
}

/// What our INVITE or UPDATE asks for, written into it: what holds already, or what the policy wants. `least` is
/// the highest Min-SE that the peer has told us.
pub(super) fn ask(
    policy: &SessionTimer,
    current: Option<Agreement>,
    least: u32,
    request: &mut Message,
) {
    if matches!(policy.mode, TimerMode::Off | TimerMode::Pass) {
        return;
    }
    request.headers.push(HeaderName::Supported, OPTION);
    let least = least.max(seconds(policy.min));
    let (interval, ours) = match (current, policy.mode) {
        (Some(current), _) => (current.interval, current.ours),
        (None, TimerMode::Request) => (
            seconds(policy.expires),
            policy.refresher == Refresher::Tandem,
        ),
        (None, _) => return,
    };
    let value = SessionExpires {
        seconds: interval.max(least),
        refresher: Some(match ours {
            true => RefreshingEnd::Client,
            false => RefreshingEnd::Server,
        }),
    };
    request
        .headers
        .set(HeaderName::SessionExpires, value.to_string());
    if least != DEFAULT_MIN {
        request.headers.set(HeaderName::MinSe, least.to_string());
    }
}

/// What the peer's 2xx to our request agrees to (RFC 4028 §7.2). An interval below the shortest that we take is a
/// fault of the peer's: it is not refreshed more often for that.
pub(super) fn learn(
    policy: &SessionTimer,
    asked: Option<SessionExpires>,
    response: &Message,
) -> Option<Agreement> {
    match (policy.mode, response.session_expires(), asked) {
        (TimerMode::Off | TimerMode::Pass, ..) => None,
        (_, Ok(agreed), _) => Some(Agreement {
            interval: agreed.seconds.max(seconds(policy.min)),
            ours: agreed.refresher != Some(RefreshingEnd::Server),
            alone: false,
        }),
        (TimerMode::Request, Err(_), Some(asked)) => Some(Agreement {
            interval: asked.seconds,
            ours: true,
            alone: true,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(mode: TimerMode, refresher: Refresher) -> SessionTimer {
        SessionTimer {
            mode,
            refresher,
            ..SessionTimer::default()
        }
    }

    fn message(start: &str, fields: &str) -> Message {
        let text = format!("{start}\r\n{fields}Content-Length: 0\r\n\r\n");
        Message::parse(text.as_bytes()).expect("a message")
    }

    fn invite(fields: &str) -> Message {
        message("INVITE sip:a@10.0.0.1 SIP/2.0", fields)
    }

    fn ok(fields: &str) -> Message {
        message("SIP/2.0 200 OK", fields)
    }

    fn said(message: &Message) -> Option<String> {
        let said = message.session_expires().ok()?;
        let require = message.lists(&HeaderName::Require, OPTION);
        Some(format!("{said}{}", if require { " required" } else { "" }))
    }

    /// The table of RFC 4028 §9, and what the policy adds.
    #[test]
    fn what_is_answered() {
        use Refresher::{Peer, Tandem};
        use TimerMode::{Accept, Off, Pass, Request};
        const SUPPORTED: &str = "Supported: timer\r\n";
        for (mode, refresher, asked, answered) in [
            (Accept, Tandem, "", None),
            (Accept, Tandem, SUPPORTED, None),
            (
                Accept,
                Tandem,
                "Session-Expires: 600\r\n",
                Some("600;refresher=uas"),
            ),
            (
                Accept,
                Peer,
                "Session-Expires: 600\r\n",
                Some("600;refresher=uas"),
            ),
            (
                Accept,
                Tandem,
                "Supported: timer\r\nSession-Expires: 600\r\n",
                Some("600;refresher=uas"),
            ),
            (
                Accept,
                Peer,
                "Supported: timer\r\nSession-Expires: 600\r\n",
                Some("600;refresher=uac required"),
            ),
            (
                Accept,
                Tandem,
                "Supported: timer\r\nx: 600;refresher=uac\r\n",
                Some("600;refresher=uac required"),
            ),
            (
                Accept,
                Peer,
                "Supported: timer\r\nx: 600;refresher=uas\r\n",
                Some("600;refresher=uas"),
            ),
            (Request, Tandem, "", Some("1800;refresher=uas")),
            (Request, Peer, "", Some("1800;refresher=uas")),
            (
                Request,
                Peer,
                SUPPORTED,
                Some("1800;refresher=uac required"),
            ),
            (
                Request,
                Tandem,
                "Supported: timer\r\nx: 7200\r\n",
                Some("1800;refresher=uas"),
            ),
            (
                Request,
                Tandem,
                "Supported: timer\r\nx: 7200\r\nMin-SE: 2400\r\n",
                Some("2400;refresher=uas"),
            ),
            (
                Request,
                Tandem,
                "Supported: timer\r\nx: 600\r\n",
                Some("600;refresher=uas"),
            ),
            (Off, Tandem, "Supported: timer\r\nx: 600\r\n", None),
            (Pass, Tandem, "Supported: timer\r\nx: 600\r\n", None),
        ] {
            let mut response = ok("");
            let agreed = answer(&policy(mode, refresher), &invite(asked), &mut response);
            assert_eq!(
                said(&response).as_deref(),
                answered,
                "{mode:?} {refresher:?} {asked}"
            );
            let ours = answered.map(|answered| answered.contains("uas"));
            assert_eq!(agreed.map(|agreed| agreed.ours), ours);
        }
    }

    #[test]
    fn what_is_too_short() {
        let accept = policy(TimerMode::Accept, Refresher::Tandem);
        for (fields, short) in [
            ("Supported: timer\r\nx: 89\r\n", true),
            ("Supported: timer\r\nx: 90\r\n", false),
            ("x: 89\r\n", false),
            ("Supported: timer\r\n", false),
        ] {
            assert_eq!(too_short(&accept, &invite(fields)), short, "{fields}");
        }
        let off = policy(TimerMode::Off, Refresher::Tandem);
        assert!(!too_short(&off, &invite("Supported: timer\r\nx: 1\r\n")));
    }

    #[test]
    fn what_is_asked_and_learnt() {
        let request = policy(TimerMode::Request, Refresher::Peer);
        let accept = policy(TimerMode::Accept, Refresher::Tandem);
        let mut asking = invite("");
        ask(&request, None, 0, &mut asking);
        assert_eq!(said(&asking).as_deref(), Some("1800;refresher=uas"));
        let mut longer = invite("");
        ask(&request, None, 3600, &mut longer);
        assert_eq!(said(&longer).as_deref(), Some("3600;refresher=uas"));
        assert_eq!(longer.min_se(), Ok(3600));
        let mut silent = invite("");
        ask(&accept, None, 0, &mut silent);
        assert_eq!(said(&silent), None);
        assert!(silent.lists(&HeaderName::Supported, OPTION));

        let asked = asking.session_expires().ok();
        let agreed = |interval, ours, alone| {
            Some(Agreement {
                interval,
                ours,
                alone,
            })
        };
        for (policy, asked, response, expected) in [
            (&request, asked, "", agreed(1800, true, true)),
            (
                &request,
                asked,
                "x: 1000;refresher=uas\r\n",
                agreed(1000, false, false),
            ),
            (
                &accept,
                None,
                "x: 1000;refresher=uac\r\n",
                agreed(1000, true, false),
            ),
            (&accept, None, "x: 3\r\n", agreed(90, true, false)),
            (&accept, None, "", None),
        ] {
            assert_eq!(learn(policy, asked, &ok(response)), expected, "{response}");
        }
        let mut again = invite("");
        ask(&accept, agreed(1000, false, false), 0, &mut again);
        assert_eq!(said(&again).as_deref(), Some("1000;refresher=uas"));
    }
}
