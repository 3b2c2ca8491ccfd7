//! A call that goes over from audio to fax (T.38) and back, and one whose other side will not: SIP text in, flows out.

use std::net::SocketAddr;

use contract::Payload;
use controlplane::b2bua::CallState;
use controlplane::sip::Message;

use crate::phone::{Phone, described, sdp};
use crate::plain::established;
use crate::world::{World, addr};

/// A description with this media, of either party.
fn body(address: &str, version: u32, media: &str) -> String {
    format!(
        "v=0\r\no=ua 1 {version} IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\n{media}"
    )
}

fn image(port: u16) -> String {
    format!(
        "m=image {port} udptl t38\r\na=T38FaxVersion:0\r\na=T38MaxBitRate:14400\r\na=T38FaxUdpEC:t38UDPRedundancy\r\n"
    )
}

/// The ports of the lines of media in a body that we sent.
fn ports(message: &Message) -> Vec<u16> {
    let text = std::str::from_utf8(&message.body).expect("text");
    let media = text.lines().filter_map(|line| line.strip_prefix("m="));
    let port = |line: &str| line.split(' ').nth(1)?.parse().ok();
    media.map(|line| port(line).expect("a port")).collect()
}

/// The callee sends a re-INVITE with this offer, and the caller answers it with that; what each was sent.
fn renegotiate(
    world: &mut World,
    caller: &Phone,
    callee: &mut Phone,
    offer: &str,
    answer: &str,
) -> (Message, Message) {
    callee.request(world, "INVITE", offer);
    callee.expect(world, "100");
    let invite = caller.expect(world, "INVITE");
    caller.respond(world, &invite, 200, answer);
    caller.expect(world, "ACK");
    let agreed = callee.expect(world, "200");
    callee.ack(world, &agreed, "");
    (invite, agreed)
}

fn goes(world: &World, address: &str, port: u16) -> (Payload, Option<SocketAddr>) {
    let entry = world.flow(address, port);
    (entry.payload, entry.rtp.expect("a way").destination)
}

fn end(world: &mut World, mut caller: Phone, callee: Phone) {
    caller.request(world, "BYE", "");
    caller.expect(world, "200");
    callee.take_bye(world);
    world.assert_quiet();
    world.assert_clean();
}

#[test]
fn audio_becomes_fax_and_audio_again() {
    for own_line in [false, true] {
        let mut world = World::new();
        let (caller, mut callee) = established(&mut world, "fax");
        let silent = if own_line {
            "m=audio 0 RTP/AVP 8\r\n"
        } else {
            ""
        };
        let (invite, agreed) = renegotiate(
            &mut world,
            &caller,
            &mut callee,
            &body("10.2.0.2", 2, &format!("{silent}{}", image(6100))),
            &body("10.1.0.2", 2, &format!("{silent}{}", image(4100))),
        );
        let text = String::from_utf8_lossy(&invite.body).into_owned();
        assert!(
            text.contains("a=T38FaxUdpEC:t38UDPRedundancy\r\n"),
            "{text}"
        );
        assert!(!text.contains("10.2.0.2"), "{text}");
        // The flows that a body announces are there when it leaves, and no others.
        let (towards_caller, towards_callee) = (ports(&invite), ports(&agreed));
        let line = usize::from(own_line);
        assert_eq!(towards_caller.len(), 1 + line);
        let fax = goes(&world, "10.1.0.1", towards_caller[line]);
        assert_eq!(fax, (Payload::Datagrams, Some(addr("10.2.0.2:6100"))));
        let back = goes(&world, "10.2.0.1", towards_callee[line]);
        assert_eq!(back, (Payload::Datagrams, Some(addr("10.1.0.2:4100"))));
        assert_eq!(world.flows[0].len(), 2);

        let no_fax = if own_line {
            "m=image 0 udptl t38\r\n"
        } else {
            ""
        };
        let audio = |address: &str, port| described(address, port, 3, "sendrecv") + no_fax;
        let (invite, _) = renegotiate(
            &mut world,
            &caller,
            &mut callee,
            &audio("10.2.0.2", 6000),
            &audio("10.1.0.2", 4000),
        );
        let audio = goes(&world, "10.1.0.1", ports(&invite)[0]);
        assert_eq!(audio, (Payload::Rtp, Some(addr("10.2.0.2:6000"))));
        assert_eq!(world.flows[0].len(), 4);
        assert_eq!(world.state(), CallState::Established);
        end(&mut world, caller, callee);
    }
}

#[test]
fn who_knows_no_fax_goes_on_talking() {
    let mut world = World::new();
    let (caller, mut callee) = established(&mut world, "no-fax");
    let before = world.flows[0].clone();
    callee.request(&mut world, "INVITE", &body("10.2.0.2", 2, &image(6100)));
    callee.expect(&mut world, "100");
    let invite = caller.expect(&mut world, "INVITE");
    caller.respond(&mut world, &invite, 488, "");
    caller.expect(&mut world, "ACK");
    let refused = callee.expect(&mut world, "488");
    callee.ack(&mut world, &refused, "");
    assert_eq!(world.flows[0], before);
    assert_eq!(world.state(), CallState::Established);
    end(&mut world, caller, callee);
}

#[test]
fn fax_over_tcp_is_refused_before_anybody_else_hears_of_it() {
    let mut world = World::new();
    let (caller, mut callee) = established(&mut world, "tcptl");
    let before = world.flows[0].clone();
    let offer = body(
        "10.2.0.2",
        2,
        "m=image 6100 tcptl t38\r\na=T38FaxVersion:0\r\n",
    );
    callee.request(&mut world, "INVITE", &offer);
    callee.expect(&mut world, "100");
    let refused = callee.expect(&mut world, "488");
    callee.ack(&mut world, &refused, "");
    caller.expect_nothing(&mut world);
    assert_eq!(world.flows[0], before);
    end(&mut world, caller, callee);
}

#[test]
fn a_switch_over_that_no_worker_takes_leaves_the_audio() {
    let mut world = World::new();
    let (caller, mut callee) = established(&mut world, "full");
    let before = world.flows[0].clone();
    world.workers = crate::world::Workers::Refusing(contract::Refusal::TableFull);
    // In a line of its own it needs ports and flows of its own.
    let media = format!("m=audio 0 RTP/AVP 8\r\n{}", image(6100));
    callee.request(&mut world, "INVITE", &body("10.2.0.2", 2, &media));
    callee.expect(&mut world, "100");
    let refused = callee.expect(&mut world, "500");
    callee.ack(&mut world, &refused, "");
    caller.expect_nothing(&mut world);
    world.workers = crate::world::Workers::Prompt;
    assert_eq!(world.flows[0], before);
    end(&mut world, caller, callee);
}

#[test]
fn forks_send_early_media_by_turns_and_the_2xx_decides() {
    let mut world = World::new();
    let (mut caller, invite) = crate::ringing::calling(&mut world, "forks");
    let host = |n: u16| format!("10.2.0.{}", 10 + n);
    let forks: Vec<_> = (0..3)
        .map(|n| Phone::callee(crate::world::CALLEE, &invite, &format!("fork-{n}")))
        .collect();
    let mut port = 0;
    // Each answer turns the media to its fork, a second one of the same fork too.
    for n in [0, 1, 2, 1] {
        let fork = &forks[usize::from(n)];
        fork.respond(&mut world, &invite, 183, &sdp(&host(n), 6000 + n));
        let progress = caller.expect(&mut world, "183");
        port = ports(&progress)[0];
        let to = Some(addr(&format!("{}:{}", host(n), 6000 + n)));
        assert_eq!(goes(&world, "10.1.0.1", port), (Payload::Rtp, to));
        assert_eq!(world.flows[0].len(), 4);
    }
    forks[0].respond(&mut world, &invite, 200, &sdp(&host(0), 6000));
    forks[0].expect(&mut world, "ACK");
    let answer = caller.expect(&mut world, "200");
    assert_eq!(ports(&answer), [port]);
    let to = Some(addr(&format!("{}:6000", host(0))));
    assert_eq!(goes(&world, "10.1.0.1", port).1, to);
    caller.ack(&mut world, &answer, "");
    // A loser that talks on changes nothing any more.
    forks[2].respond(&mut world, &invite, 183, &sdp(&host(2), 6002));
    assert_eq!(goes(&world, "10.1.0.1", port).1, to);
    world.clear(caller.at);
    end(&mut world, caller, forks[0].clone());
}
