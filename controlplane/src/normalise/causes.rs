//! Causes of Q.850 beside SIP's codes: in Reason (RFC 3326), by the mapping that records use too.

use crate::records::q850::{NORMAL_CLEARING, cause_of, read_reason};
use crate::settings::{CauseRules, SayCause};
use crate::sip::{HeaderName, Headers, StatusCode};

/// The cause of Q.850 and the code of SIP that Reason says.
fn said(headers: &Headers) -> (Option<u8>, Option<u16>) {
    let values = headers.values(&HeaderName::Reason).join(&b", "[..]);
    read_reason(&String::from_utf8_lossy(&values))
}

/// What a trunk's failure stands for, by the cause in its Reason.
pub(super) fn code_by_cause(rules: &CauseRules, headers: &Headers) -> Option<StatusCode> {
    if rules.to_code.is_empty() {
        return None;
    }
    let code = rules.to_code.get(&said(headers).0?)?;
    StatusCode::new(*code)
}

/// Says the cause that a failure stands for, where it says none.
pub(super) fn say(rules: &CauseRules, code: u16, headers: &mut Headers) {
    if rules.say_cause == SayCause::Never || said(headers).0.is_some() {
        return;
    }
    let cause = rules
        .to_cause
        .get(&code)
        .copied()
        .or_else(|| cause_of(code));
    if let Some(cause) = cause {
        headers.push(HeaderName::Reason, format!("Q.850;cause={cause}"));
    }
}

/// Says a cause in a BYE, where it says none: that of the code that its Reason has, or normal
/// clearing.
pub(super) fn say_in_request(rules: &CauseRules, headers: &mut Headers) {
    if rules.say_cause == SayCause::Never || said(headers).0.is_some() {
        return;
    }
    let cause = match said(headers).1 {
        Some(code) if code >= 300 => rules
            .to_cause
            .get(&code)
            .copied()
            .or_else(|| cause_of(code)),
        _ => None,
    };
    headers.push(
        HeaderName::Reason,
        format!("Q.850;cause={}", cause.unwrap_or(NORMAL_CLEARING)),
    );
}
