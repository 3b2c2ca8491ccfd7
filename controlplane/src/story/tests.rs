//! Stories as a whole: their bounds, whatever passes.

use std::net::SocketAddr;

use contract::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::b2bua::CallId;
use crate::settings::{Explain, ListenerId};
use crate::transaction::Path;

const NOW: Timestamp = Timestamp::from_nanos(1);

fn path(port: u16) -> Path {
    Path::to(ListenerId(0), SocketAddr::from(([10, 0, 0, 2], port)))
}

fn message(call_id: &str, number: usize) -> Vec<u8> {
    format!("OPTIONS sip:a SIP/2.0\r\nCall-ID: {call_id}\r\nCSeq: {number} OPTIONS\r\n\r\n").into()
}

#[test]
fn what_nobody_claims_is_forgotten_and_its_bytes_are_free_again() {
    let bounds = Explain {
        bytes: 64 * message("x", 100).len(),
        messages: true,
        ..Explain::default()
    };
    let mut stories = Stories::new(bounds, false);
    for number in 100..900 {
        stories.witness(NOW, path(1), Way::Received, &message("x", number));
    }
    let lost = stories.counts().messages_not_kept;
    stories.begin(NOW, CallId(1), "x");
    let view = stories.view(Whose::Call(CallId(1))).expect("it has begun");
    assert_eq!(view.lines.len(), 64, "the last that passed");
    let first = view.lines[0].message.as_ref().expect("a message");
    assert_eq!(first.cseq, "836 OPTIONS");
    let kept = view.lines.iter().filter_map(|line| line.message.as_ref());
    assert!(kept.filter(|message| message.whole.is_some()).count() >= 32);
    assert!(lost < 800);
}

#[test]
fn the_same_call_id_again_is_another_call() {
    let mut stories = Stories::new(Explain::default(), false);
    for call in 1..=2 {
        stories.begin(NOW, CallId(call), "same");
        stories.witness(NOW, path(1), Way::Received, &message("same", 1));
        stories.finish(CallId(call));
        stories.finish(CallId(call));
    }
    let view = stories.view(Whose::CallId("same")).expect("the later one");
    assert_eq!((view.call, view.lines.len()), (CallId(2), 1));
    let counts = stories.counts();
    assert_eq!((counts.live, counts.finished), (0, 2));
}

#[derive(Clone, Debug)]
enum Deed {
    Witness(u8, u16),
    Begin(u8),
    Tell(u8),
    Finish(u8),
    Keep(bool),
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        (0..12_u8, any::<u16>()).prop_map(|(call, number)| Deed::Witness(call, number)),
        (0..12_u8).prop_map(Deed::Begin),
        (0..12_u8).prop_map(Deed::Tell),
        (0..12_u8).prop_map(Deed::Finish),
        any::<bool>().prop_map(Deed::Keep),
    ]
}

proptest! {
    /// However calls come and go, finished ones stay within their bounds, and nothing is left when they
    /// have gone.
    #[test]
    fn the_books_are_right(deeds in proptest::collection::vec(deed(), 1..300)) {
        let bounds = Explain { calls: 3, bytes: 8000, lines: 10, messages: false };
        let mut stories = Stories::new(bounds, true);
        let mut next = 100;
        let mut live = std::collections::HashMap::new();
        for deed in deeds {
            match deed {
                Deed::Witness(call, number) => {
                    let bytes = message(&call.to_string(), usize::from(number));
                    stories.witness(NOW, path(number), Way::Sent, &bytes);
                }
                Deed::Begin(name) => {
                    next += 1;
                    if let Some(former) = live.insert(name, CallId(next)) {
                        stories.finish(former);
                    }
                    stories.begin(NOW, CallId(next), &name.to_string());
                }
                Deed::Tell(name) => {
                    if let Some(call) = live.get(&name) {
                        stories.tell(NOW, *call, What::Routed("somewhere".into()));
                    }
                }
                Deed::Finish(name) => {
                    if let Some(call) = live.remove(&name) {
                        stories.finish(call);
                    }
                }
                Deed::Keep(keep) => stories.keep_messages(keep),
            }
            let counts = stories.counts();
            prop_assert_eq!(counts.live, live.len());
            prop_assert!(counts.finished <= 3);
            while let Some(copy) = stories.next_mirrored() {
                prop_assert!(!copy.bytes.is_empty());
            }
        }
        for call in live.into_values() {
            stories.finish(call);
        }
        prop_assert!(stories.counts().bytes <= 8000);
    }
}
