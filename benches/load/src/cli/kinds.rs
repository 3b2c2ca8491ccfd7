//! Values of the command line that have a form of their own.

use std::fmt;
use std::str::FromStr;

/// A device and its queues: `a0`, or `a0:0,1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceQueues {
    /// The device's name.
    pub name: String,
    /// Its queues, each once; queue 0 when none is named.
    pub queues: Vec<u32>,
}

impl FromStr for DeviceQueues {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, list) = match text.split_once(':') {
            Some((name, list)) => (name, Some(list)),
            None => (text, None),
        };
        if name.is_empty() {
            return Err("a device has a name".to_owned());
        }
        let mut queues = Vec::new();
        for item in list.unwrap_or("0").split(',') {
            let queue = item
                .parse::<u32>()
                .map_err(|_| format!("\"{item}\" is no queue's number"))?;
            if queues.contains(&queue) {
                return Err(format!("queue {queue} is named twice"));
            }
            queues.push(queue);
        }
        Ok(Self {
            name: name.to_owned(),
            queues,
        })
    }
}

/// A MAC address, in transmission order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mac(pub [u8; 6]);

impl FromStr for Mac {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let part = parts.next().filter(|part| part.len() == 2);
            *octet = part
                .and_then(|part| u8::from_str_radix(part, 16).ok())
                .ok_or_else(|| format!("\"{text}\" is no MAC address like 02:00:00:00:00:01"))?;
        }
        match parts.next() {
            None => Ok(Self(octets)),
            Some(_) => Err(format!("\"{text}\" has more than six octets")),
        }
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// A field's expected value, or `any`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// This one.
    Exactly(u8),
    /// Whatever it is.
    Any,
}

impl FromStr for Expect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "any" => Ok(Self::Any),
            number => number
                .parse()
                .map(Self::Exactly)
                .map_err(|_| format!("\"{number}\" is neither `any` nor from 0 to 255")),
        }
    }
}

/// A share: `2%`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Percentage(pub f64);

impl FromStr for Percentage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix('%').unwrap_or(text).trim().parse::<f64>();
        match number {
            Ok(number) if number > 0.0 && number <= 100.0 => Ok(Self(number)),
            _ => Err(format!("\"{text}\" is no percentage above 0% up to 100%")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_and_queues() {
        let parsed: DeviceQueues = "a0:0,3".parse().expect("a device");
        assert_eq!(
            (parsed.name.as_str(), &parsed.queues[..]),
            ("a0", &[0, 3][..])
        );
        assert_eq!("a0".parse::<DeviceQueues>().expect("one").queues, [0]);
        for bad in ["", ":1", "a0:", "a0:x", "a0:1,1", "a0:-1"] {
            assert!(bad.parse::<DeviceQueues>().is_err(), "{bad}");
        }
    }

    #[test]
    fn mac_addresses() {
        let text = "02:00:5e:10:ff:01";
        assert_eq!(text.parse::<Mac>().expect("a MAC").to_string(), text);
        for bad in [
            "",
            "02:00:5e:10:ff",
            "02:00:5e:10:ff:01:02",
            "2:0:5e:10:ff:1",
            "02:00:5e:10:ff:0g",
        ] {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
    }

    #[test]
    fn expectations_and_percentages() {
        assert_eq!("any".parse(), Ok(Expect::Any));
        assert_eq!("64".parse(), Ok(Expect::Exactly(64)));
        assert!("256".parse::<Expect>().is_err());
        assert_eq!("2%".parse(), Ok(Percentage(2.0)));
        for bad in ["0%", "-1%", "101%", "x", "NaN"] {
            assert!(bad.parse::<Percentage>().is_err(), "{bad}");
        }
    }
}
