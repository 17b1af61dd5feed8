//! `report`: files of earlier measurements, merged and shown again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;

use crate::peers::OutputArgs;
use crate::report::Report;
use crate::study::Study;

/// Flags of `report`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ReportArgs {
    /// Files of --json to merge, all of the same command: further cells, further rounds.
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Merges and shows what the first file says it is: a report of `peers`, or a study. False if it has failures, or
/// something got worse.
///
/// # Errors
/// A file cannot be read or written, or the files are of several commands.
pub(crate) fn run(args: &ReportArgs) -> io::Result<bool> {
    let Some((first, others)) = args.files.split_first() else { return Ok(true) };
    if is_study(first)? {
        let mut study = Study::read(first)?;
        for file in others {
            study.merge(Study::read(file)?).map_err(|why| named(file, &why))?;
        }
        return args.output.shared.finish(&study);
    }
    let old = args.output.shared.compare.as_deref().map(Report::read).transpose()?;
    let mut report = Report::read(first)?;
    for file in others {
        report.merge(Report::read(file)?);
    }
    args.output.finish(&report, old.as_ref())
}

/// Whether a file is a study: only those name the command they come from.
fn is_study(path: &Path) -> io::Result<bool> {
    let text = fs::read_to_string(path).map_err(|why| named(path, &why))?;
    // What is no JSON is complained of by who reads it as what it should be.
    Ok(serde_json::from_str::<Value>(&text).is_ok_and(|value| value["kind"].is_string()))
}

fn named(path: &Path, why: &io::Error) -> io::Error {
    io::Error::new(why.kind(), format!("{}: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::report::tests::report;
    use crate::study::made::made;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: ReportArgs,
    }

    fn ran(words: &[&Path]) -> io::Result<bool> {
        let line = Line::parse_from(std::iter::once(Path::new("report")).chain(words.iter().copied()));
        run(&line.args)
    }

    #[test]
    fn a_file_says_what_it_is_and_studies_merge_with_their_like() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("peers"), report(&[("1k", &[("wf", &[5.0]), ("relay", &[4.0])])]).to_json().to_string())
            .unwrap();
        for kind in ["cold", "freeze"] {
            fs::write(at(kind), made(kind).to_json()).unwrap();
        }
        assert!(ran(&[&at("peers"), &at("peers")]).unwrap());
        // Both have failures, so it is not well; what was merged is written all the same.
        assert!(!ran(&[&at("cold"), &at("cold"), Path::new("--json"), &at("both")]).unwrap());
        let (both, one) = (Study::read(&at("both")).unwrap(), made("cold"));
        assert_eq!((both.starts.len(), both.rounds), (one.starts.len() * 2, (60, 60)));
        assert_eq!(both.starts.last().unwrap().round, one.starts.last().unwrap().round + 30);
        let mixed = ran(&[&at("cold"), &at("freeze")]).unwrap_err().to_string();
        assert!(mixed.contains("freeze: a study of `cold` and one of `freeze`"), "{mixed}");
        let wrong = ran(&[&at("cold"), &at("peers")]).unwrap_err().to_string();
        assert!(wrong.contains("peers: missing field `kind`"), "{wrong}");
        assert!(ran(&[&at("absent")]).unwrap_err().to_string().contains("absent"));
    }
}
