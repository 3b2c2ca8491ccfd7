//! What an unprivileged process is told.

mod namespace;

use std::io;

use af_xdp::{Error, HugePages, Program, Socket, SocketConfig, Umem, UmemConfig};
use namespace::{isolated, run, veth};

/// Takes all capabilities from the calling thread, for good.
fn drop_capabilities() {
    const VERSION_3: u32 = 0x2008_0522;
    let header = [VERSION_3, 0];
    let none = [0u32; 6];
    // SAFETY: header and sets have the layout of version 3 (capset(2)); only the calling thread changes.
    let result = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}

#[test]
fn a_missing_capability_is_named() {
    isolated(|| {
        let (left, _right) = veth("left", "right", 1);
        assert!(run("ip", "link show left").contains("UP"));
        drop_capabilities();
        let mut umem = Umem::create(&UmemConfig {
            huge_pages: HugePages::Never,
            ..UmemConfig::default()
        })
        .expect("a UMEM needs no privilege");
        let socket = Socket::open(&left, 0, &mut umem, &SocketConfig::default());
        let program = Program::load();
        for (error, capability) in [
            (socket.expect_err("no privilege"), "CAP_NET_RAW"),
            (
                program.expect_err("no privilege"),
                "CAP_BPF and CAP_NET_ADMIN",
            ),
        ] {
            assert!(matches!(error, Error::Privilege { .. }), "{error}");
            let text = error.to_string();
            assert!(text.contains(&format!("needs {capability}")), "{text}");
        }
    });
}
