//! The binary: reads the command line and leaves with a number that means something.

use warmfront::cli::{self, Command};
use warmfront::config::load::World;
use warmfront::exit::ExitCode;
use warmfront::worker::planes::files;
use warmfront::{app, demo};

/// Relay buffers come and go with exchanges; mimalloc gives their pages back while idle, which the
/// platform bills.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    let exit = match cli::parse() {
        Command::Check(flags) => cli::check(&flags),
        Command::Config(flags) => cli::config(&flags),
        Command::Template(template) => cli::template(template),
        Command::Answered(exit) => exit,
        Command::Status { flags, as_json } => cli::status(&flags, as_json),
        #[cfg(feature = "top")]
        Command::Top { flags, every } => cli::top(&flags, every),
        Command::Plan { from, given, as_json } => cli::plan(from.as_ref(), &given, as_json),
        Command::Doctor { flags, wish } => cli::doctor(&flags, &wish),
        Command::Paper(paper) => cli::print(&paper),
        Command::DemoWorker => return demo::run(),
        Command::Emulate(wish) => return cli::emulate(*wish),
        Command::Run(flags) => match files::prepare(&flags, &World::real()) {
            Ok(prepared) => app::run(prepared),
            Err(problems) => {
                cli::report(&problems);
                ExitCode::BadConfig
            }
        },
    };
    exit.into()
}
