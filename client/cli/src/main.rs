//! The `leasehold` program: hands the process's arguments, streams and clock to the library, and its exit code back.

use leasehold_cli::{Surroundings, clock::Clock, run};

fn main() -> std::process::ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            anstream::eprintln!("error: cannot start: {error}");
            return leasehold_cli::exit::ExitCode::Unexpected.into();
        }
    };
    let surroundings = Surroundings {
        clock: Clock::system(),
        // Of standard output and nothing else: what goes into a file or a pipe is whole, though errors go to a terminal.
        width: terminal_size::terminal_size_of(std::io::stdout()).map(|(width, _)| width.0),
        stdin: Box::new(std::io::stdin()),
        stdout: Box::new(anstream::stdout()),
        stderr: Box::new(anstream::stderr()),
    };
    let exit = runtime.block_on(run(std::env::args_os(), surroundings));
    // A read from the terminal may still be pending on a thread of its own: it is not waited for.
    runtime.shutdown_background();
    exit.into()
}
