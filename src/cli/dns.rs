//! `tandem dns`: where names lead.

use std::process::ExitCode;

use super::duration::spell_seconds;
use super::output::{print, print_json};
use super::table::{Columns, or_dash};
use super::{Failure, Query};
use crate::admin::protocol::Request;
use crate::admin::views::{Dns, DnsRecord};

pub(super) fn show(query: &Query) -> Result<ExitCode, Failure> {
    let client = query.client();
    let answer = client.ask(&Request::Dns {})?;
    if query.json {
        print_json(&answer)?;
    } else {
        print(&render(&client.understand(answer)?))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn render(view: &Dns) -> String {
    let servers: Vec<_> = view.servers.iter().map(ToString::to_string).collect();
    let servers = match servers.is_empty() {
        true => "no name servers".to_owned(),
        false => format!("name servers: {}", servers.join(", ")),
    };
    [servers + "\n", names(view), records(view)].join("\n")
}

fn names(view: &Dns) -> String {
    let mut columns = Columns::new(&["trunk", "name", "state", ">age", "places"]);
    for name in &view.names {
        let places = (!name.places.is_empty()).then(|| name.places.join(", "));
        columns.row([
            name.trunk.clone(),
            name.name.clone(),
            name.state.clone(),
            or_dash(name.age_seconds.map(spell_seconds)),
            or_dash(places),
        ]);
    }
    columns.render()
}

fn records(view: &Dns) -> String {
    let titles = [
        "name",
        "type",
        "state",
        ">ttl",
        ">age",
        ">failures",
        "records",
    ];
    let mut columns = Columns::new(&titles);
    for record in &view.records {
        columns.row([
            record.name.clone(),
            record.kind.clone(),
            record.state.clone(),
            or_dash(record.ttl_seconds.map(spell_seconds)),
            or_dash(record.age_seconds.map(spell_seconds)),
            record.failures.to_string(),
            or_dash(said(record)),
        ]);
    }
    columns.render()
}

/// The records; why there are none newer.
fn said(record: &DnsRecord) -> Option<String> {
    let values = (!record.values.is_empty()).then(|| record.values.join("; "));
    match (values, &record.failure) {
        (Some(values), Some(why)) => Some(format!("{values} ({why})")),
        (None, Some(why)) => Some(why.clone()),
        (values, None) => values,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::views::DnsName;

    #[test]
    fn names_and_records_are_tables() {
        let view = Dns {
            servers: vec!["192.0.2.53:53".parse().expect("an address")],
            names: vec![DnsName {
                trunk: "carrier".to_owned(),
                name: "sip.example".to_owned(),
                state: "stale".to_owned(),
                age_seconds: Some(90.0),
                places: vec!["udp 192.0.2.1:5060".to_owned()],
            }],
            records: vec![DnsRecord {
                name: "_sip._udp.sip.example".to_owned(),
                kind: "SRV".to_owned(),
                values: vec!["10 0 5060 a.example".to_owned()],
                state: "stale".to_owned(),
                ttl_seconds: Some(60.0),
                age_seconds: Some(90.0),
                failures: 2,
                failure: Some("no answer in time".to_owned()),
            }],
        };
        let text = render(&view);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "name servers: 192.0.2.53:53");
        assert_eq!(
            lines[2..4],
            [
                "TRUNK    NAME         STATE     AGE  PLACES",
                "carrier  sip.example  stale  1m 30s  udp 192.0.2.1:5060",
            ]
        );
        let record = "_sip._udp.sip.example  SRV   stale  1m 00s  1m 30s         2  10 0 5060 a.example \
                      (no answer in time)";
        assert_eq!(lines[6], record);
    }
}
