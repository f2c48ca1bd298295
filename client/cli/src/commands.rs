//! From arguments to calls to documents: one file for each family of commands.

use std::io;

use crate::{
    args::{Cli, Command, usage::UsageCommand},
    exit::ExitCode,
    failure::Failure,
    notice::{self, Notice},
    output::Output,
    render::RefusalDocument,
    session::Session,
};

mod assign;
mod audit;
mod check_in;
mod entities;
mod explain;
mod leases;
mod licenses;
mod pools;
mod shell;
mod subjects_file;
mod usage;
mod usage_files;

/// Why a command stopped short.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It failed, and the failure is still to be shown.
    Failed(Failure),
    /// Its result could not be written.
    Output(io::Error),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// How a command ended.
pub(crate) type Outcome = Result<ExitCode, Stop>;

/// Runs the command that was parsed. What is to be said on every answer is left in `notice`.
pub(crate) async fn run(cli: Cli, output: &mut Output, notice: &mut Option<Notice>) -> Outcome {
    let globals = cli.globals;
    match &cli.command {
        Command::Completions(args) => return shell::completions(args, output),
        Command::Man(args) => return shell::man(args, output),
        // No daemon is asked.
        Command::Usage(UsageCommand::Verify(args)) if !args.files.is_empty() => {
            return usage_files::verify(args, output);
        }
        _ => {}
    }
    let session = Session::open(&globals).await?;
    // These show it themselves.
    let shows_standing = matches!(cli.command, Command::Status | Command::Standing(_) | Command::CheckIn(_));
    let outcome = ask(cli.command, &session, output).await;
    if !shows_standing && notice::is_due(&outcome) {
        *notice = notice::ask(&session).await;
    }
    outcome
}

async fn ask(command: Command, session: &Session, output: &mut Output) -> Outcome {
    match command {
        Command::Completions(_) | Command::Man(_) => Ok(ExitCode::Done),
        Command::Status => licenses::status(session, output).await,
        Command::HostId => licenses::host_id(session, output).await,
        Command::Request(args) => licenses::request(args, session, output).await,
        Command::Load(args) => licenses::load(args, session, output).await,
        Command::Licenses(args) => licenses::list(args, session, output).await,
        Command::Unload(args) => licenses::unload(args, session, output).await,
        Command::Promote(args) => licenses::promote(args, session, output).await,
        Command::StandBy(args) => licenses::stand_by(args, session, output).await,
        Command::Pools(args) => pools::list(args, session, output).await,
        Command::Pool(command) => pools::rule(command, session, output).await,
        Command::Share(command) => pools::share(command, session, output).await,
        Command::User(command) => entities::user(command, session, output).await,
        Command::Station(command) => entities::station(command, session, output).await,
        Command::Workgroup(command) => entities::workgroup(command, session, output).await,
        Command::Org(command) => entities::organization(command, session, output).await,
        Command::Assign(args) => assign::assign(args, session, output).await,
        Command::Unassign(args) => assign::unassign(args, session, output).await,
        Command::Assignments(args) => assign::list(args, session, output).await,
        Command::Leases(args) => leases::list(args, session, output).await,
        Command::Revoke(args) => leases::revoke(args, session, output).await,
        Command::Explain(args) => explain::explain(args, session, output).await,
        Command::Denials(args) => audit::denials(args, session, output).await,
        Command::Compliance => audit::compliance(session, output).await,
        Command::Usage(command) => usage::usage(command, session, output).await,
        Command::Doctor => usage::doctor(session, output).await,
        Command::Standing(args) => check_in::standing(args, session, output).await,
        Command::CheckIn(args) => check_in::check_in(args, session, output).await,
        Command::Audit(args) => audit::audit(args, session, output).await,
        Command::Db(command) => audit::database(command, session, output).await,
    }
}

/// The text of an optional argument; empty where it was not given, as on the wire.
fn text(value: Option<&crate::args::values::Name>) -> String {
    value.map_or_else(String::new, ToString::to_string)
}

/// The failure of a command of whose parts some were refused, after each refusal was told with its part: what is left
/// to say is how many, and what to do about the first. A single part's refusal is the failure itself.
fn told_refusals(refusals: Vec<RefusalDocument>, of: usize, all_or_nothing: bool, exit: ExitCode) -> Failure {
    let refused = refusals.len();
    let Some(first) = refusals.into_iter().next() else {
        return Failure::new(exit, "nothing was done");
    };
    let message = match (of, all_or_nothing) {
        (1, _) => first.message,
        (_, true) => format!(
            "nothing was changed: {refused} of {of} cannot be done, and it is all or nothing without --best-effort"
        ),
        (_, false) if refused == of => format!("none of the {of} could be done"),
        (_, false) => format!("{refused} of {of} could not be done"),
    };
    Failure {
        exit,
        reason: first.reason,
        message,
        facts: first.facts,
        hint: first.hint,
        retry_after_ms: first.retry_after_ms,
    }
}

/// How a command ends of whose parts some were done and some refused.
fn mixed(done: u64, refusals: &[u8]) -> ExitCode {
    match refusals {
        [] => ExitCode::Done,
        _ if done > 0 => ExitCode::PartlyDone,
        // All for one reason: that reason's code.
        [first, rest @ ..] if rest.iter().all(|other| other == first) => {
            ExitCode::ALL.into_iter().find(|code| code.number() == *first).unwrap_or(ExitCode::Refused)
        }
        _ => ExitCode::Refused,
    }
}
