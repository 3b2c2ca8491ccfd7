//! `tandem completions` and `tandem man`: made from the command line's own definition.

use std::process::ExitCode;

use clap::CommandFactory;
use serde_json::json;

use super::output::{print, print_json};
use super::{Cli, CompletionsArgs, Failure, ManArgs};

pub(super) fn completions(args: &CompletionsArgs) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "tandem", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    match args.json {
        true => print_json(&json!({"shell": args.shell.to_string(), "script": script}))?,
        false => print(&script)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// One page: the whole command, then each verb with its options and examples.
pub(super) fn man(args: &ManArgs) -> Result<ExitCode, Failure> {
    let page = manual().map_err(Failure::Output)?;
    match args.json {
        true => print_json(&json!({ "man": page }))?,
        false => print(&page)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn manual() -> std::io::Result<String> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let mut roff = Vec::new();
    let page = clap_mangen::Man::new(command.clone());
    page.render_title(&mut roff)?;
    page.render_name_section(&mut roff)?;
    page.render_synopsis_section(&mut roff)?;
    page.render_description_section(&mut roff)?;
    render_examples(&page, &mut roff)?;
    for verb in command.get_subcommands() {
        render_verb(verb, "tandem", &mut roff)?;
    }
    page.render_version_section(&mut roff)?;
    Ok(String::from_utf8_lossy(&roff).into_owned())
}

fn render_verb(verb: &clap::Command, parent: &str, roff: &mut Vec<u8>) -> std::io::Result<()> {
    let name = format!("{parent} {}", verb.get_name());
    roff.extend(format!(".SH {}\n", name.to_uppercase()).bytes());
    let page = clap_mangen::Man::new(verb.clone());
    // Each part comes with a header of its own (.SH), which is one level too high here.
    let mut part = Vec::new();
    page.render_synopsis_section(&mut part)?;
    page.render_description_section(&mut part)?;
    page.render_options_section(&mut part)?;
    render_examples(&page, &mut part)?;
    let part = String::from_utf8_lossy(&part).replace(".SH ", ".SS ");
    roff.extend(part.bytes());
    for verb in verb.get_subcommands() {
        if verb.get_name() != "help" {
            render_verb(verb, &name, roff)?;
        }
    }
    Ok(())
}

/// The text after the options, which is examples first; its lines are kept as they are.
fn render_examples(page: &clap_mangen::Man, roff: &mut Vec<u8>) -> std::io::Result<()> {
    let mut extra = Vec::new();
    page.render_extra_section(&mut extra)?;
    let extra = String::from_utf8_lossy(&extra).replace(".SH EXTRA\n", ".SH EXAMPLES\n.nf\n");
    roff.extend(extra.bytes());
    roff.extend(b".fi\n");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_names_every_verb() {
        let manual = manual().expect("writing to memory");
        for verb in [
            "RUN",
            "CHECK",
            "STATUS",
            "CALLS",
            "CALLS LIST",
            "CALLS SHOW",
            "CALLS HANGUP",
            "WORKERS",
            "TOP",
            "FLOWS",
            "COMPLETIONS",
            "MAN",
        ] {
            let header = format!(".SH TANDEM {verb}\n");
            assert!(manual.contains(&header), "{header:?} is missing");
        }
        assert!(!manual.contains("TANDEM HELP"));
    }
}
