//! Playing in virtual time.

use super::*;
use contract::PlaySource;
use std::sync::mpsc::{self, Sender};

type Injected = (FlowKey, Vec<u8>);

struct Bench {
    player: Player,
    injected: Receiver<Injected>,
    heard: Receiver<ServiceEvent>,
    counts: Arc<Counts>,
}

fn bench_of(room: bool) -> Bench {
    let counts = Arc::<Counts>::default();
    let (said, heard) = Said::new(Arc::new(|| {}), Arc::clone(&counts));
    let (sender, injected): (Sender<Injected>, _) = mpsc::channel();
    let inject: Inject = Box::new(move |key, packet| {
        sender.send((key, packet.to_vec())).expect("it is there");
        room
    });
    Bench {
        player: Player::new(1, inject, said, Arc::clone(&counts)),
        injected,
        heard,
        counts,
    }
}

impl Bench {
    fn events(&self) -> Vec<ServiceEvent> {
        self.heard.try_iter().collect()
    }

    fn packets(&self) -> Vec<Vec<u8>> {
        self.injected.try_iter().map(|(_, packet)| packet).collect()
    }
}

fn key(port: u16) -> FlowKey {
    FlowKey {
        address: [10, 0, 0, 1].into(),
        port,
    }
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_nanos(1_000_000_000) + Duration::from_millis(millis)
}

fn playing(play: u32) -> Playing {
    Playing {
        play: PlayId(play),
        keys: vec![key(4000)],
        source: PlaySource::Blob(Vec::new()),
        formats: Vec::new(),
        ptime: Duration::from_millis(20),
        times: 1,
        longest: None,
        start: Duration::ZERO,
    }
}

fn prepared(playing: &Playing, audio: impl Into<Arc<[u8]>>) -> Prepared {
    Prepared::new(playing, audio.into(), Law::Mu, 0).expect("there is audio")
}

fn sequence(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[2], packet[3]])
}

fn timestamp(packet: &[u8]) -> u32 {
    u32::from_be_bytes(packet[4..8].try_into().expect("four"))
}

#[test]
fn packets_leave_by_the_clock_and_their_headers_go_on() {
    let mut bench = bench_of(true);
    let audio: Vec<u8> = (0..400).map(|sample| (sample % 251) as u8).collect();
    let mut playing = playing(1);
    playing.keys.push(key(4002));
    bench.player.begin(prepared(&playing, audio.clone()), at(0));
    let duration = Duration::from_millis(50);
    assert_eq!(
        bench.events(),
        [ServiceEvent::Playing {
            play: PlayId(1),
            duration
        }]
    );
    assert_eq!(bench.player.advance(at(0)), Some(at(20)));
    let first: Vec<Injected> = bench.injected.try_iter().collect();
    assert_eq!(
        first.iter().map(|(key, _)| key.port).collect::<Vec<_>>(),
        [4000, 4002]
    );
    assert_eq!(first[0].1, first[1].1);
    assert_eq!(bench.player.advance(at(19)), Some(at(20)));
    assert_eq!(bench.packets().len(), 0);
    // A little late: it catches up.
    assert_eq!(bench.player.advance(at(45)), Some(at(60)));
    let packets = bench.packets();
    assert_eq!(packets.len(), 4);
    let (one, two, three) = (&first[0].1, &packets[0], &packets[2]);
    assert_eq!([one[1], two[1], three[1]], [MARKER, 0, 0]);
    for (before, after) in [(one, two), (two, three)] {
        assert_eq!(sequence(after), sequence(before).wrapping_add(1));
        assert_eq!(timestamp(after), timestamp(before).wrapping_add(160));
        assert_eq!(before[8..12], after[8..12]);
    }
    let heard = [&one[12..], &two[12..], &three[12..]].concat();
    assert_eq!((heard.len(), &heard[..400]), (480, &audio[..]));
    assert_eq!(heard[400..], [0xff; 80], "silence fills the last packet");
    assert_eq!(bench.events(), []);
    assert_eq!(bench.player.advance(at(60)), None);
    assert_eq!(bench.events(), [ServiceEvent::Played(PlayId(1))]);
    assert_eq!(bench.packets().len(), 0);
    let counts = (bench.counts.plays.get(), bench.counts.played_packets.get());
    assert_eq!(counts, (0, 6));
}

#[test]
fn it_is_repeated_from_its_beginning_and_no_longer_than_asked() {
    let mut bench = bench_of(true);
    let audio: Vec<u8> = [vec![1; 160], vec![2; 40]].concat();
    let mut asked = playing(1);
    (asked.times, asked.start) = (3, Duration::from_millis(20));
    bench.player.begin(prepared(&asked, audio.clone()), at(0));
    bench.player.advance(at(100));
    let heard: Vec<u8> = bench
        .packets()
        .iter()
        .flat_map(|p| p[12..].to_vec())
        .collect();
    let expected = [vec![2; 40], audio.clone(), audio.clone(), vec![0xff; 40]].concat();
    assert_eq!(heard, expected);
    asked.times = u32::MAX;
    asked.longest = Some(Duration::from_millis(70));
    (asked.start, asked.ptime) = (Duration::ZERO, Duration::from_millis(30));
    bench
        .player
        .begin(prepared(&asked, audio.clone()), at(1000));
    bench.player.advance(at(1090));
    let packets = bench.packets();
    assert_eq!(packets.len(), 3);
    assert!(packets.iter().all(|packet| packet.len() == 12 + 240));
    assert_eq!(packets[2][12 + 80..], [0xff; 160]);
    assert!(bench.events().contains(&ServiceEvent::Played(PlayId(1))));
}

#[test]
fn whoever_was_away_for_long_does_not_catch_up() {
    let mut bench = bench_of(true);
    bench
        .player
        .begin(prepared(&playing(1), vec![7; 8000]), at(0));
    bench.player.advance(at(0));
    assert_eq!(bench.player.advance(at(520)), Some(at(540)));
    let [before, after]: [_; 2] = bench.packets().try_into().expect("two");
    assert_eq!(sequence(&after), sequence(&before).wrapping_add(1));
    assert_eq!(
        timestamp(&after),
        timestamp(&before).wrapping_add(160 + 4000)
    );
    assert_eq!(after[1], MARKER);
}

#[test]
fn one_that_is_stopped_says_so_once_and_one_too_many_is_refused() {
    let mut bench = bench_of(false);
    for play in 0..=MOST as u32 {
        bench
            .player
            .begin(prepared(&playing(play), vec![7; 800]), at(0));
    }
    let refused = bench.events().pop().expect("the last");
    assert!(matches!(
        refused,
        ServiceEvent::NotPlaying {
            play: PlayId(2000),
            ..
        }
    ));
    bench.player.advance(at(0));
    assert_eq!(bench.counts.injections_refused.get(), MOST as u64);
    bench.player.stop(PlayId(3));
    bench.player.stop(PlayId(3));
    bench.player.stop(PlayId(99_999));
    assert_eq!(bench.events(), [ServiceEvent::Played(PlayId(3))]);
    bench.player.advance(at(20));
    assert_eq!(bench.counts.injections_refused.get(), 2 * MOST as u64 - 1);
    assert_eq!(bench.counts.plays_failed.get(), 1);
}
