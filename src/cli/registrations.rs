//! `tandem registrations`: where we are registered, and where not.

use std::process::ExitCode;

use super::duration::spell_seconds;
use super::output::{print, print_json};
use super::table::{Columns, or_dash};
use super::{Failure, Query};
use crate::admin::protocol::Request;
use crate::admin::views::Registrations;

pub(super) fn show(query: &Query) -> Result<ExitCode, Failure> {
    let client = query.client();
    let answer = client.ask(&Request::Registrations {})?;
    if query.json {
        print_json(&answer)?;
    } else {
        print(&render(&client.understand(answer)?))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn render(view: &Registrations) -> String {
    let mut columns = Columns::new(&[
        "trunk",
        "address",
        "registrar",
        "state",
        ">expires",
        ">next",
        ">failure",
        ">sent",
        ">accepted",
        ">failed",
    ]);
    for one in &view.registrations {
        columns.row([
            one.trunk.clone(),
            one.aor.clone(),
            or_dash(one.registrar.clone()),
            one.state.clone(),
            or_dash(one.expires_seconds.map(spell_seconds)),
            or_dash(one.next_seconds.map(spell_seconds)),
            or_dash(one.last_failure.map(|code| code.to_string())),
            one.sent.to_string(),
            one.accepted.to_string(),
            one.failed.to_string(),
        ]);
    }
    columns.render() + &format!("{} registrations\n", view.registrations.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::views::Registration;

    #[test]
    fn a_line_says_how_far_it_has_come() {
        let view = Registrations {
            registrations: vec![Registration {
                trunk: "carrier".into(),
                aor: "sip:+4930@carrier.example".into(),
                state: "backoff".into(),
                next_seconds: Some(42.0),
                last_failure: Some(403),
                ..Registration::default()
            }],
        };
        let text = render(&view);
        for part in [
            "carrier",
            "sip:+4930@carrier.example",
            "backoff",
            "403",
            "1 registrations",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
