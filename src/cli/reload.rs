//! `tandem reload`: the running tandem reads its configuration file again.

use std::process::ExitCode;

use super::output::{print, print_json};
use super::{Failure, ReloadArgs};
use crate::admin::protocol::Request;
use crate::admin::views::Reloaded;

pub(super) fn reload(args: &ReloadArgs) -> Result<ExitCode, Failure> {
    let client = args.query.client();
    let answer = client.ask(&Request::Reload {
        dry_run: args.dry_run,
    })?;
    let view: Reloaded = client.understand(answer.clone())?;
    let code = match view.refused {
        Some(_) => ExitCode::FAILURE,
        None => ExitCode::SUCCESS,
    };
    if args.query.json {
        print_json(&answer)?;
        return Ok(code);
    }
    eprint!("{}", view.report);
    print(&render(&view))?;
    if let Some(why) = &view.refused {
        eprintln!("tandem: nothing has changed: {why}");
    }
    Ok(code)
}

fn render(view: &Reloaded) -> String {
    let lines = view.changes.iter().map(|change| format!("{change}\n"));
    let mut text: String = lines.collect();
    let count = view.changes.len();
    let plural = if count == 1 { "" } else { "s" };
    match (view.applied, &view.refused) {
        (true, _) => text.push_str(&format!("{count} change{plural} taken over\n")),
        (false, None) => text.push_str(&format!("{count} change{plural}, nothing taken over\n")),
        (false, Some(_)) => {}
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Change;

    #[test]
    fn what_is_taken_over_is_told_from_what_is_not() {
        let change = Change {
            section: "[sip]".to_owned(),
            key: Some("t1".to_owned()),
            before: None,
            after: Some("\"1s\"".to_owned()),
            needs_restart: false,
        };
        let mut view = Reloaded {
            applied: true,
            changes: vec![change],
            ..Reloaded::default()
        };
        assert_eq!(render(&view), "+ [sip] t1: \"1s\"\n1 change taken over\n");
        view.applied = false;
        assert_eq!(
            render(&view),
            "+ [sip] t1: \"1s\"\n1 change, nothing taken over\n"
        );
        view.refused = Some("no".to_owned());
        assert_eq!(render(&view), "+ [sip] t1: \"1s\"\n");
    }
}
