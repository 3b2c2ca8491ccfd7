//! A network namespace for each test, with veth pairs in it.
//!
//! The test's own thread moves into a new namespace, which dies with the thread and everything in it: no
//! names to collide, nothing to clean up, also after a panic. Both ends of a pair are in the same
//! namespace; AF_XDP needs no more. Without root the tests fail, and say why.

use std::io;
use std::process::Command;

use af_xdp::Device;

/// Runs a test on a thread of its own, in a network and mount namespace of its own.
pub(crate) fn isolated(test: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let body = scope.spawn(|| {
            // SAFETY: changes only the calling thread, which runs nothing but the test.
            let unshared = unsafe { libc::unshare(libc::CLONE_NEWNET | libc::CLONE_NEWNS) };
            assert!(
                unshared == 0,
                "these tests need root to make network namespaces: {}",
                io::Error::last_os_error()
            );
            run("mount", "--make-rprivate /");
            test();
        });
        if let Err(panic) = body.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Runs a command in the calling thread's namespaces.
pub(crate) fn run(program: &str, arguments: &str) -> String {
    let output = Command::new(program)
        .args(arguments.split_whitespace())
        .output()
        .unwrap_or_else(|error| panic!("cannot run {program}: {error}"));
    assert!(
        output.status.success(),
        "{program} {arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A veth pair with this many queues at both ends, up, silent (no IPv6 chatter), and able to take frames from
/// another driver.
pub(crate) fn veth(left: &str, right: &str, queues: u32) -> (Device, Device) {
    let queues = format!("numrxqueues {queues} numtxqueues {queues}");
    run(
        "ip",
        &format!("link add {left} {queues} type veth peer name {right} {queues}"),
    );
    for end in [left, right] {
        std::fs::write(format!("/proc/sys/net/ipv6/conf/{end}/disable_ipv6"), "1")
            .expect("IPv6 can be switched off");
        run("ip", &format!("link set {end} up"));
        run("ethtool", &format!("-K {end} gro on"));
    }
    (device(left), device(right))
}

pub(crate) fn device(name: &str) -> Device {
    Device::by_name(name).expect("a device that was just made")
}
