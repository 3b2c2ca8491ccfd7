//! Release causes of the telephone network (ITU-T Q.850) for SIP's status codes, and the Reason header.

/// Normal call clearing.
pub const NORMAL_CLEARING: u8 = 16;

/// The cause that RFC 3398 §8.2.6.1 gives a final response; `None` where it gives none.
pub const fn cause_of(code: u16) -> Option<u8> {
    Some(match code {
        400 | 481 | 500 | 503 => 41,
        401..=403 | 407 | 603 => 21,
        404 | 485 | 604 => 1,
        405 => 63,
        406 | 415 | 501 => 79,
        408 => 102,
        410 => 22,
        413 | 414 | 416 | 420 | 421 | 423 | 505 | 513 => 127,
        480 => 18,
        482 | 483 => 25,
        484 => 28,
        486 | 600 => 17,
        487 => NORMAL_CLEARING,
        488 | 606 => 65,
        502 => 38,
        504 => 102,
        _ => return None,
    })
}

/// The Q.850 cause and the SIP code that values of Reason (RFC 3326) name.
pub fn read_reason(value: &str) -> (Option<u8>, Option<u16>) {
    let (mut q850, mut sip) = (None, None);
    // A comma within quotes cuts the text parameter short, which is not read.
    for reason in value.split(',') {
        let mut parts = reason.split(';').map(str::trim);
        let protocol = parts.next().unwrap_or_default();
        let cause = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            (name.trim().eq_ignore_ascii_case("cause")).then(|| value.trim())
        });
        let Some(cause) = cause else {
            continue;
        };
        if protocol.eq_ignore_ascii_case("Q.850") {
            q850 = q850.or(cause.parse().ok().filter(|cause| *cause < 128));
        } else if protocol.eq_ignore_ascii_case("SIP") {
            sip = sip.or(cause.parse().ok().filter(|code| (100..700).contains(code)));
        }
    }
    (q850, sip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_the_causes_of_the_rfc() {
        for (code, cause) in [
            (404, Some(1)),
            (486, Some(17)),
            (480, Some(18)),
            (408, Some(102)),
            (503, Some(41)),
            (200, None),
            (302, None),
        ] {
            assert_eq!(cause_of(code), cause, "{code}");
        }
    }

    #[test]
    fn reasons_are_read_as_far_as_they_can_be() {
        for (value, expected) in [
            ("Q.850;cause=31;text=\"x, y\"", (Some(31), None)),
            (
                "SIP ; cause = 200 ;text=\"elsewhere\", q.850;cause=16",
                (Some(16), Some(200)),
            ),
            ("Q.850;cause=200", (None, None)),
            ("", (None, None)),
            ("SIP;text=\"cause=4\"", (None, None)),
        ] {
            assert_eq!(read_reason(value), expected, "{value}");
        }
    }
}
