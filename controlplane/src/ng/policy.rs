//! What the configuration says of calls that come by this door.

use std::time::Duration;

use crate::session::Patience;
use crate::settings::{MediaGroupId, Settings};

/// How calls of the control protocol are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The media group that serves whoever names no interface.
    pub media: MediaGroupId,
    /// The media groups by the names that `direction` uses.
    pub interfaces: Vec<(String, MediaGroupId)>,
    /// How long a call stays after it was deleted, where the client says nothing.
    pub delete_delay: Duration,
    /// How long parties may be silent.
    pub patience: Patience,
    /// How long a dialogue waits for its first answer; `None`: as long as it likes.
    pub offer_timeout: Option<Duration>,
    /// How long a call may last; `None`: as long as it likes.
    pub final_timeout: Option<Duration>,
    /// How long latches are open that a client asks for and the media group does not have.
    pub learn: Duration,
    /// Whether calls can be recorded.
    pub recording: bool,
    /// Whether audio can be forwarded.
    pub forwarding: bool,
    /// Whether files can be played.
    pub playing: bool,
}

impl Policy {
    /// What these settings say.
    pub fn of(settings: &Settings) -> Self {
        let groups = (0..).map(MediaGroupId).zip(&settings.media_groups);
        let own = groups.map(|(id, group)| (group.name.clone(), id));
        let ng = &settings.ng;
        let named = ng.interfaces.iter();
        let named = named.map(|interface| (interface.name.clone(), interface.media));
        Self {
            media: ng.media.unwrap_or(MediaGroupId(0)),
            interfaces: named.chain(own).collect(),
            delete_delay: ng.delete_delay,
            patience: Patience {
                sending: ng.media_timeout,
                held: ng.silent_timeout,
            },
            offer_timeout: ng.offer_timeout,
            final_timeout: ng.final_timeout,
            learn: Duration::from_secs(3),
            recording: ng.recording,
            forwarding: ng.forwarding,
            playing: ng.playing,
        }
    }

    /// The media group of an interface's name: what the settings say of it, or a group of that name. As rtpengine does
    /// it, one that there is not is the first.
    pub(super) fn group(&self, name: &[u8]) -> MediaGroupId {
        let mut named = self.interfaces.iter();
        let found = named.find(|(interface, _)| interface.as_bytes() == name);
        found.map_or(self.media, |(_, group)| *group)
    }
}
