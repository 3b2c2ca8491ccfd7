//! The media services as the admin socket's views.

use crate::admin::views::{Forwarding, MediaServices, Plays, Recordings};
use crate::media::Services;

/// All of them; `None` when nothing is configured and nothing was played.
pub(crate) fn services(services: &Services) -> Option<MediaServices> {
    let (settings, counts) = (services.settings(), services.counts());
    let recordings = |directory: &std::path::PathBuf| Recordings {
        directory: directory.display().to_string(),
        active: counts.recordings.get(),
        begun: counts.recordings_begun.get(),
        failed: counts.recordings_failed.get(),
        packets: counts.recorded_packets.get(),
        bytes: counts.recorded_bytes.get(),
        metadata_lost: counts.metadata_lost.get(),
    };
    let forwarding = |to: std::net::SocketAddr| Forwarding {
        to: to.to_string(),
        parties: counts.forwardings.get(),
        streams: counts.streams.get(),
        refused: counts.forwardings_refused.get(),
        packets: counts.forwarded_packets.get(),
        lost: counts.forward_lost.get(),
        late: counts.forward_late.get(),
        unknown: counts.forward_unknown.get(),
        connections_failed: counts.connections_failed.get(),
    };
    let announcements = settings.announcements.as_ref();
    let view = MediaServices {
        lost_at_tap: counts.lost_at_tap.get(),
        orders_refused: counts.orders_refused.get(),
        events_lost: counts.events_lost.get(),
        recordings: settings.recording_directory.as_ref().map(recordings),
        forwarding: settings.forward_to.map(forwarding),
        plays: Plays {
            directory: announcements.map(|directory| directory.display().to_string()),
            active: counts.plays.get(),
            begun: counts.plays_begun.get(),
            failed: counts.plays_failed.get(),
            packets: counts.played_packets.get(),
            injections_refused: counts.injections_refused.get(),
        },
    };
    (view != MediaServices::default()).then_some(view)
}
