//! What may be typed and what may not, without a daemon.

use clap::Parser;
use leasehold_cli::args::{Cli, Command, subjects::UserCommand};

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once("leasehold").chain(line.split_whitespace()))
}

#[test]
fn the_parser_is_sound() {
    Cli::parser().debug_assert();
}

#[test]
fn command_lines_that_are_good() {
    for line in [
        "status",
        "status --json --server http://127.0.0.1:7127",
        "--server unix:///tmp/x.sock --timeout 5m pools KEY --organization north",
        "request -o note.txt --force --product PureConnect",
        "load acme.i3lic --check",
        "licenses --all",
        "unload 7f3c --reason moved",
        "pool set K --idle 15m --always",
        "pool set K --idle none",
        "share set K --organization north --reserve 3 --limit none",
        "share rm K --application Portal",
        "user add a --method concurrent --workgroups A,B --interaction-types none --organization none",
        "station set s --enabled false --kind dynamic-remote --owner a",
        "workgroup add w --service-id 41 --interaction-types call,chat",
        "org rm a b c",
        "assign K1 K2 --user a b --station s t --best-effort --dry-run --until 2026-12-31",
        "assign K1 --users-from - --stations-from list.txt",
        "unassign K1 --station s",
        "leases --user a --station s --pool P --application X --holder name:acd",
        "revoke 1 2 3 --reason forgotten",
        "revoke --station s --reason forgotten",
        "explain a --remote +49-421-555 --keys K1,K2",
        "explain --for-station wall --keys K",
        "denials --since 2026-11-21 --pool P --user a",
        "audit --since 30d",
        "audit verify",
        "db snapshot monday",
        "usage list --json",
        "usage send",
        "usage verify",
        "usage verify usage/ bundle.tar --whole",
        "usage export --period 2026-11 -o b.tar --force",
        "usage export --period 2026-11 --check",
        "usage receipt a b",
        "doctor",
        "standing",
        "standing --at 2026-12-20",
        "standing --offline 6w --json",
        "check-in",
        "check-in --license 7f3c",
        "check-in --request site.check-in --license 7f3c",
        "check-in --answer site.answer",
        "completions zsh",
    ] {
        if let Err(error) = parse(line) {
            panic!("{line}: {error}");
        }
    }
}

#[test]
fn command_lines_that_are_refused_say_why() {
    for (line, why) in [
        ("status --server tcp://host", "must be unix:///"),
        ("status --server http://10.0.0.1:7127", "only this machine is reached"),
        ("status --timeout 0s", "a time to wait is"),
        ("revoke", "required"),
        ("revoke 0 --reason x", "0 is not in 1.."),
        ("revoke 1", "--reason"),
        ("revoke 1 --user a --reason x", "cannot be used with"),
        ("revoke --user a --station s --reason x", "cannot be used with"),
        ("assign K", "required"),
        ("assign --user a", "required"),
        ("assign K --user a --until soon", "an end is a local date"),
        ("pool set K", "--idle"),
        ("pool set K --idle 10s", "an idle time is 1m to 24h"),
        ("share set K --reserve 1", "required"),
        ("share set K --organization a --application b --reserve 1", "cannot be used with"),
        ("share set K --organization a", "--reserve"),
        ("user add", "required"),
        ("user add a --method both", "possible values: assignable, concurrent"),
        ("explain", "required"),
        ("explain a --station s --remote 1", "cannot be used with"),
        ("explain a --for-station s", "cannot be used with"),
        ("denials --since tomorrow", "a time is a distance back"),
        ("audit verify --since 2d", "unexpected argument"),
        ("usage verify --whole", "required"),
        ("usage export", "--period"),
        ("usage export --period 2026-13", "name the month in which it ends, such as 2026-11"),
        ("usage export --period 2026-11 --check --force", "cannot be used with"),
        ("usage receipt", "required"),
        ("standing --at soon", "an end is a local date"),
        ("standing --offline 2026-12-20", "so long a time is written 20d"),
        ("standing --at 2026-12-20 --offline 2d", "cannot be used with"),
        ("check-in --request a --answer b", "cannot be used with"),
        ("check-in --answer b --license x", "cannot be used with"),
        ("frobnicate", "unrecognized subcommand"),
    ] {
        match parse(line) {
            Ok(cli) => panic!("{line} is taken as {cli:?}"),
            Err(error) => {
                let text = error.to_string();
                assert!(text.contains(why), "{line}: {text}");
            }
        }
    }
    let error = Cli::try_parse_from(["leasehold", "user", "add", "a\u{1b}[2J"]).unwrap_err();
    assert!(error.to_string().contains("control characters"));
    let error = Cli::try_parse_from(["leasehold", "promote", "--reason", "  "]).unwrap_err();
    assert!(error.to_string().contains("a reason is needed"));
}

#[test]
fn what_is_not_typed_has_its_default() {
    let cli = parse("user set a --workgroups none").unwrap();
    assert_eq!(cli.globals.timeout, std::time::Duration::from_secs(30));
    let Command::User(UserCommand::Set { fields, .. }) = cli.command else { panic!("another command") };
    assert_eq!(fields.method, None);
    assert_eq!(fields.workgroups.map(|names| names.wire()), Some(Vec::new()));
}

#[test]
fn every_command_says_what_it_does_and_help_has_the_exit_codes() {
    fn check(command: &clap::Command) {
        assert!(command.get_about().is_some(), "{} says nothing", command.get_name());
        for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
            assert!(argument.get_help().is_some(), "{} {} says nothing", command.get_name(), argument.get_id());
        }
        command.get_subcommands().for_each(check);
    }
    let parser = Cli::parser();
    check(&parser);
    let help = parser.clone().render_help().to_string();
    for code in leasehold_cli::exit::ExitCode::ALL {
        assert!(help.contains(&format!("{:>2}  {}", code.number(), code.meaning())), "{code:?}");
    }
}
