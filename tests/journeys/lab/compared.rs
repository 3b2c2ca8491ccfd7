//! What two relays say to the same requests, compared: but for the ports that each takes, moments, and what RFC 8866 leaves free,
//! the order of the attributes within a section.

use std::collections::BTreeMap;

use serde_json::Value;

/// Lines of one part of one reply that only one of the two has.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    /// Which exchange.
    pub(crate) exchange: String,
    /// Which reply, and which part of it: `reply 2, media 1`.
    pub(crate) place: String,
    /// What only the model says.
    pub(crate) theirs: Vec<String>,
    /// What only the other says.
    pub(crate) ours: Vec<String>,
}

/// All places where replies to one exchange differ.
pub(crate) fn differences(exchange: &str, theirs: &[Value], ours: &[Value]) -> Vec<Difference> {
    let parts = |replies: &[Value]| {
        let mut ports = Ports::default();
        let replies = replies.iter().enumerate();
        replies
            .flat_map(|(number, reply)| {
                let parts = ports.parts(reply).into_iter();
                parts.map(move |(part, lines)| (format!("reply {}, {part}", number + 1), lines))
            })
            .collect::<BTreeMap<String, Vec<String>>>()
    };
    let (mut theirs, mut ours) = (parts(theirs), parts(ours));
    let mut places: Vec<String> = theirs.keys().chain(ours.keys()).cloned().collect();
    places.sort();
    places.dedup();
    places
        .into_iter()
        .filter_map(|place| {
            let mut theirs = theirs.remove(&place).unwrap_or_default();
            let mut ours = ours.remove(&place).unwrap_or_default();
            theirs.retain(|line| match ours.iter().position(|other| other == line) {
                Some(same) => {
                    ours.remove(same);
                    false
                }
                None => true,
            });
            (!theirs.is_empty() || !ours.is_empty()).then(|| Difference {
                exchange: exchange.to_owned(),
                place,
                theirs,
                ours,
            })
        })
        .collect()
}

/// The ports of one relay by the order in which it has named them, so that one that stays can be told from one that changes.
#[derive(Debug, Default)]
struct Ports {
    named: BTreeMap<(String, u64), String>,
}

impl Ports {
    /// The lines of a reply, by its parts.
    fn parts(&mut self, reply: &Value) -> Vec<(String, Vec<String>)> {
        let mut parts = Vec::new();
        if let Some(sdp) = reply["sdp"].as_str() {
            parts.extend(self.description(sdp));
        }
        let mut rest = reply.clone();
        if let Some(entries) = rest.as_object_mut() {
            entries.remove("sdp");
        }
        let mut lines = Vec::new();
        self.flat("", &rest, &mut lines);
        parts.push(("dictionary".to_owned(), lines));
        parts
    }

    fn description(&mut self, sdp: &str) -> Vec<(String, Vec<String>)> {
        let mut parts = vec![("session".to_owned(), Vec::new())];
        let mut address = String::new();
        let mut orders = vec![String::new()];
        for section in sections(sdp) {
            let connection = section.iter().find_map(|line| line.strip_prefix("c="));
            let here = connection.unwrap_or(&address).to_owned();
            let mut port = 0;
            for line in &section {
                if line.starts_with("m=") {
                    parts.push((format!("media {}", parts.len()), Vec::new()));
                    orders.push(String::new());
                }
                let last = parts.len() - 1;
                let line = self.line(line, &here, &mut port);
                match line.starts_with("a=") {
                    true => {}
                    false => orders[last].push_str(line.get(..1).unwrap_or("?")),
                }
                parts[last].1.push(line);
            }
            if parts.len() == 1 {
                address = here;
            }
        }
        for (part, order) in parts.iter_mut().zip(orders) {
            part.1.push(format!("order {order}"));
        }
        let ends = match (sdp.contains("\r\n"), sdp.replace("\r\n", "").contains('\n')) {
            (true, false) => "CRLF",
            (false, _) => "LF",
            (true, true) => "mixed",
        };
        let ended = ["unended", "ended"][usize::from(sdp.ends_with('\n'))];
        parts[0].1.push(format!("lines {ends} {ended}"));
        parts
    }

    /// A line of a description, with its port named rather than numbered.
    fn line(&mut self, line: &str, address: &str, port: &mut u64) -> String {
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        if line.starts_with("m=") && words.len() > 1 {
            if let Ok(number) = words[1].parse() {
                *port = number;
                words[1] = self.named(address, number);
            }
        } else if let Some(number) = words[0]
            .strip_prefix("a=rtcp:")
            .and_then(|number| number.parse::<u64>().ok())
        {
            let name = match number.checked_sub(*port) {
                Some(0) => self.named(address, *port),
                Some(1) if *port > 0 => format!("{}+1", self.named(address, *port)),
                _ => self.named(address, number),
            };
            words[0] = format!("a=rtcp:{name}");
        }
        words.join(" ")
    }

    fn named(&mut self, address: &str, port: u64) -> String {
        if port == 0 {
            return "0".to_owned();
        }
        let address = address.rsplit(' ').next().unwrap_or_default().to_owned();
        let below = (address.clone(), port.wrapping_sub(1));
        if let Some(name) = self.named.get(&below)
            && !self.named.contains_key(&(address.clone(), port))
        {
            return format!("{name}+1");
        }
        let next = format!("P{}", self.named.len());
        self.named.entry((address, port)).or_insert(next).clone()
    }

    /// `path = value` for each value of a dictionary, moments apart.
    fn flat(&mut self, path: &str, value: &Value, lines: &mut Vec<String>) {
        match value {
            Value::Object(entries) => {
                let address = entries.get("local address").and_then(Value::as_str);
                if entries.is_empty() {
                    lines.push(format!("{path} = {{}}"));
                }
                for (key, value) in entries {
                    let path = format!("{path}/{key}");
                    match (key.as_str(), value.as_u64()) {
                        ("created" | "created_us" | "last signal" | "last packet", Some(_)) => {
                            lines.push(format!("{path} = a moment"));
                        }
                        ("local port", Some(port)) => {
                            let name = self.named(address.unwrap_or_default(), port);
                            lines.push(format!("{path} = {name}"));
                        }
                        _ => self.flat(&path, value, lines),
                    }
                }
            }
            Value::Array(values) if values.iter().all(Value::is_string) => {
                let mut words: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
                words.sort_unstable();
                lines.push(format!("{path} = {words:?}"));
            }
            Value::Array(values) => {
                for (number, value) in values.iter().enumerate() {
                    self.flat(&format!("{path}/{}", number + 1), value, lines);
                }
            }
            value => lines.push(format!("{path} = {value}")),
        }
    }
}

/// The lines of the session, then those of each stream.
fn sections(sdp: &str) -> Vec<Vec<&str>> {
    let mut sections = vec![Vec::new()];
    for line in sdp.lines() {
        if line.starts_with("m=") {
            sections.push(Vec::new());
        }
        if let Some(section) = sections.last_mut() {
            section.push(line);
        }
    }
    sections
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ONE: &str =
        "v=0\r\nc=IN IP4 10.2.0.1\r\nm=audio 30000 RTP/AVP 8\r\na=sendrecv\r\na=rtcp:30001\r\n";

    fn both(one: &str, other: &str) -> Vec<Difference> {
        let reply = |sdp: &str| [json!({"result": "ok", "sdp": sdp})];
        differences("x", &reply(one), &reply(other))
    }

    #[test]
    fn other_ports_and_another_order_of_attributes_are_no_difference() {
        let other =
            "v=0\r\nc=IN IP4 10.2.0.1\r\nm=audio 20010 RTP/AVP 8\r\na=rtcp:20011\r\na=sendrecv\r\n";
        assert_eq!(both(ONE, other), []);
    }

    #[test]
    fn whatever_else_differs_is_found() {
        for (piece, instead) in [
            ("a=sendrecv", "a=sendonly"),
            ("30001", "30000"),
            ("30001", "30007"),
            ("30000", "0"),
            ("10.2.0.1", "10.1.0.1"),
            ("RTP/AVP 8", "RTP/AVP 0"),
            ("a=sendrecv\r\n", ""),
            ("a=sendrecv\r\n", "a=sendrecv\r\na=sendrecv\r\n"),
            (
                "v=0\r\nc=IN IP4 10.2.0.1\r\n",
                "c=IN IP4 10.2.0.1\r\nv=0\r\n",
            ),
            ("\r\n", "\n"),
        ] {
            let found = both(ONE, &ONE.replace(piece, instead));
            assert!(!found.is_empty(), "{piece} and {instead:?}");
        }
    }

    #[test]
    fn a_port_that_changes_is_told_from_one_that_stays() {
        let moved = ONE.replace("3000", "3010");
        let replies = |second: &str| [json!({"sdp": ONE}), json!({"sdp": second})];
        assert!(differences("x", &replies(ONE), &replies(ONE)).is_empty());
        assert!(differences("x", &replies(&moved), &replies(&moved)).is_empty());
        assert!(!differences("x", &replies(ONE), &replies(&moved)).is_empty());
    }
}
