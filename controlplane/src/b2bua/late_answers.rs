//! What becomes of the answers that nobody waits for any more (RFC 3261 §13.2.2.4).
//!
//! A forking proxy may let several callees answer. The first 2xx wins the call; each later one is
//! acknowledged and its dialog ended with BYE, for as long as the INVITE's transaction lives, which
//! may be longer than the call does.

use crate::dialog::Dialog;
use crate::settings::TrunkId;
use crate::sip::{Message, Method};
use crate::transaction::{ClientKey, Path};

use super::context::Context;

/// How many dialogs of one INVITE are ended before it is left to the callees to notice: each costs an
/// ACK and a transaction, and a peer that answers without end must not make us send without end.
const MAX_ENDED: usize = 16;

/// An INVITE whose further answers are all unwanted.
#[derive(Debug)]
pub(super) enum LateAnswers {
    /// One that made dialogs.
    Forks {
        /// The trunk it went to.
        trunk: TrunkId,
        /// The INVITE as it was sent.
        invite: Box<Message>,
        /// The tags that are settled: the winner's, and those of dialogs ended since.
        settled: Vec<String>,
    },
    /// One within a dialog that has ended meanwhile: its answer is acknowledged, and that is all.
    InDialog {
        /// The trunk it went to.
        trunk: TrunkId,
        /// The dialog.
        dialog: Box<Dialog>,
    },
}

impl LateAnswers {
    /// Takes a response in. All but a 2xx is of no interest.
    pub(super) fn on_response(
        &mut self,
        cx: &mut Context,
        key: ClientKey,
        response: &Message,
        path: Path,
    ) {
        if !response.code().is_some_and(|code| code.is_success()) {
            return;
        }
        match self {
            Self::Forks {
                trunk,
                invite,
                settled,
            } => {
                let Ok(dialog) = Dialog::of_client(invite, response, path) else {
                    return cx.count_dropped("answer_malformed");
                };
                let tag = dialog.remote_tag();
                if settled.len() > MAX_ENDED || settled.iter().any(|known| known == tag) {
                    return;
                }
                settled.push(tag.to_owned());
                cx.counters.forks_ended += 1;
                acknowledge_and_end(cx, key, *trunk, dialog);
            }
            Self::InDialog { trunk, dialog } => {
                acknowledge(cx, key, *trunk, dialog, None);
            }
        }
    }
}

/// ACK and BYE for an answer to an INVITE that made this dialog. Nobody waits for the BYE's response.
pub(super) fn acknowledge_and_end(
    cx: &mut Context,
    key: ClientKey,
    trunk: TrunkId,
    mut dialog: Dialog,
) {
    acknowledge(cx, key, trunk, &dialog, None);
    let mut bye = dialog.request(Method::Bye);
    cx.sign(&mut bye);
    if let Some(rules) = cx.normalisation(trunk) {
        rules.explain_end(&mut bye);
    }
    if cx.request_within(None, trunk, &dialog, bye).is_err() {
        cx.count_dropped("bye_unsent");
    }
}

/// Sends the ACK for a 2xx, with a session description when that was an offer. False when the
/// transaction is gone: the callee has given up meanwhile.
pub(super) fn acknowledge(
    cx: &mut Context,
    key: ClientKey,
    trunk: TrunkId,
    dialog: &Dialog,
    sdp: Option<Vec<u8>>,
) -> bool {
    let mut ack = dialog.ack();
    cx.sign(&mut ack);
    if let Some(sdp) = sdp {
        super::passing::set_sdp(&mut ack, sdp);
    }
    cx.acknowledge_within(key, trunk, dialog, ack)
}
