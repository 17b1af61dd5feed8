//! The binary: reads the command line and leaves with a number that means something.

use warmfront::cli::{self, Command};
use warmfront::config::load::{self, World};
use warmfront::exit::ExitCode;

fn main() -> std::process::ExitCode {
    let exit = match cli::parse() {
        Command::Check(flags) => cli::check(&flags),
        Command::Config(flags) => cli::config(&flags),
        Command::Answered(exit) => exit,
        Command::Run(flags) => match load::load(&flags, &World::real()) {
            Ok(_) => ExitCode::Bug, // Serving is composed elsewhere.
            Err(problems) => {
                cli::report(&problems);
                ExitCode::BadConfig
            }
        },
        Command::DemoWorker => ExitCode::Bug,
    };
    exit.into()
}
