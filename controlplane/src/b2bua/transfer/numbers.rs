//! The numbers of REFERs that have passed: `id` of Event names the subscription that a REFER has made by its CSeq number
//! (RFC 3515 §2.4.6), and that is another on each leg.

use crate::session::Side;
use crate::sip::{HeaderName, Message, Method};
use crate::transaction::ClientKey;

/// REFERs of a call that are remembered, the last ones: each is a transfer that somebody is being told of.
const MOST: usize = 8;

/// The REFERs that have passed in a call.
#[derive(Debug, Default)]
pub(in crate::b2bua) struct Passed(Vec<Refer>);

#[derive(Debug)]
struct Refer {
    /// Who sent it.
    from: Side,
    /// Its number there.
    near: u32,
    /// Its number on the other leg, and its transaction there.
    far: u32,
    key: ClientKey,
}

impl Passed {
    /// A REFER has passed on.
    pub(in crate::b2bua) fn note(
        &mut self,
        from: Side,
        request: &Message,
        far: u32,
        key: ClientKey,
    ) {
        if request.method() != Some(&Method::Refer) {
            return;
        }
        if self.0.len() == MOST {
            self.0.remove(0);
        }
        let near = request.cseq().map_or(0, |cseq| cseq.number);
        self.0.push(Refer {
            from,
            near,
            far,
            key,
        });
    }

    /// It left once more, under another number.
    pub(in crate::b2bua) fn renumber(&mut self, key: ClientKey, number: u32) {
        for refer in self.0.iter_mut().filter(|refer| refer.key == key) {
            refer.far = number;
        }
    }

    /// Gives a NOTIFY or SUBSCRIBE that passes on from this side the number that the other knows.
    pub(in crate::b2bua) fn translate(&self, from: Side, message: &mut Message) {
        let Some(value) = message.headers.value(&HeaderName::Event) else {
            return;
        };
        let Some((package, id)) = std::str::from_utf8(&value).ok().and_then(split) else {
            return;
        };
        let known = self.0.iter().rev().find_map(|refer| {
            let (here, there) = match refer.from == from {
                true => (refer.near, refer.far),
                false => (refer.far, refer.near),
            };
            (here == id).then_some(there)
        });
        if let Some(there) = known {
            let event = format!("{package};id={there}");
            message.headers.set(HeaderName::Event, event);
        }
    }
}

/// The package and number of `refer;id=…`, the only one whose numbers are ours to change.
fn split(event: &str) -> Option<(&str, u32)> {
    let (package, parameter) = event.split_once(';')?;
    let (name, id) = parameter.split_once('=')?;
    let is_refer = package.trim().eq_ignore_ascii_case("refer");
    let is_id = name.trim().eq_ignore_ascii_case("id");
    let id = id.trim().parse().ok()?;
    (is_refer && is_id).then_some((package.trim(), id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refers_number_is_read() {
        assert_eq!(split("refer;id=7"), Some(("refer", 7)));
        assert_eq!(split("Refer ; ID = 7"), Some(("Refer", 7)));
        for other in ["refer", "dialog;id=7", "refer;id=x", "refer;x=7"] {
            assert_eq!(split(other), None, "{other}");
        }
    }
}
