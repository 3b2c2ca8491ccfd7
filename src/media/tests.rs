//! The threads together, from orders to events, over taps and injections of the tests' own.

use super::*;
use contract::{
    FlowKey, Forwarding, PlayFormat, PlayId, PlaySource, Playing, Recording, TapId, Timestamp,
};
use std::collections::VecDeque;
use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::sync::Mutex;
use std::sync::mpsc::{self, Sender};

const CALLER: TapId = TapId::of(5, false);
const CALLEE: TapId = TapId::of(5, true);

fn key() -> FlowKey {
    FlowKey {
        address: [10, 0, 0, 1].into(),
        port: 4000,
    }
}

/// Copies that the tests make.
#[derive(Clone, Default)]
struct Copies(Arc<Mutex<VecDeque<Copied>>>);

type Copied = (TapId, Vec<u8>);

impl Copies {
    fn push(&self, tap: TapId, packet: Vec<u8>) {
        self.0.lock().expect("whole").push_back((tap, packet));
    }

    fn are_taken(&self) -> bool {
        self.0.lock().expect("whole").is_empty()
    }
}

impl Tap for Copies {
    fn drain(&mut self, limit: usize, take: &mut dyn FnMut(&Packet<'_>)) -> usize {
        for count in 0..limit {
            let next = self.0.lock().expect("whole").pop_front();
            let Some((tap, payload)) = next else {
                return count;
            };
            take(&Packet {
                at: Timestamp::ZERO,
                tap,
                key: key(),
                source: Some(([192, 0, 2, 1], 9).into()),
                is_rtp: true,
                payload: &payload,
            });
        }
        limit
    }

    fn lost(&self) -> u64 {
        2
    }
}

/// Services, and everything around them.
struct Bench {
    services: Services,
    copies: Copies,
    injected: Receiver<(FlowKey, Vec<u8>)>,
    bell: Receiver<()>,
}

fn bench(settings: Settings) -> Bench {
    let copies = Copies::default();
    let (sender, injected): (Sender<(FlowKey, Vec<u8>)>, _) = mpsc::channel();
    let (ring, bell) = mpsc::channel();
    let joints = Joints {
        taps: vec![Box::new(Copies::default()), Box::new(copies.clone())],
        inject: Box::new(move |key, packet| sender.send((key, packet.to_vec())).is_ok()),
        ring: Arc::new(move || {
            let _ = ring.send(());
        }),
        origin: Instant::now(),
    };
    Bench {
        services: Services::start(settings, joints).expect("they start"),
        copies,
        injected,
        bell,
    }
}

impl Bench {
    fn order(&self, order: ServiceOrder) {
        self.services.order(order).expect("there is room");
    }

    /// The next event, which the bell has told of.
    fn event(&self) -> ServiceEvent {
        let patience = Duration::from_secs(10);
        self.bell.recv_timeout(patience).expect("the bell rings");
        let mut events = Vec::new();
        self.services.heed(&mut events);
        assert_eq!(events.len(), 1, "{events:?}");
        events.remove(0)
    }

    fn wait(&self, done: impl Fn() -> bool) {
        let patience = Instant::now() + Duration::from_secs(10);
        while !done() {
            assert!(Instant::now() < patience, "{:?}", self.services.counts());
            thread::sleep(Duration::from_millis(1));
        }
    }
}

fn playing(play: u32) -> Playing {
    Playing {
        play: PlayId(play),
        keys: vec![key()],
        source: PlaySource::Blob(wav::tests::mu_law_file(&[7; 400])),
        formats: vec![PlayFormat::Pcmu(0)],
        ptime: Duration::from_millis(20),
        times: 1,
        longest: None,
        start: Duration::ZERO,
    }
}

#[test]
fn a_call_is_recorded_and_one_side_of_it_forwarded() {
    let root = tempfile::tempdir().expect("a directory");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let bench = bench(Settings {
        recording_directory: Some(root.path().to_owned()),
        announcements: None,
        forward_to: listener.local_addr().ok(),
    });
    bench.order(ServiceOrder::Record(Box::new(Recording {
        tap: CALLER,
        call_id: b"one".to_vec(),
        metadata: "who".to_owned(),
    })));
    let ServiceEvent::Recording { tap: CALLER, file } = bench.event() else {
        panic!("it begins");
    };
    bench.order(ServiceOrder::Forward(Box::new(Forwarding {
        tap: CALLEE,
        metadata: b"who".to_vec(),
    })));
    bench.wait(|| bench.services.counts().forwardings.get() == 1);
    bench
        .copies
        .push(CALLEE, decoder::tests::rtp(1, 0, 1, &[0x80]));
    bench
        .copies
        .push(CALLER, decoder::tests::rtp(2, 0, 1, &[0xff]));
    bench.wait(|| bench.copies.are_taken());
    bench.wait(|| bench.services.counts().forwarded_packets.get() == 1);
    bench.order(ServiceOrder::PauseRecording(CALLER));
    bench.order(ServiceOrder::StopForwarding(CALLEE));
    let (mut connection, _) = listener.accept().expect("a connection");
    let mut forwarded = Vec::new();
    connection
        .read_to_end(&mut forwarded)
        .expect("until it ends");
    assert_eq!(
        forwarded,
        [&b"who\0"[..], &32_124_i16.to_le_bytes()].concat()
    );
    bench
        .copies
        .push(CALLER, decoder::tests::rtp(2, 0, 2, &[0xff]));
    bench.wait(|| bench.copies.are_taken());
    assert_eq!(bench.services.counts().lost_at_tap.get(), 4);
    // The end of the process completes it.
    drop(bench);
    let packets = pcap::tests::read(&fs::read(&file).expect("it is there"));
    assert_eq!(packets.len(), 2);
    let metadata = file.replace("/pcaps/", "/metadata/rtpengine-meta-");
    let metadata = fs::read_to_string(metadata.replace(".pcap", ".txt")).expect("complete");
    assert!(metadata.contains("packets: 2\n"), "{metadata}");
}

#[test]
fn an_announcement_is_played_in_its_time() {
    let bench = bench(Settings::default());
    let before = Instant::now();
    bench.order(ServiceOrder::Play(Box::new(playing(1))));
    let duration = Duration::from_millis(50);
    let play = PlayId(1);
    assert_eq!(bench.event(), ServiceEvent::Playing { play, duration });
    assert_eq!(bench.event(), ServiceEvent::Played(play));
    assert!(
        before.elapsed() >= Duration::from_millis(59),
        "{:?}",
        before.elapsed()
    );
    let packets: Vec<_> = bench.injected.try_iter().collect();
    assert_eq!(packets.len(), 3);
    assert!(
        packets
            .iter()
            .all(|(at, packet)| *at == key() && packet.len() == 172)
    );
    let mut unknown = playing(2);
    unknown.source = PlaySource::File("none.wav".to_owned());
    bench.order(ServiceOrder::Play(Box::new(unknown)));
    assert!(matches!(
        bench.event(),
        ServiceEvent::NotPlaying {
            play: PlayId(2),
            ..
        }
    ));
    let mut endless = playing(3);
    endless.times = u32::MAX;
    bench.order(ServiceOrder::Play(Box::new(endless)));
    assert!(matches!(bench.event(), ServiceEvent::Playing { .. }));
    bench.order(ServiceOrder::StopPlaying(PlayId(3)));
    assert_eq!(bench.event(), ServiceEvent::Played(PlayId(3)));
}

#[test]
fn what_is_not_configured_is_refused() {
    let bench = bench(Settings::default());
    let record = ServiceOrder::Record(Box::new(Recording {
        tap: CALLER,
        call_id: b"x".to_vec(),
        metadata: String::new(),
    }));
    assert_eq!(bench.services.order(record.clone()), Err(record));
    let end = ServiceOrder::StopRecording(CALLER);
    assert_eq!(bench.services.order(end), Ok(()), "nothing was begun");
    let settings = Settings {
        recording_directory: Some("/dev/null/x".into()),
        ..Settings::default()
    };
    let joints = Joints {
        taps: Vec::new(),
        inject: Box::new(|_, _| true),
        ring: Arc::new(|| {}),
        origin: Instant::now(),
    };
    let refused = Services::start(settings, joints).expect_err("it cannot be made");
    assert!(refused.to_string().contains("/dev/null/x"), "{refused}");
}
