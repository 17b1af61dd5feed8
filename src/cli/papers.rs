//! What packagers and shells ask for: the pages of the manual and the completions.
//!
//! Both are made from the command line itself, at run time: a build without `top` has no page about it, and no file
//! that somebody forgot to make anew lies in a package.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::error::Problem;
use crate::exit::ExitCode;

use super::line::Line;

/// What is to be printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Paper {
    /// What this shell sources.
    Completions(Shell),
    /// The page of this command; of the program if there is none.
    Page(Option<String>),
    /// Every page, each as a file of this directory.
    Manual(PathBuf),
}

/// How the process may end; a test holds it against [`ExitCode`].
const EXITS: [(ExitCode, &str); 7] = [
    (ExitCode::Done, "Stopped as asked, everything drained; or it was answered."),
    (ExitCode::Bug, "Unexpected failure: a bug, please report."),
    (ExitCode::Usage, "Wrong usage of the command line."),
    (ExitCode::WorkersUnavailable, "Workers never became ready, or kept exiting; status: not ready."),
    (ExitCode::SystemRefused, "The system refused: bind, fork, limits; status and top: no answer."),
    (ExitCode::CutOff, "The drain deadline passed with requests cut off."),
    (ExitCode::BadConfig, "Configuration invalid."),
];

/// What the program reads beside its command line.
const FILES: [(&str, &str); 2] = [
    ("./warmfront.toml", "The configuration, if neither --config nor WARMFRONT_CONFIG names another file."),
    ("/code/bootstrap", "The worker, if no command is given and it exists: the platform's rule."),
];

/// The command as it was named, if there is one of that name with a page.
///
/// # Errors
/// Wrong usage that lists the names.
pub(super) fn known(command: Option<String>) -> Result<Option<String>, clap::Error> {
    let program = Line::command();
    let names: Vec<&str> = visible(&program).map(Command::get_name).collect();
    match command {
        Some(name) if !names.contains(&name.as_str()) => Err(Line::command().error(
            ErrorKind::InvalidValue,
            format!("there is no command '{name}'; there are: {}", names.join(", ")),
        )),
        named => Ok(named),
    }
}

/// Prints `paper`, or writes its files.
#[must_use]
pub fn print(paper: &Paper) -> ExitCode {
    let result = match paper {
        Paper::Completions(shell) => say(&completions(*shell)),
        Paper::Page(command) => say(&page(command.as_deref())),
        Paper::Manual(directory) => write_all(directory),
    };
    match result {
        Ok(()) => ExitCode::Done,
        Err(problem) => {
            super::report(&[problem]);
            ExitCode::SystemRefused
        }
    }
}

fn say(paper: &[u8]) -> Result<(), Problem> {
    // Who reads only the first lines has what he wanted.
    drop(io::stdout().write_all(paper));
    Ok(())
}

fn completions(shell: Shell) -> Vec<u8> {
    // The generators complete hidden commands too, so they are not told of them.
    let program = Line::command();
    let mut shown = Command::new("warmfront")
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_subcommand(true)
        .subcommands(visible(&program).cloned());
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut shown, "warmfront", &mut out);
    out
}

fn write_all(directory: &Path) -> Result<(), Problem> {
    let program = Line::command();
    let names = visible(&program).map(|command| Some(command.get_name()));
    for name in std::iter::once(None).chain(names) {
        let path = directory.join(format!("{}.1", title(name)));
        std::fs::write(&path, page(name)).map_err(|error| {
            Problem::new(
                format!("{} cannot be written.", path.display()),
                format!("The system says: {error}."),
                "Name a directory that exists and that you may write to.",
            )
        })?;
    }
    Ok(())
}

/// One page in roff.
fn page(name: Option<&str>) -> Vec<u8> {
    let mut program = Line::command();
    program.build();
    let command = name.and_then(|name| program.find_subcommand(name)).unwrap_or(&program).clone();
    let mut out = Vec::new();
    // Writing into memory does not fail.
    drop(write_page(command, name, &mut out));
    ascii(&out)
}

/// Other characters as roff spells them, so that no reader has to be told the encoding.
fn ascii(page: &[u8]) -> Vec<u8> {
    let spell = |c: char| if c.is_ascii() { c.to_string() } else { format!("\\[u{:04X}]", u32::from(c)) };
    String::from_utf8_lossy(page).chars().map(spell).collect::<String>().into_bytes()
}

fn write_page(command: Command, name: Option<&str>, out: &mut Vec<u8>) -> io::Result<()> {
    let after = command.get_after_long_help().or(command.get_after_help());
    let after = after.map(ToString::to_string).unwrap_or_default();
    // What stands below the help is set here, line by line; left to itself it would be filled to a paragraph.
    let command = command.after_help("").after_long_help("");
    let man = Man::new(command.clone()).section("1").source(concat!("warmfront ", env!("CARGO_PKG_VERSION")));
    man.render_title(out)?;
    man.render_name_section(out)?;
    man.render_synopsis_section(out)?;
    man.render_description_section(out)?;
    man.render_options_section(out)?;
    let mut rest = Roff::new();
    if name.is_none() {
        rest.control("SH", ["COMMANDS"]);
        for each in visible(&command) {
            let title = title(Some(each.get_name()));
            rest.control("TP", []).text([bold(title), roman("(1)")]);
            rest.text([roman(each.get_about().map(ToString::to_string).unwrap_or_default())]);
        }
    }
    let (examples, keys) = after.split_once("\n\n").unwrap_or((&after, ""));
    verbatim(&mut rest, "EXAMPLES", examples);
    if keys.starts_with("Keys") {
        verbatim(&mut rest, "KEYS", keys);
    }
    if name.is_none() {
        rest.control("SH", ["FILES"]);
        for (file, meaning) in FILES {
            rest.control("TP", []).text([bold(file)]).text([roman(meaning)]);
        }
        rest.control("SH", ["ENVIRONMENT"]);
        rest.text([
            bold("WARMFRONT_*"),
            roman(" variables set keys: each is listed in "),
            bold("warmfront-config"),
            roman("(1)."),
        ]);
        rest.control("SH", ["EXIT STATUS"]);
        for (exit, meaning) in EXITS {
            rest.control("TP", []).text([bold(exit.code().to_string())]).text([roman(meaning)]);
        }
        rest.control("TP", []).text([bold("128 + n")]).text([roman("A second signal n came: left at once.")]);
    } else {
        rest.control("SH", ["SEE ALSO"]).text([bold("warmfront"), roman("(1)")]);
    }
    rest.to_writer(out)
}

/// A section whose lines stay what they are; the first one is its heading elsewhere.
fn verbatim(roff: &mut Roff, heading: &str, text: &str) {
    roff.control("SH", [heading]).control("nf", []);
    for line in text.lines().skip(1) {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
}

fn title(name: Option<&str>) -> String {
    name.map_or_else(|| "warmfront".to_owned(), |name| format!("warmfront-{name}"))
}

fn visible(program: &Command) -> impl Iterator<Item = &Command> {
    program.get_subcommands().filter(|command| !command.is_hide_set())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn helps() -> Vec<(String, String)> {
        let mut program = Line::command().term_width(80);
        program.build();
        let mut found = vec![("warmfront".to_owned(), program.render_long_help().to_string())];
        found.extend(visible(&program).map(|command| {
            (command.get_name().to_owned(), command.clone().term_width(80).render_long_help().to_string())
        }));
        found
    }

    #[test]
    fn the_help_of_the_program_fits_one_screen() {
        let help = &helps()[0].1;
        let widest = help.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(
            help.lines().count() <= 24 && widest <= 80,
            "{} lines × {widest}:\n{help}",
            help.lines().count()
        );
    }

    #[test]
    fn every_help_has_examples_and_each_of_them_can_be_typed() {
        for (name, help) in helps() {
            let examples =
                help.split("Examples:\n").nth(1).unwrap_or_else(|| panic!("{name} has no examples"));
            let examples = examples.split("\n\n").next().unwrap();
            let mut typed = 0;
            for line in examples.lines() {
                assert!(line.chars().count() <= 80, "{name}: {line}");
                let line = line.split(" #").next().unwrap().trim();
                let line = line.strip_prefix("source <(").map_or(line, |rest| rest.trim_end_matches(')'));
                let words = line.split_whitespace().map(OsString::from);
                crate::cli::parse_from(words).unwrap_or_else(|error| panic!("{name}: {line}: {error}"));
                typed += 1;
            }
            assert!(typed > 0, "{name}");
        }
    }

    #[test]
    fn the_manual_names_every_exit_code() {
        let page = String::from_utf8(page(None)).unwrap();
        for (exit, meaning) in EXITS {
            assert!(page.contains(&format!("\\fB{}\\fR", exit.code())) && page.contains(meaning), "{exit}");
        }
        // What the enum has and the table lacks: only signals, which have a line of their own.
        for code in 0..=255 {
            let is_known = EXITS.iter().any(|(exit, _)| exit.code() == code);
            assert_eq!(is_known, [0, 1, 64, 69, 71, 75, 78].contains(&code), "{code}");
        }
    }

    #[test]
    fn a_page_is_asked_for_by_the_name_of_a_command() {
        assert_eq!(known(None).unwrap(), None);
        assert_eq!(known(Some("run".into())).unwrap(), Some("run".into()));
        let error = known(Some("walk".into())).unwrap_err();
        assert_eq!(crate::cli::exit_of(&error), ExitCode::Usage);
        assert!(error.to_string().contains("run, check, config"), "{error}");
        // Hidden commands have none.
        assert!(known(Some("demo-worker".into())).is_err());
    }
}
