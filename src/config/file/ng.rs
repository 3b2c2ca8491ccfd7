//! `[ng]`, `[[ng_listener]]` and `[[ng_interface]]`: the second door, for clients of rtpengine's control protocol.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use controlplane::settings::{ControlListener, ControlTransport, Network};

use super::super::kind;
use super::super::section::{Located, Section};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

/// `[ng]`: what its calls go by.
#[derive(Debug)]
pub(crate) struct Ng {
    /// The `[[media]]` that serves who names no interface.
    pub(crate) media: Option<Located<String>>,
    pub(crate) delete_delay: Duration,
    pub(crate) media_timeout: Option<Duration>,
    pub(crate) silent_timeout: Option<Duration>,
    pub(crate) offer_timeout: Option<Duration>,
    pub(crate) final_timeout: Option<Duration>,
    /// Where recordings are written.
    pub(crate) recording_directory: Option<Located<PathBuf>>,
    /// Where the files are that can be played by their names.
    pub(crate) announcements: Option<Located<PathBuf>>,
    /// Who takes what is forwarded.
    pub(crate) forward_to: Option<Located<SocketAddr>>,
}

/// `[[ng_listener]]`: a socket.
#[derive(Debug)]
pub(crate) struct NgListener {
    pub(crate) name: Option<Located<String>>,
    pub(crate) address: Option<Located<SocketAddr>>,
    pub(crate) transport: ControlTransport,
    pub(crate) allow: Option<Vec<Located<Network>>>,
    pub(crate) max_connections: Option<Located<u64>>,
    pub(crate) idle_timeout: Option<Located<Duration>>,
}

/// `[[ng_interface]]`: a name that clients use in `direction`.
#[derive(Debug)]
pub(crate) struct NgInterface {
    pub(crate) name: Option<Located<String>>,
    pub(crate) media: Option<Located<String>>,
}

pub(super) fn ng(section: &mut Section<'_>) -> Ng {
    let default = controlplane::settings::Ng::default();
    let timeout = kind::duration_or_off(SECOND, 30 * DAY);
    let delay = kind::duration(Duration::ZERO, DAY);
    Ng {
        media: section.optional("media", &kind::reference("[[media]]")),
        delete_delay: section.or_default("delete_delay", &delay, default.delete_delay),
        media_timeout: section.or_default("media_timeout", &timeout, default.media_timeout),
        silent_timeout: section.or_default("silent_timeout", &timeout, default.silent_timeout),
        offer_timeout: section.or_default("offer_timeout", &timeout, default.offer_timeout),
        final_timeout: section.or_default("final_timeout", &timeout, default.final_timeout),
        recording_directory: section.optional("recording_directory", &kind::directory_path()),
        announcements: section.optional("announcements", &kind::directory_path()),
        forward_to: section.optional("forward_to", &kind::listen_address()),
    }
}

pub(super) fn listener(section: &mut Section<'_>) -> NgListener {
    const TRANSPORTS: &[(&str, ControlTransport)] = &[
        ("udp", ControlTransport::Udp),
        ("tcp", ControlTransport::Tcp),
        ("http", ControlTransport::Http),
    ];
    let allow = match section.place_of_key("allow") {
        Some(_) => section.list("allow", &kind::network()),
        None => section.absent("allow"),
    };
    let idle = kind::duration(SECOND, DAY);
    NgListener {
        name: section.required("name", &kind::name()),
        address: section.required("address", &kind::control_address()),
        transport: section.or_default("transport", &kind::word(TRANSPORTS), ControlTransport::Udp),
        allow,
        max_connections: section.optional("max_connections", &kind::number(1, 100_000)),
        idle_timeout: section.optional("idle_timeout", &idle),
    }
}

pub(super) fn interface(section: &mut Section<'_>) -> NgInterface {
    NgInterface {
        name: section.required("name", &kind::name()),
        media: section.required("media", &kind::reference("[[media]]")),
    }
}

impl Ng {
    /// For the media services.
    pub(crate) fn services(&self) -> crate::media::Settings {
        let path = |located: &Located<PathBuf>| located.value.clone();
        crate::media::Settings {
            recording_directory: self.recording_directory.as_ref().map(path),
            announcements: self.announcements.as_ref().map(path),
            forward_to: self.forward_to.as_ref().map(|located| located.value),
        }
    }
}

impl NgListener {
    /// What it means; `None` when what it needs could not be read, which has been noted.
    pub(crate) fn settings(&self) -> Option<ControlListener> {
        let (name, address) = (self.name.as_ref()?, self.address.as_ref()?);
        let mut settings = ControlListener::new(name.value.as_str(), address.value);
        settings.transport = self.transport;
        if let Some(allow) = &self.allow {
            settings.allow = allow.iter().map(|network| network.value).collect();
        }
        if let Some(most) = &self.max_connections {
            settings.connections = usize::try_from(most.value).unwrap_or(settings.connections);
        }
        if let Some(idle) = &self.idle_timeout {
            settings.idle = idle.value;
        }
        Some(settings)
    }
}
