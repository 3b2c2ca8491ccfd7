//! What stands in the way of a socket or a program: each failure names its place and the remedy, and
//! takes nothing with it.

mod namespace;
mod small;

use af_xdp::{AttachMode, BindMode, Device, Error, Program, RingSizes, Socket, SocketConfig, Umem};
use namespace::{device, isolated, run, veth};
use small::{config, small_umem};

/// Opening a socket fails, says this, and leaves every frame where it was.
#[track_caller]
fn fails(umem: &mut Umem, device: &Device, queue: u32, config: &SocketConfig, says: &str) {
    let before = umem.free_count();
    let error = Socket::open(device, queue, umem, config)
        .expect_err(says)
        .to_string();
    assert!(error.contains(says), "{error}");
    assert_eq!(umem.free_count(), before, "{error}");
}

fn zero_copy() -> SocketConfig {
    SocketConfig {
        mode: BindMode::ZeroCopy,
        ..config()
    }
}

#[test]
fn what_the_device_or_the_umem_cannot_give_is_named() {
    isolated(|| {
        let (left, _right) = veth("left", "right", 2);
        let mut umem = small_umem();
        let of_size = |size| SocketConfig {
            rings: RingSizes::balanced(size),
            ..config()
        };
        for (queue, config, says) in [
            (0, zero_copy(), "cannot do zero-copy on queue 0"),
            (2, config(), "left has no queue 2: its RX queues are 0 to 1"),
            (
                0,
                of_size(4096),
                "needs 4608 frames for its fill ring and the UMEM has 4096",
            ),
            (0, of_size(300), "power of two"),
        ] {
            fails(&mut umem, &left, queue, &config, says);
        }
    });
}

#[test]
fn a_queue_is_taken_until_its_socket_is_closed() {
    isolated(|| {
        let (left, _right) = veth("left", "right", 2);
        let (mut umem, mut other) = (small_umem(), small_umem());
        let socket = Socket::open(&left, 0, &mut umem, &config()).expect("a socket");
        fails(&mut umem, &left, 0, &config(), "left queue 0 is taken");
        fails(&mut umem, &left, 1, &zero_copy(), "already in copy mode");
        fails(&mut other, &left, 0, &config(), "left queue 0 is taken");
        drop(socket);
        Socket::open(&left, 0, &mut umem, &config()).expect("free again");
    });
}

#[test]
fn a_device_that_is_down_or_gone_is_named() {
    isolated(|| {
        let (left, right) = veth("left", "right", 1);
        let mut umem = small_umem();
        let mut socket = Socket::open(&left, 0, &mut umem, &config()).expect("a socket");
        run("ip", "link set left down");
        let error = socket.kick().expect_err("down").to_string();
        assert!(
            error.contains("left queue 0: the device is down"),
            "{error}"
        );
        run("ip", "link del right");
        fails(
            &mut umem,
            &right,
            0,
            &config(),
            "no network device \"right\"",
        );
    });
}

#[test]
fn another_program_is_named_as_the_obstacle() {
    isolated(|| {
        let (left, _right) = veth("left", "right", 1);
        let mut first = Program::load().expect("loading needs root");
        let mut second = Program::load().expect("loading needs root");
        let link = first
            .attach(&left, AttachMode::Native)
            .expect("veth has native XDP");
        for mode in [AttachMode::Native, AttachMode::Generic] {
            let error = second.attach(&left, mode).expect_err("taken");
            assert!(
                matches!(&error, Error::OtherProgram { device } if device == "left"),
                "{error}"
            );
        }
        link.detach();
        second
            .attach(&left, AttachMode::Native)
            .expect("free again");
    });
}

#[test]
fn native_mode_says_what_stands_in_its_way() {
    isolated(|| {
        let (left, _right) = veth("left", "right", 1);
        let mut program = Program::load().expect("loading needs root");
        run("ip", "link set right mtu 9000");
        run("ip", "link set left mtu 9000");
        let error = program
            .attach(&left, AttachMode::Native)
            .expect_err("too large");
        assert!(error.to_string().contains("lower the MTU"), "{error}");
        let loopback = device("lo");
        let error = program
            .attach(&loopback, AttachMode::Native)
            .expect_err("no driver");
        assert!(matches!(error, Error::NoNativeXdp { .. }), "{error}");
    });
}
