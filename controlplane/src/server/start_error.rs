//! Why the server could not start: one sentence for the operator each.

use std::io;
use std::net::SocketAddr;

use crate::settings::{ControlListener, ControlTransport, Listener, Transport};
use crate::transport::OpenError;
use crate::transport::tls::PemError;

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another process has the SIP port.
    #[error(
        "listener {name}: {address} is in use by another process (`ss -{sockets}lnp` tells which)"
    )]
    PortInUse {
        /// The listener's name.
        name: String,
        /// Its address.
        address: SocketAddr,
        /// What `ss` calls its sockets.
        sockets: char,
    },
    /// Its certificates, or those of its trunks, cannot be used.
    #[error("listener {name}: {error}")]
    Certificates {
        /// The listener's name.
        name: String,
        /// What is wrong.
        error: PemError,
    },
    /// The listener's address is not on the host.
    #[error("listener {name}: {address} is not an address of this host (`ip address` lists them)")]
    NotOurAddress {
        /// The listener's name.
        name: String,
        /// Its address.
        address: SocketAddr,
    },
    /// A port below 1024 without the capability.
    #[error("listener {name}: {address} needs CAP_NET_BIND_SERVICE, or a port from 1024 up")]
    PrivilegedPort {
        /// The listener's name.
        name: String,
        /// Its address.
        address: SocketAddr,
    },
    /// Anything else that the kernel refused a listener.
    #[error("listener {name}: {address}: {error}")]
    Listener {
        /// The listener's name.
        name: String,
        /// Its address.
        address: SocketAddr,
        /// What the kernel said.
        error: io::Error,
    },
    /// The kernel refused something that every loop needs.
    #[error("{what}: {error}")]
    Kernel {
        /// What was to be had.
        what: &'static str,
        /// What the kernel said.
        error: io::Error,
    },
}

impl StartError {
    /// What a failure to open `listener` means.
    pub(super) fn listener(listener: &Listener, error: OpenError) -> Self {
        let name = listener.name.clone();
        let address = listener.address;
        let error = match error {
            OpenError::Io(error) => error,
            OpenError::Pem(error) => return Self::Certificates { name, error },
        };
        let sockets = match listener.transport {
            Transport::Udp => 'u',
            Transport::Tcp | Transport::Tls => 't',
        };
        Self::socket(name, address, sockets, error)
    }

    /// What a failure to open a control listener means.
    pub(super) fn control(listener: &ControlListener, error: io::Error) -> Self {
        let sockets = match listener.transport {
            ControlTransport::Udp => 'u',
            ControlTransport::Tcp | ControlTransport::Http => 't',
        };
        Self::socket(listener.name.clone(), listener.address, sockets, error)
    }

    fn socket(name: String, address: SocketAddr, sockets: char, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::AddrInUse => Self::PortInUse {
                name,
                address,
                sockets,
            },
            io::ErrorKind::AddrNotAvailable => Self::NotOurAddress { name, address },
            io::ErrorKind::PermissionDenied => Self::PrivilegedPort { name, address },
            _ => Self::Listener {
                name,
                address,
                error,
            },
        }
    }

    /// For `map_err`.
    pub(super) fn kernel(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Kernel { what, error }
    }
}
