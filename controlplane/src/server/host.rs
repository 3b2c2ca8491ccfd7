//! What the loop knows of the host: its listeners' sockets, those to name servers, and its next hops. The part of it that
//! [`super::Guest`]s may read is public.

use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

use contract::Timestamp;

use crate::installer::NextHopQuery;
use crate::neighbours::{Action, NeighbourCounts, Neighbours, NextHop};
use crate::netlink::{Netlink, Notice};
use crate::settings::{ListenerId, Settings, TrunkId};
use crate::transport::control::{ControlCounts, ControlListener};
use crate::transport::tls::{PemError, Tls};
use crate::transport::{Listener, ListenerCounts, NameServers, solicit};

/// Destinations watched at a time: two for each of thirty thousand calls, were no two calls' media to
/// come from the same address. At some 300 bytes each, 20 MB at the most.
const WATCHED: usize = 65_536;

/// The sockets and the next hops.
#[derive(Debug)]
pub struct Host {
    listeners: Vec<Listener>,
    controls: Vec<ControlListener>,
    netlink: Netlink,
    neighbours: Neighbours,
    name_servers: NameServers,
    notices: Vec<Notice>,
    unsolicited: u64,
    draining: bool,
}

impl Host {
    pub(super) fn new(
        listeners: Vec<Listener>,
        controls: Vec<ControlListener>,
        devices: Vec<String>,
    ) -> io::Result<Self> {
        Ok(Self {
            listeners,
            controls,
            netlink: Netlink::open()?,
            neighbours: Neighbours::new(devices, WATCHED),
            name_servers: NameServers::new()?,
            notices: Vec::new(),
            unsolicited: 0,
            draining: false,
        })
    }

    /// What each listener has received and sent, by [`crate::settings::ListenerId`].
    pub fn listeners(&self) -> Vec<ListenerCounts> {
        self.listeners.iter().map(Listener::counts).collect()
    }

    /// What each control listener has received and sent, by [`crate::ng::ControlId`].
    pub fn controls(&self) -> Vec<ControlCounts> {
        self.controls.iter().map(ControlListener::counts).collect()
    }

    /// What is known of next hops, in figures.
    pub fn neighbours(&self) -> NeighbourCounts {
        self.neighbours.counts()
    }

    /// How often the kernel lost messages for us and was read from the beginning.
    pub fn netlink_overruns(&self) -> u64 {
        self.netlink.overruns()
    }

    /// Solicitations that the kernel did not send.
    pub fn failed_solicitations(&self) -> u64 {
        self.unsolicited
    }

    /// Every watched next hop; `None` while it is being resolved.
    pub fn next_hops(&self) -> Vec<(NextHopQuery, Option<NextHop>)> {
        self.neighbours.answers()
    }

    /// Whether new calls are refused because the process is to end.
    pub fn draining(&self) -> bool {
        self.draining
    }

    pub(super) fn set_draining(&mut self) {
        self.draining = true;
    }

    pub(super) fn monitor(&self) -> BorrowedFd<'_> {
        self.netlink.monitor()
    }

    pub(super) fn routes(&self) -> BorrowedFd<'_> {
        self.netlink.requests()
    }

    pub(super) fn name_servers(&mut self) -> &mut NameServers {
        &mut self.name_servers
    }

    /// Sends what waits for room, as far as there is some.
    pub(super) fn flush(&mut self) {
        for listener in &mut self.listeners {
            listener.flush();
        }
        for control in &mut self.controls {
            control.flush();
        }
    }

    /// Lets the listeners go by these settings: reads the certificates, keys and roots of every TLS listener and
    /// its trunks anew, for connections to come; those that are open stay. When a file cannot be used nothing
    /// changes.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub fn reload_certificates(&mut self, settings: &Settings) -> Result<(), PemError> {
        let mut read = Vec::new();
        for (id, listener) in settings.numbered_listeners() {
            read.push(Tls::load(id, listener, &settings.trunks)?);
        }
        let ids = (0_u16..).map(ListenerId);
        for ((id, listener), tls) in ids.zip(&mut self.listeners).zip(read) {
            listener.reconfigure(id, &settings.trunks, tls);
        }
        Ok(())
    }

    /// The names of a trunk's peers lead to these addresses now.
    pub(super) fn locate(&mut self, trunk: TrunkId, addresses: &[SocketAddr]) {
        for listener in &mut self.listeners {
            listener.locate(trunk, addresses);
        }
    }

    /// Whether a listener has something to take that no event tells of.
    pub(super) fn has_arrivals(&self) -> bool {
        self.listeners.iter().any(Listener::has_arrivals)
            || self.controls.iter().any(ControlListener::has_arrivals)
    }

    pub(super) fn listener_count(&self) -> usize {
        self.listeners.len()
    }

    pub(super) fn control_count(&self) -> usize {
        self.controls.len()
    }

    pub(super) fn control_mut(&mut self, index: usize) -> Option<&mut ControlListener> {
        self.controls.get_mut(index)
    }

    pub(super) fn listener_mut(&mut self, index: usize) -> Option<&mut Listener> {
        self.listeners.get_mut(index)
    }

    pub(super) fn resolve(&mut self, query: NextHopQuery) {
        self.neighbours.resolve(query);
    }

    pub(super) fn forget(&mut self, query: &NextHopQuery) {
        self.neighbours.forget(query);
    }

    /// Takes a batch of what the kernel says. Says whether more may wait.
    pub(super) fn read_netlink(&mut self, now: Timestamp) -> bool {
        let more = match self.netlink.read(&mut self.notices) {
            Ok(more) => more,
            Err(error) => {
                tracing::warn!(%error, "netlink");
                false
            }
        };
        for notice in self.notices.drain(..) {
            match notice {
                Notice::Change(change) => self.neighbours.change(change, now),
                Notice::Route(query, route) => self.neighbours.route(query, route, now),
                Notice::BeginAgain => self.neighbours.begin_again(),
                Notice::Complete => self.neighbours.told_everything(now),
                Notice::RoutesLost => self.neighbours.routes_lost(now),
            }
        }
        more
    }

    /// Whether [`Self::on_time`] has something to do whatever the time.
    pub(super) fn has_work(&self) -> bool {
        self.neighbours.has_work()
    }

    pub(super) fn deadline(&self) -> Option<Timestamp> {
        let listeners = self.listeners.iter().map(Listener::deadline);
        let controls = self.controls.iter().map(ControlListener::deadline);
        let neighbours = std::iter::once(self.neighbours.deadline());
        let all = neighbours.chain(listeners).chain(controls);
        all.flatten().min()
    }

    /// Lets connections that have had their time end.
    pub(super) fn end_connections(&mut self, now: Timestamp) {
        for listener in &mut self.listeners {
            listener.on_time(now);
        }
        for control in &mut self.controls {
            control.on_time(now);
        }
    }

    /// Asks and solicits what is due, and gives the answers that have been found.
    pub(super) fn on_time(&mut self, now: Timestamp) -> Vec<(NextHopQuery, NextHop)> {
        self.neighbours.on_time(now);
        let mut answers = Vec::new();
        while let Some(action) = self.neighbours.poll() {
            match action {
                Action::AskRoute(query) => {
                    if let Err(error) = self.netlink.ask_route(query) {
                        tracing::warn!(%error, "RTM_GETROUTE");
                        self.neighbours.routes_lost(now);
                        break;
                    }
                }
                Action::Solicit { query, link } => {
                    let sent = solicit(query.source, query.destination, link);
                    self.unsolicited += u64::from(sent.is_err());
                }
                Action::Answer(query, answer) => {
                    if let NextHop::Unreachable(why) = answer {
                        tracing::info!(destination = %query.destination, %why, "no next hop");
                    }
                    answers.push((query, answer));
                }
            }
        }
        answers
    }
}
