//! How devices choose queues, as the admin socket's view. Pure: a report in, views out.

use dataplane::report::{DeviceReport, FamilyReport, Report};

use crate::admin::views::{Steering, SteeringFamily};

/// Each device, by family.
pub(crate) fn steering(report: &Report) -> Vec<Steering> {
    let device = |device: &DeviceReport| Steering {
        device: device.name.clone(),
        wanted: device.steering.name().to_owned(),
        families: device.families.iter().map(family).collect(),
    };
    report.devices.iter().map(device).collect()
}

fn family(family: &FamilyReport) -> SteeringFamily {
    let seen = family.seen;
    let share = seen.at_home as f64 / seen.packets as f64;
    SteeringFamily {
        family: family.name.to_owned(),
        hash_fields: family.fields.clone(),
        hash_fields_before: family.before.clone(),
        mapping: family.knowledge.name().to_owned(),
        why: family.why.clone(),
        flows_seen: seen.flows,
        flows_split: seen.split,
        home_share: (seen.packets > 0).then_some(share),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::tests::report;
    use dataplane::steering::arrivals::{Knowledge, Seen};

    #[test]
    fn what_is_known_of_a_device_is_shown_with_its_share_of_packets_at_home() {
        let mut report = report();
        let family = |packets, at_home| FamilyReport {
            name: "udp4",
            fields: Some("dn".to_owned()),
            before: Some("sdfn".to_owned()),
            knowledge: Knowledge::Confirmed,
            why: None,
            seen: Seen {
                flows: 40,
                split: 2,
                packets,
                at_home,
            },
        };
        report.devices[0].families = vec![family(1_000, 990), family(0, 0)];
        let view = steering(&report);
        assert_eq!(
            (view[0].device.as_str(), view[0].wanted.as_str()),
            ("in0", "best")
        );
        let seen = &view[0].families[0];
        assert_eq!(
            (seen.mapping.as_str(), seen.home_share),
            ("confirmed", Some(0.99))
        );
        assert_eq!((seen.flows_seen, seen.flows_split), (40, 2));
        assert_eq!(view[0].families[1].home_share, None);
        assert_eq!(view[1].families, []);
    }
}
