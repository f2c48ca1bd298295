//! Completions and man pages: what the parser knows, written for shells and for `man`.

use std::path::Path;

use super::{Outcome, Stop};
use crate::{
    args::{Cli, CompletionsArgs, ManArgs},
    exit::ExitCode,
    failure::Failure,
    output::Output,
};

/// `leasehold completions SHELL`.
pub(super) fn completions(args: &CompletionsArgs, output: &mut Output) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::parser(), "leasehold", &mut script);
    output.show_raw(&script)?;
    Ok(ExitCode::Done)
}

/// `leasehold man [--output FOLDER]`.
pub(super) fn man(args: &ManArgs, output: &mut Output) -> Outcome {
    match &args.output {
        Some(folder) => {
            let mut parser = Cli::parser();
            parser.build();
            write_pages(&parser, folder).map_err(|error| Failure::file("write man pages into", folder, &error))?;
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::parser()).render(&mut page).map_err(Stop::Output)?;
            output.show_raw(&page)?;
        }
    }
    Ok(ExitCode::Done)
}

fn write_pages(parser: &clap::Command, folder: &Path) -> std::io::Result<()> {
    clap_mangen::generate_to(parser.clone(), folder)
}
