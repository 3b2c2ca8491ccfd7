//! Payloads that change, and packets that never arrived: what the headers say of a payload is kept in step with it.

use super::{IPV4, IPV6, UDP, UDP_CHECKSUM, Window, payload_len, udp_checksum, udp_len};
use crate::classify::Family;
use crate::wire::{checksum, ipv4, udp};

/// Changes a packet's payload. `change` gets all of the frame from the payload on, and its length, and says the new
/// one. The UDP checksum is updated by what has changed, so that damage remains visible to the receiver.
pub fn change_payload(
    family: Family,
    window: &mut Window,
    rest: &mut [u8],
    change: impl FnOnce(&mut [u8], usize) -> usize,
) {
    let len = payload_len(window);
    let Some(payload) = rest.get(..len) else {
        return;
    };
    let before = with_lengths(checksum::raw(payload), udp_len(window));
    let len = change(rest, len).min(rest.len());
    let finished = udp_checksum(window);
    set_lengths(family, window, len);
    if finished == 0 {
        return;
    }
    let after = with_lengths(checksum::raw(&rest[..len]), udp_len(window));
    let checksum = checksum::update_udp(finished, before, after);
    window[UDP_CHECKSUM..].copy_from_slice(&checksum.to_ne_bytes());
}

/// Writes the headers of a packet that arrived from nowhere, as IPv4 without addresses and ports, before a payload of
/// so many bytes, so that those of an egress can be laid over it.
pub fn arrive_from_nowhere(window: &mut Window, payload: &[u8]) {
    window.fill(0);
    window[IPV4] = ipv4::VERSION_AND_LENGTH;
    set_lengths(Family::V4, window, payload.len());
    let constant = u16::from(ipv4::UDP).to_be();
    let sum = with_lengths(
        checksum::add(checksum::raw(payload), constant),
        udp_len(window),
    );
    window[UDP_CHECKSUM..].copy_from_slice(&checksum::udp_field(sum).to_ne_bytes());
}

/// The UDP length counts twice: in the header, and in the pseudo-header.
const fn with_lengths(sum: u16, udp_len: u16) -> u16 {
    let len = udp_len.to_be();
    checksum::add(checksum::add(sum, len), len)
}

fn set_lengths(family: Family, window: &mut Window, payload: usize) {
    let udp_len = (payload + udp::HEADER_LEN) as u16;
    window[UDP + 4..UDP + 6].copy_from_slice(&udp_len.to_be_bytes());
    match family {
        Family::V4 => {
            let total = udp_len + ipv4::HEADER_LEN as u16;
            window[IPV4 + 2..IPV4 + 4].copy_from_slice(&total.to_be_bytes());
        }
        Family::V6 => window[IPV6 + 4..IPV6 + 6].copy_from_slice(&udp_len.to_be_bytes()),
    }
}
