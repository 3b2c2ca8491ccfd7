//! What tandem says of itself, read from its CLI's JSON by field name as an operator's script would.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::relay::Relay;

/// `tandem workers --json`.
#[derive(Debug)]
pub(crate) struct Workers(Value);

impl Relay {
    /// The workers now.
    #[track_caller]
    pub(crate) fn workers(&self) -> Workers {
        Workers(self.json(&["workers"]))
    }

    /// What is held now: `calls`, `dialogs`, `transactions`, `flows`, `provisioned`, `ports_in_use` or
    /// `ports_resting`.
    #[track_caller]
    fn gauge(&self, name: &str) -> u64 {
        let path = match name {
            "calls" => "/calls/active",
            "dialogs" => "/sip/dialogs",
            "transactions" => "/sip/transactions",
            "flows" => "/media/flows",
            "provisioned" => "/media/provisioned",
            "ports_in_use" => "/media/ports_in_use",
            "ports_resting" => "/media/ports_resting",
            _ => panic!("no gauge {name}"),
        };
        number(&self.json(&["status"]), path)
    }

    /// Waits until a gauge has this value.
    #[track_caller]
    pub(crate) fn expect_gauge(&self, name: &str, value: u64, patience: Duration) {
        let end = Instant::now() + patience;
        loop {
            let now = self.gauge(name);
            if now == value {
                return;
            }
            assert!(
                Instant::now() < end,
                "{name} is {now}, not {value}, after {patience:?}: {}",
                self.json(&["status"])
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Calls since the start: `offered` or `answered`.
    #[track_caller]
    pub(crate) fn calls(&self, name: &str) -> u64 {
        number(&self.json(&["status"]), &format!("/calls/{name}"))
    }

    /// Calls that ended unanswered with this code, and requests refused with it.
    #[track_caller]
    pub(crate) fn refused(&self, code: u16) -> u64 {
        let status = self.json(&["status"]);
        count(&status, &format!("/calls/failed/{code}"))
            + count(&status, &format!("/sip/requests_refused/{code}"))
    }

    /// Answered calls that ended for reasons whose name holds this.
    #[track_caller]
    pub(crate) fn ended(&self, why: &str) -> u64 {
        let status = self.json(&["status"]);
        let reasons = status.pointer("/calls/ended").and_then(Value::as_object);
        reasons
            .into_iter()
            .flatten()
            .filter(|(name, _)| name.contains(why))
            .filter_map(|(_, count)| count.as_u64())
            .sum()
    }

    /// Datagrams at the SIP ports that were no SIP message.
    #[track_caller]
    pub(crate) fn parse_errors(&self) -> u64 {
        sum(&self.json(&["status"]), "/sip/parse_errors")
    }

    /// The number of the only call that is up.
    #[track_caller]
    pub(crate) fn only_call(&self) -> String {
        let list = self.json(&["calls"]);
        assert_eq!(number(&list, "/total"), 1, "{list}");
        number(&list, "/calls/0/id").to_string()
    }
}

impl Workers {
    /// Frames that all received through AF_XDP.
    pub(crate) fn received(&self) -> u64 {
        number(&self.0, "/totals/rx_packets")
    }

    /// Frames that one received.
    pub(crate) fn received_by(&self, worker: usize) -> u64 {
        number(&self.0, &format!("/workers/{worker}/rx_packets"))
    }

    /// Frames received on one queue of a device.
    pub(crate) fn received_on(&self, device: &str, queue: u64) -> u64 {
        self.each()
            .filter_map(|worker| worker.pointer("/sockets")?.as_array())
            .flatten()
            .filter(|socket| {
                socket.get("device").and_then(Value::as_str) == Some(device)
                    && socket.get("queue").and_then(Value::as_u64) == Some(queue)
            })
            .map(|socket| number(socket, "/rx_packets"))
            .sum()
    }

    /// Frames dropped for any reason.
    pub(crate) fn dropped(&self) -> u64 {
        number(&self.0, "/totals/dropped")
    }

    /// Frames dropped for one reason.
    pub(crate) fn dropped_for(&self, reason: &str) -> u64 {
        count(&self.0, &format!("/totals/drops/{reason}"))
    }

    /// Frames that the kernel dropped before a worker saw them, by a counter of `xdp_statistics`.
    pub(crate) fn kernel_drops(&self, counter: &str) -> u64 {
        self.each()
            .filter_map(|worker| worker.pointer("/sockets")?.as_array())
            .flatten()
            .map(|socket| number(socket, &format!("/xdp_statistics/{counter}")))
            .sum()
    }

    /// Flows at all workers.
    pub(crate) fn flows(&self) -> u64 {
        self.each().map(|worker| number(worker, "/flows")).sum()
    }

    /// UMEM frames of all workers that are in no ring.
    pub(crate) fn free_frames(&self) -> u64 {
        self.each()
            .map(|worker| number(worker, "/free_frames"))
            .sum()
    }

    /// Commands that a full mailbox turned away.
    pub(crate) fn commands_refused(&self) -> u64 {
        self.each()
            .map(|worker| number(worker, "/commands_refused"))
            .sum()
    }

    fn each(&self) -> impl Iterator<Item = &Value> {
        let workers = self.0.pointer("/workers").and_then(Value::as_array);
        workers.into_iter().flatten()
    }
}

/// A number that must be there.
#[track_caller]
fn number(value: &Value, path: &str) -> u64 {
    value
        .pointer(path)
        .and_then(Value::as_u64)
        .unwrap_or_else(|| panic!("no number at {path} of {value}"))
}

/// A count by name: left out where nothing was counted.
fn count(value: &Value, path: &str) -> u64 {
    value.pointer(path).and_then(Value::as_u64).unwrap_or(0)
}

/// All counts of an object.
fn sum(value: &Value, path: &str) -> u64 {
    let counts = value.pointer(path).and_then(Value::as_object);
    counts
        .into_iter()
        .flat_map(|counts| counts.values())
        .filter_map(Value::as_u64)
        .sum()
}
