//! Recordings in a directory of the tests, read back.

use super::*;
use crate::media::pcap::tests::read;
use contract::Timestamp;
use std::fs;

const WALL: Duration = Duration::from_secs(1_795_610_335);

fn key(port: u16) -> FlowKey {
    FlowKey {
        address: [10, 0, 0, 1].into(),
        port,
    }
}

fn packet(tap: TapId, port: u16, source: Option<&str>, payload: &'static [u8]) -> Packet<'static> {
    Packet {
        at: Timestamp::ZERO,
        tap,
        key: key(port),
        source: source.map(|address| address.parse().expect("an address")),
        is_rtp: true,
        payload,
    }
}

fn recorder(root: &std::path::Path) -> Recorder {
    let directories = Directories::make(root).expect("they can be made");
    {
        let limits = Limits {
            recordings: 2,
            connections: 0,
        };
        Recorder::new(directories, 1, limits, Arc::default())
    }
}

fn recording(call: u32) -> Recording {
    Recording {
        tap: TapId::of(call, true),
        call_id: format!("call/{call}").into_bytes(),
        metadata: "who|what".to_owned(),
    }
}

fn file_of(event: ServiceEvent) -> String {
    match event {
        ServiceEvent::Recording { file, .. } => file,
        other => panic!("{other:?}"),
    }
}

fn metadata_of(file: &str) -> String {
    let path = file.replace("/pcaps/", "/metadata/rtpengine-meta-");
    fs::read_to_string(path.replace(".pcap", ".txt")).expect("it is complete")
}

#[test]
fn both_sides_of_a_call_are_in_one_file_and_no_other_call_is() {
    let root = tempfile::tempdir().expect("a directory");
    let mut recorder = recorder(root.path());
    let file = file_of(recorder.begin(recording(7), WALL));
    assert!(file.contains("/pcaps/call%2F7-"), "{file}");
    recorder.describe(TapId::of(7, false), "SDP mode: offer\nv=0");
    let (caller, callee) = (TapId::of(7, false), TapId::of(7, true));
    let mut take = |packet: Packet<'_>, wall| assert_eq!(recorder.take(&packet, wall), None);
    take(packet(caller, 4000, Some("192.0.2.1:9"), b"one"), WALL);
    take(packet(callee, 4002, Some("192.0.2.2:9"), b"two"), WALL);
    take(packet(TapId::of(8, true), 4000, None, b"other"), WALL);
    take(packet(caller, 4000, None, b"injected"), WALL);
    recorder.pause(caller, true);
    assert_eq!(
        recorder.take(&packet(caller, 4000, None, b"paused"), WALL),
        None
    );
    recorder.pause(callee, false);
    let late = WALL + Duration::from_millis(1500);
    assert_eq!(
        recorder.take(&packet(callee, 4006, None, b"late"), late),
        None
    );
    recorder.counts.lost_at_tap.add(3);
    recorder.stop(caller, late);
    let bytes = fs::read(&file).expect("it is there");
    let [one, two, three, four]: [_; 4] = read(&bytes).try_into().expect("four");
    let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
    let ours = |port| key(port).socket_addr();
    assert_eq!(
        one,
        (WALL, address("192.0.2.1:9"), ours(4000), b"one".to_vec())
    );
    assert_eq!(
        two,
        (WALL, address("192.0.2.2:9"), ours(4002), b"two".to_vec())
    );
    assert_eq!(
        three,
        (
            WALL,
            address("192.0.2.1:9"),
            ours(4000),
            b"injected".to_vec()
        )
    );
    assert_eq!(
        four,
        (late, address("0.0.0.0:0"), ours(4006), b"late".to_vec())
    );
    assert_eq!(
        metadata_of(&file),
        format!(
            "{file}\n\n\nSDP mode: offer\nv=0\n\n\
             Timestamp terminated ms(first monologue): 1795610336500.000\n\n\
             call start time: 2026-11-25T12:38:55\ncall end time: 2026-11-25T12:38:56\n\
             packets: 4\nbytes: {}\nlost at the tap: 3\n\n\nwho|what\n",
            bytes.len()
        )
    );
    assert!(recorder.is_idle());
    assert_eq!(recorder.counts.recorded_packets.get(), 4);
}

#[test]
fn what_waits_is_written_every_second_and_at_the_end() {
    let root = tempfile::tempdir().expect("a directory");
    let mut recorder = recorder(root.path());
    let first = file_of(recorder.begin(recording(1), WALL));
    let tap = TapId::of(1, false);
    assert_eq!(recorder.take(&packet(tap, 4000, None, b"one"), WALL), None);
    assert_eq!(fs::read(&first).expect("it is there").len(), 0);
    assert_eq!(recorder.flush(WALL), []);
    assert_eq!(read(&fs::read(&first).expect("it is there")).len(), 1);
    // Again into a new file: the old one is complete.
    let second = file_of(recorder.begin(recording(1), WALL));
    assert_ne!(first, second);
    assert!(metadata_of(&first).contains("packets: 1"));
    assert_eq!(recorder.take(&packet(tap, 4000, None, b"two"), WALL), None);
    recorder.stop_all(WALL);
    assert_eq!(read(&fs::read(&second).expect("it is there")).len(), 1);
    assert_eq!(recorder.counts.recordings.get(), 0);
}

#[test]
fn a_full_disk_or_file_ends_that_recording_alone() {
    let root = tempfile::tempdir().expect("a directory");
    let mut recorder = recorder(root.path());
    file_of(recorder.begin(recording(1), WALL));
    let other = file_of(recorder.begin(recording(2), WALL));
    let event = recorder.begin(recording(3), WALL);
    let ServiceEvent::NotRecording { reason, .. } = event else {
        panic!("it is one too many");
    };
    assert_eq!(reason, "2 calls are being recorded");
    let open = recorder
        .open
        .get_mut(&TapId::of(1, false))
        .expect("it is open");
    // A device that is always full.
    open.file = File::options()
        .write(true)
        .open("/dev/full")
        .expect("there is one");
    let [ServiceEvent::NotRecording { tap, reason }] = &recorder.flush(WALL)[..] else {
        panic!("one fails");
    };
    assert_eq!(*tap, TapId::of(1, false));
    assert!(reason.contains("No space left"), "{reason}");
    assert_eq!(recorder.take(&packet(*tap, 4000, None, b"one"), WALL), None);
    recorder.longest = 100;
    let tap = TapId::of(2, false);
    assert_eq!(recorder.take(&packet(tap, 4000, None, b"one"), WALL), None);
    let event = recorder.take(&packet(tap, 4000, None, b"two"), WALL);
    let Some(ServiceEvent::NotRecording { reason, .. }) = event else {
        panic!("it is too long");
    };
    assert_eq!(reason, "the file is 100 bytes long");
    assert_eq!(read(&fs::read(&other).expect("it is there")).len(), 2);
    assert!(metadata_of(&other).contains("packets: 2"));
    assert!(recorder.is_idle());
    assert_eq!(recorder.counts.recordings_failed.get(), 3);
}

#[test]
fn without_its_directory_nothing_is_recorded() {
    let root = tempfile::tempdir().expect("a directory");
    let mut recorder = recorder(root.path());
    fs::remove_dir_all(root.path().join("pcaps")).expect("it is ours");
    let event = recorder.begin(recording(1), WALL);
    assert!(
        matches!(event, ServiceEvent::NotRecording { .. }),
        "{event:?}"
    );
    assert!(recorder.is_idle());
}
