//! A UMEM and rings that are small enough to be filled in a test.

use af_xdp::{HugePages, RingSizes, SocketConfig, Umem, UmemConfig};

/// 4,096 frames.
pub(crate) fn small_umem() -> Umem {
    Umem::create(&UmemConfig {
        frame_count: 4096,
        frame_size: 2048,
        headroom: 0,
        huge_pages: HugePages::Never,
    })
    .expect("a UMEM")
}

/// Rings of 256 descriptors.
pub(crate) fn config() -> SocketConfig {
    SocketConfig {
        rings: RingSizes::balanced(256),
        ..SocketConfig::default()
    }
}
