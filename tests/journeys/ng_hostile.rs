//! The second door and what no proxy would send as a datagram: counted, and answered where there is a cookie to answer to.

use std::time::Duration;

use serde_json::{Value, json};

use crate::lab::exchanges::corpus;
use crate::lab::network::at;
use crate::lab::ng::{Asker, Writing, read, written};
use crate::lab::ng_door::{Door, MAY};
use crate::lab::rtp::Noise;
use crate::lab::rtpengine::assert_no_session_and_no_port;
use crate::lab::turn::Turn;

/// Datagrams with a cookie and no dictionary after it.
fn no_dictionaries() -> Vec<Vec<u8>> {
    let nested = |start: &str, open: &str| format!("{start}{}", open.repeat(30_000)).into_bytes();
    let offer = written("n1", &corpus()[0].requests[0], Writing::Bencode);
    let json = written("n2", &corpus()[0].requests[0], Writing::Json);
    vec![
        b"n3 ".to_vec(),
        b"n4 hello".to_vec(),
        nested("n5 d1:a", "l"),
        nested("n6 d1:a", "d1:a").into_iter().take(60_000).collect(),
        nested("n7 {\"a\":", "["),
        nested("n8 {\"a\":", "{\"a\":")
            .into_iter()
            .take(60_000)
            .collect(),
        offer[..offer.len() / 2].to_vec(),
        json[..json.len() / 2].to_vec(),
        b"n9 d7:command999999999999999999999:pinge".to_vec(),
        b"n10 d7:command-4:pinge".to_vec(),
        b"n11 d7:commandi--4ee".to_vec(),
        b"n12 d7:commandi99999999999999999999999eee".to_vec(),
        b"n13 di1e4:pinge".to_vec(),
        b"n14 {\"command\":ping}".to_vec(),
        b"n15 [\"command\"]".to_vec(),
        b"n16 {\"command\":\"\xff\xfe\"}".to_vec(),
    ]
}

#[test]
fn what_has_no_cookie_or_no_dictionary_is_counted() {
    let _turn = Turn::shared();
    let door = Door::new();
    let socket = door.network.caller.udp(at(MAY, 0));
    socket
        .connect(at("10.1.0.1", 2223))
        .expect("it is in reach");
    socket
        .set_read_timeout(Some(Duration::from_secs(5)))
        .expect("a socket of ours");
    for message in [
        &b"d7:command4:pinge"[..],
        b"{\"command\":\"ping\"}",
        &[b'c'; 2_000],
        &[&[b'c'; 300][..], b" d7:command4:pinge"].concat(),
        b" d7:command4:pinge",
        &[0; 1_400],
    ] {
        socket.send(message).expect("it fits a datagram");
    }
    socket.send(b"").expect("an empty datagram");
    door.assert_answers();
    let mut buffer = vec![0; 65_536];
    let no_dictionaries = no_dictionaries();
    for message in &no_dictionaries {
        socket.send(message).expect("it fits a datagram");
        let shown = String::from_utf8_lossy(&message[..message.len().min(60)]).into_owned();
        let length = socket
            .recv(&mut buffer)
            .unwrap_or_else(|error| panic!("{shown}: {error}"));
        let (cookie, reply) = read(&buffer[..length]).expect("a reply");
        assert!(
            shown.starts_with(&format!("{cookie} ")),
            "{shown}: {cookie}"
        );
        assert_eq!(reply["result"], "error", "{shown}");
        assert!(reply["error-reason"].is_string(), "{shown}: {reply}");
    }
    door.assert_answers();
    assert_eq!(door.count("/events/no_cookie"), 6);
    assert_eq!(
        door.count("/events/no_dictionary"),
        no_dictionaries.len() as u64
    );
    assert_eq!(door.of_listener("udp", "malformed"), 1);
}

/// Keys whose values are of other kinds than they should be get a reply, whatever that is.
#[test]
fn values_of_the_wrong_kind_are_answered() {
    let _turn = Turn::shared();
    let door = Door::new();
    let mut asker = door.asker();
    let good = corpus()
        .into_iter()
        .find(|exchange| exchange.name == "mux-demux-refused")
        .expect("it is in the corpus")
        .requests
        .remove(0);
    let wrong = [
        json!(7),
        json!(-9_007_199_254_740_993_i64),
        json!(""),
        json!("x".repeat(5_000)),
        json!([]),
        json!([[[["a"]]]]),
        json!({}),
        json!({"a": {"b": [1, "c"]}}),
    ];
    let keys = [
        "command",
        "call-id",
        "from-tag",
        "to-tag",
        "sdp",
        "flags",
        "replace",
        "direction",
        "codec",
        "ICE",
        "rtcp-mux",
        "received-from",
        "address-family",
        "media-address",
        "transport-protocol",
        "via-branch",
        "ptime",
        "TOS",
        "delete-delay",
        "metadata",
        "label",
        "supports",
        "rtpp-flags",
    ];
    let mut errors = 0;
    for writing in [Writing::Bencode, Writing::Json] {
        asker.writing = writing;
        for (number, key) in keys.iter().enumerate() {
            for (kind, value) in wrong.iter().enumerate() {
                let mut request = good.clone();
                request["call-id"] = format!("wrong-{number}-{kind}").into();
                request[*key] = value.clone();
                let reply = asker.ask(&request);
                match reply["result"].as_str() {
                    Some("ok") => assert!(reply["sdp"].is_string(), "{key} {value}: {reply}"),
                    _ => {
                        assert!(reply["error-reason"].is_string(), "{key} {value}: {reply}");
                        errors += 1;
                    }
                }
            }
        }
    }
    assert!(errors > 50, "{errors}");
    door.assert_answers();
    end_all(&mut asker);
    assert_no_session_and_no_port(&mut asker);
}

/// Some of it is still a request.
#[test]
fn three_thousand_mutated_requests_disturb_nobody() {
    let _turn = Turn::shared();
    let door = Door::new();
    let socket = door.network.caller.udp(at(MAY, 0));
    socket
        .connect(at("10.1.0.1", 2223))
        .expect("it is in reach");
    let requests: Vec<Value> = corpus().into_iter().flat_map(|one| one.requests).collect();
    let mut noise = Noise(0x6e67);
    for number in 0..3_000 {
        let writing = [Writing::Bencode, Writing::Json][number % 2];
        let request = &requests[noise.below(requests.len())];
        let mut message = written(&format!("m{number}"), request, writing);
        for _ in 0..=noise.below(4) {
            let place = noise.below(message.len());
            match noise.below(4) {
                // Call-IDs stay text, to be deleted by.
                0 => message[place] = noise.next() as u8 & 0x7f,
                1 => drop(message.remove(place)),
                2 => message.insert(place, b"0123456789:dleix{}[]\","[noise.below(22)]),
                _ => message.truncate(place.max(2)),
            }
        }
        socket.send(&message).expect("it fits a datagram");
        if number % 100 == 0 {
            door.assert_answers();
        }
    }
    door.assert_answers();
    let mut asker = door.asker();
    end_all(&mut asker);
    assert_no_session_and_no_port(&mut asker);
    assert!(door.count("/events/no_dictionary") > 500);
}

/// Deletes every call: as many at a time as a list holds.
#[track_caller]
fn end_all(asker: &mut Asker) {
    loop {
        let calls = asker.ask(&json!({"command": "list", "limit": 1_000}))["calls"].clone();
        let calls = calls.as_array().expect("a list").clone();
        if calls.is_empty() {
            return;
        }
        for call in calls {
            asker.ask(&json!({"command": "delete", "call-id": call, "delete-delay": 0}));
        }
    }
}
