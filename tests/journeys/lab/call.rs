//! A whole call between two scripted peers, for the journeys in which the signalling is not the point.

use std::net::SocketAddr;

use super::phone::{Dialog, Phone};
use super::sip::{Message, SENDRECV, audio, stream};

/// An answered call.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// The caller's dialog with the relay.
    pub(crate) caller: Dialog,
    /// The callee's.
    pub(crate) callee: Dialog,
    /// Where the relay told the caller to send its audio.
    pub(crate) caller_sends_to: SocketAddr,
    /// Where the relay told the callee to send its audio.
    pub(crate) callee_sends_to: SocketAddr,
    /// The INVITE as the callee got it.
    pub(crate) invite: Message,
    /// The 200 as the caller got it.
    pub(crate) answer: Message,
}

impl Call {
    /// INVITE, 180, 200, ACK. `caller_audio` and `callee_audio` are what the two put into their SDP.
    #[track_caller]
    pub(crate) fn establish(
        caller: &mut Phone,
        callee: &mut Phone,
        user: &str,
        caller_audio: SocketAddr,
        callee_audio: SocketAddr,
    ) -> Self {
        let mut dialog = caller.dialog(user);
        let request =
            caller
                .request(&mut dialog, "INVITE")
                .with_sdp(&audio(caller_audio, 1, SENDRECV));
        caller.send(&request);
        let invite = callee.expect_request("INVITE");
        let tag = format!("t{}", callee_audio.port());
        callee.respond(&invite, 180, "Ringing", &tag);
        caller.expect_response(180, "INVITE");
        let ok =
            callee
                .response(&invite, 200, "OK", &tag)
                .with_sdp(&audio(callee_audio, 1, SENDRECV));
        callee.send(&ok);
        let answer = caller.expect_response(200, "INVITE");
        dialog.learn(&answer);
        let ack = caller.request(&mut dialog, "ACK");
        caller.send(&ack);
        callee.expect_request("ACK");
        Self {
            caller: dialog,
            callee: Dialog::callee(&invite, &tag),
            caller_sends_to: stream(&answer),
            callee_sends_to: stream(&invite),
            invite,
            answer,
        }
    }

    /// BYE from the caller.
    #[track_caller]
    pub(crate) fn caller_hangs_up(mut self, caller: &mut Phone, callee: &mut Phone) {
        hang_up(&mut self.caller, caller, callee);
    }

    /// BYE from the callee.
    #[track_caller]
    pub(crate) fn callee_hangs_up(mut self, caller: &mut Phone, callee: &mut Phone) {
        hang_up(&mut self.callee, callee, caller);
    }
}

#[track_caller]
fn hang_up(dialog: &mut Dialog, from: &mut Phone, to: &mut Phone) {
    let request = from.request(dialog, "BYE");
    from.send(&request);
    let bye = to.expect_request("BYE");
    to.respond(&bye, 200, "OK", "");
    from.expect_response(200, "BYE");
}
