//! Sessions that the tool opens in a running tandem, and closes when it ends, however it ends.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::admin_client::{AdminClient, AdminError, MOST_SESSIONS, Parties, Rtcp, Terms};
use crate::churn::Churner;
use crate::engine::Clock;
use crate::streams::Stream;

/// The parties' first port. Sessions differ by the relay's ports, so that parties' ports may come again.
const FIRST_PORT: u16 = 20_000;
/// Pairs of ports (RTP and RTCP) from there to the last.
const PAIRS: usize = (65_535 - FIRST_PORT as usize).div_ceil(2);

/// Who talks: A's addresses and B's, none of them empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosts {
    /// A's.
    pub a: Vec<IpAddr>,
    /// B's.
    pub b: Vec<IpAddr>,
}

impl Hosts {
    /// The parties of a session of that number.
    pub fn parties(&self, session: usize) -> Parties {
        let party = |addresses: &[IpAddr]| {
            let port = FIRST_PORT as usize + 2 * (session / addresses.len() % PAIRS);
            SocketAddr::new(addresses[session % addresses.len()], port as u16)
        };
        Parties {
            a: party(&self.a),
            b: party(&self.b),
        }
    }
}

/// Why sessions could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The relay could not be asked.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The relay opened fewer.
    #[error("tandem opened {opened} of {wanted} sessions{}", reasons(.refused))]
    Refused {
        /// How many it opened.
        opened: usize,
        /// How many were asked for.
        wanted: usize,
        /// How many it refused, by why.
        refused: BTreeMap<String, u64>,
    },
}

fn reasons(refused: &BTreeMap<String, u64>) -> String {
    let each: Vec<_> = refused
        .iter()
        .map(|(reason, count)| format!("{count} {reason}"))
        .collect();
    match each.is_empty() {
        true => String::new(),
        false => format!("; refused: {}", each.join(", ")),
    }
}

/// Open sessions. Closes them when it goes.
#[derive(Debug)]
pub struct Sessions {
    socket: PathBuf,
    client: AdminClient,
    terms: Terms,
    ids: Vec<u64>,
    streams: Vec<Stream>,
}

impl Sessions {
    /// Opens so many sessions.
    pub fn open(
        socket: &Path,
        terms: Terms,
        hosts: &Hosts,
        wanted: usize,
    ) -> Result<Self, InstallError> {
        let mut sessions = Self {
            socket: socket.to_owned(),
            client: AdminClient::connect(socket)?,
            terms,
            ids: Vec::with_capacity(wanted),
            streams: Vec::with_capacity(2 * wanted),
        };
        let mut next = 0;
        while next < wanted {
            let end = wanted.min(next + MOST_SESSIONS);
            let parties: Vec<_> = (next..end).map(|session| hosts.parties(session)).collect();
            sessions.open_some(&parties, wanted)?;
            next = end;
        }
        Ok(sessions)
    }

    fn open_some(&mut self, parties: &[Parties], wanted: usize) -> Result<(), InstallError> {
        let answer = self.client.open_sessions(&self.terms, parties)?;
        self.ids
            .extend(answer.sessions.iter().map(|session| session.id));
        // Those that were refused are missing, and which they were is not told: all must be there.
        if answer.sessions.len() != parties.len() {
            return Err(InstallError::Refused {
                opened: self.ids.len(),
                wanted,
                refused: answer.refused,
            });
        }
        for (opened, parties) in answer.sessions.iter().zip(parties) {
            self.streams.push(opened.rtp(*parties));
            match self.terms.rtcp {
                Rtcp::None => {}
                Rtcp::Separate => self.streams.push(opened.rtcp(*parties)),
                Rtcp::Mux => self.streams.push(opened.muxed_rtcp(*parties)),
            }
        }
        Ok(())
    }

    /// A churner that opens and closes others of the same kind, `per_second` a second.
    pub fn churner(
        &self,
        hosts: &Hosts,
        per_second: f64,
        clock: Clock,
    ) -> Result<Churner, AdminError> {
        let client = AdminClient::connect(&self.socket)?;
        let terms = Terms {
            rtcp: Rtcp::None,
            ..self.terms.clone()
        };
        let first = self.ids.len();
        Ok(Churner::new(
            client,
            terms,
            hosts.clone(),
            first,
            per_second,
            clock,
        ))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The streams that go through them.
    pub fn streams(&self) -> &[Stream] {
        &self.streams
    }
}

impl Drop for Sessions {
    fn drop(&mut self) {
        if self.ids.is_empty() {
            return;
        }
        let mut closed = self.client.close_sessions(&self.ids);
        if let Err(AdminError::Broken { .. }) = closed {
            closed = AdminClient::connect(&self.socket)
                .and_then(|mut client| client.close_sessions(&self.ids));
        }
        if let Err(error) = closed {
            eprintln!(
                "tandem-load: {} sessions are left open: {error}",
                self.ids.len()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin_client::tests::{relay, terms};
    use std::collections::HashSet;

    fn hosts() -> Hosts {
        let address = |text: &str| text.parse().expect("an address");
        Hosts {
            a: vec![address("10.1.0.2"), address("10.1.0.3")],
            b: vec![address("10.2.0.2")],
        }
    }

    #[test]
    fn parties_take_addresses_and_ports_in_turn() {
        let hosts = hosts();
        let first: Vec<_> = (0..3).map(|n| hosts.parties(n).a.to_string()).collect();
        assert_eq!(
            first,
            ["10.1.0.2:20000", "10.1.0.3:20000", "10.1.0.2:20002"]
        );
        let parties: HashSet<_> = (0..2 * PAIRS).map(|n| hosts.parties(n).a).collect();
        assert_eq!(parties.len(), 2 * PAIRS);
        assert!(
            parties
                .iter()
                .all(|party| party.port() >= FIRST_PORT && party.port() < 65_535)
        );
        assert_eq!(hosts.parties(PAIRS).b, hosts.parties(0).b, "and then again");
    }

    #[test]
    fn sessions_are_closed_when_they_go() {
        let asked = relay(
            &[
                r#"{"ok":{"sessions":[{"id":8,"a":"10.1.0.1:30000","b":"10.2.0.1:40000"}]}}"#,
                r#"{"ok":{"closed":1}}"#,
            ],
            |socket| {
                let sessions = Sessions::open(socket, terms(), &hosts(), 1).expect("opened");
                assert_eq!(sessions.streams().len(), 1);
                assert_eq!(sessions.streams()[0].relay_b.port(), 40_000);
            },
        );
        assert_eq!(asked[1], r#"{"verb":"close_sessions","ids":[8]}"#);
    }

    #[test]
    fn too_few_are_an_error_and_closed_again() {
        let asked = relay(
            &[
                r#"{"ok":{"sessions":[{"id":8,"a":"10.1.0.1:30000","b":"10.2.0.1:40000"}],"refused":{"no_ports":1}}}"#,
                r#"{"ok":{"closed":1}}"#,
            ],
            |socket| {
                let error = Sessions::open(socket, terms(), &hosts(), 2).expect_err("too few");
                let text = "tandem opened 1 of 2 sessions; refused: 1 no_ports";
                assert_eq!(error.to_string(), text);
            },
        );
        assert_eq!(asked[1], r#"{"verb":"close_sessions","ids":[8]}"#);
    }
}
