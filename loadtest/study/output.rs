//! Where a study goes and what it is held against: the flags that the commands share, and the end they share.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::report::shell::Page;
use crate::report::table::Table;
use crate::study::headline::headlines;
use crate::study::judge::{Judgement, judge};
use crate::study::plots::plots;
use crate::study::tables::tables;
use crate::study::{Study, spark};
use crate::verdict::parse_threshold;

/// By how much figures may get worse, unless told otherwise: a start varies by some percent from day to day.
const THRESHOLD: f64 = 0.1;
/// Tables in front of the plots.
const FIRST: [&str; 4] = ["NOT MEASURED", "Failures", "Since the older study", "Could not be compared"];

/// Where a study goes and what it is held against.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct StudyOutput {
    /// Write everything, each observation included, to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write the tables to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,
    /// Write tables and plots to this file, as one page.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Fail if figures got worse since this measurement (a file of --json).
    #[arg(long, value_name = "FILE")]
    pub(crate) compare: Option<PathBuf>,
    /// By how much they may get worse [default: 10%, for `peers` 8%].
    #[arg(long, value_name = "SHARE", value_parser = parse_threshold)]
    pub(crate) threshold: Option<f64>,
}

impl StudyOutput {
    /// Prints the tables, writes the files, judges. True if all is well: no failure, nothing missing, nothing
    /// worse than in the older study.
    ///
    /// # Errors
    /// A file cannot be read or written, or the older study is of another command.
    pub(crate) fn finish(&self, study: &Study) -> io::Result<bool> {
        // What was measured is safe before anything else can go wrong.
        if let Some(path) = &self.json {
            write(path, &format!("{}\n", study.to_json()))?;
        }
        let judgement = self.compare.as_deref().map(|path| self.judgement(path, study)).transpose()?;
        let (lead, tables) = (headlines(study), tables(study, judgement.as_ref()));
        let text = to_text(&lead, &tables);
        let text = if spark::locale_is_utf8() { text } else { spark::in_ascii(&text) };
        io::stdout().lock().write_all(text.as_bytes())?;
        if let Some(path) = &self.markdown {
            write(path, &to_markdown(study, &lead, &tables))?;
        }
        if let Some(path) = &self.html {
            write(path, &page(study, &lead, &tables))?;
        }
        Ok(study.is_fine() && judgement.is_none_or(|judgement| judgement.is_fine()))
    }

    fn judgement(&self, path: &Path, study: &Study) -> io::Result<Judgement> {
        let wrong = |why| io::Error::new(io::ErrorKind::InvalidInput, format!("{}: {why}", path.display()));
        judge(&Study::read(path)?, study, self.threshold.unwrap_or(THRESHOLD)).map_err(wrong)
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    fs::write(path, text)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

fn to_text(lead: &[String], tables: &[Table]) -> String {
    lead.iter().map(|line| format!("{line}\n")).chain(tables.iter().map(Table::to_text)).collect()
}

fn to_markdown(study: &Study, lead: &[String], tables: &[Table]) -> String {
    let head = format!("# {}\n\n", title(study));
    let lead = lead.iter().map(|line| format!("- {}\n", line.replace('<', "\\<")));
    std::iter::once(head).chain(lead).chain(tables.iter().map(Table::to_markdown)).collect()
}

fn title(study: &Study) -> &'static str {
    match study.kind.as_str() {
        "cold" => "Cold starts",
        "warm" => "Warm latency",
        "compare" => "Cold against warm",
        "freeze" => "Behind a freeze",
        _ => "A study",
    }
}

/// The page. A plot that cannot be drawn is replaced by the reason.
pub(crate) fn page(study: &Study, lead: &[String], tables: &[Table]) -> String {
    // What is wrong or got worse comes first; then what it looks like.
    let page = Page {
        title: title(study),
        lead,
        tables,
        is_first: &|table| FIRST.contains(&table.title.as_str()),
        plots: plots(study).map_err(|why| why.to_string()),
        more: String::new(),
        subjects: &study.subjects,
    };
    page.to_html()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::process::{Command, Stdio};

    use super::*;
    use crate::study::made::{MARKUP, made};
    use crate::study::{FORMAT, Written};

    pub(crate) const KINDS: [&str; 4] = ["cold", "warm", "compare", "freeze"];
    const SCHEMA: &str = "study.schema.json";

    /// Terminal, Markdown and page of a study.
    pub(crate) fn said(study: &Study) -> [String; 3] {
        let (lead, tables) = (headlines(study), tables(study, None));
        [to_text(&lead, &tables), to_markdown(study, &lead, &tables), page(study, &lead, &tables)]
    }

    #[test]
    fn the_schema_is_that_of_the_types_and_a_study_fits_it() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("loadtest").join(SCHEMA);
        let schema = schemars::generate::SchemaSettings::draft2020_12()
            .for_serialize()
            .into_generator()
            .into_root_schema_for::<Written<'_>>();
        let text = format!("{:#}\n", schema.as_value());
        if std::env::var_os("WARMFRONT_BLESS").is_some() {
            fs::write(&path, &text).unwrap();
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        assert!(kept == text, "loadtest/{SCHEMA} is old; WARMFRONT_BLESS=1 writes it");
        for kind in KINDS {
            let mut validate = Command::new("python3");
            validate.args(["-c", VALIDATE]).arg(&path).stdin(Stdio::piped()).stderr(Stdio::piped());
            let mut child = validate.spawn().unwrap();
            child.stdin.take().unwrap().write_all(made(kind).to_json().as_bytes()).unwrap();
            let done = child.wait_with_output().unwrap();
            assert!(done.status.success(), "{kind}: {}", String::from_utf8_lossy(&done.stderr));
        }
    }

    /// Nothing may be in a study that the schema does not name, and nothing that it names may be left out.
    const VALIDATE: &str = "
import json, sys, jsonschema
schema, study = json.load(open(sys.argv[1])), json.load(sys.stdin)
jsonschema.Draft202012Validator.check_schema(schema)
def close(part):
    if isinstance(part, dict):
        if isinstance(part.get('properties'), dict):
            part['additionalProperties'] = False
            part['required'] = list(part['properties'])
        for inner in part.values():
            close(inner)
    elif isinstance(part, list):
        for inner in part:
            close(inner)
close(schema)
jsonschema.Draft202012Validator(schema).validate(study)
for broken in [dict(study, format='one'), dict(study, more=1), {k: v for k, v in study.items() if k != 'starts'}]:
    assert not jsonschema.Draft202012Validator(schema).is_valid(broken)
";

    #[test]
    fn what_is_written_is_read_back_with_a_summary_in_front() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("study.json");
        for kind in KINDS {
            let study = made(kind);
            let text = study.to_json();
            assert!(text.starts_with("{\"summary\":{"), "{text:.60}");
            fs::write(&path, text).unwrap();
            assert!(Study::read(&path).unwrap() == study, "{kind}");
        }
        let later = Study { format: FORMAT + 1, ..made("cold") };
        fs::write(&path, later.to_json()).unwrap();
        let why = Study::read(&path).unwrap_err().to_string();
        assert!(why.contains("study.json: format 2, not 1"), "{why}");
    }

    #[test]
    fn every_kind_says_what_was_found_what_failed_and_what_is_missing() {
        let parts: [(&str, &[&str]); 4] = [
            (
                "cold",
                &[
                    "first byte after",
                    "Phases of a start: page cache dropped",
                    "8 at once",
                    "connection reset",
                    "▂",
                ],
            ),
            (
                "warm",
                &[
                    "p99 within 5 ms of fib held up to",
                    "Search: direct, fib",
                    "p99.99",
                    "POST /fib",
                    "Latency over time",
                ],
            ),
            ("compare", &["cold is 3", "Cold against warm", "503 <b>", "x | y"]),
            ("freeze", &["FAILED", "4 of 10", "asked while frozen", "before the freeze"]),
        ];
        for (kind, parts) in parts {
            let [text, markdown, html] = said(&made(kind));
            for part in parts.iter().filter(|part| **part != "x | y") {
                assert!(text.contains(part), "{kind}: `{part}` is missing in {text}");
            }
            for part in
                ["NOT MEASURED", "behind nginx", "nginx is not installed", "30 of 30 finished", "fc-fib 1.0"]
            {
                assert!(text.contains(part) && html.contains(part), "{kind}: `{part}` is missing in {text}");
            }
            assert!(!html.contains("<script") && !markdown.contains("\n- <"), "{kind}");
        }
    }

    #[test]
    fn a_page_needs_nothing_else_and_runs_nothing() {
        for kind in KINDS {
            let [_, _, html] = said(&made(kind));
            assert!(html.contains(&crate::report::table::escaped(MARKUP)));
            for outside in ["<script", "<img", "<b>", "src=\"", "href=", "style=\"", "@import", "url("] {
                assert!(!html.contains(outside), "{kind}: {outside}");
            }
        }
    }

    #[test]
    fn an_empty_study_says_so_and_is_no_crash() {
        for kind in KINDS {
            let empty = Study { kind: kind.into(), format: FORMAT, ..Study::default() };
            let [text, _, html] = said(&empty);
            assert!(text.starts_with(&format!("{kind}: nothing was measured.\n")), "{text}");
            assert!(!html.contains("<svg"));
        }
    }

    #[test]
    fn a_study_is_well_only_if_nothing_failed_nothing_is_missing_and_nothing_got_worse() {
        let dir = tempfile::tempdir().unwrap();
        let old = dir.path().join("old.json");
        let mut study = made("warm");
        assert!(!StudyOutput::default().finish(&study).unwrap(), "something is missing");
        study.not_measured.clear();
        assert!(StudyOutput::default().finish(&study).unwrap());
        fs::write(&old, study.to_json()).unwrap();
        let output = StudyOutput { compare: Some(old), ..StudyOutput::default() };
        assert!(output.finish(&study).unwrap());
        for search in study.searches.iter_mut().filter(|search| search.subject != "direct") {
            search.knee = search.knee.map(|knee| knee / 2.0);
        }
        assert!(!output.finish(&study).unwrap());
        let why = output.finish(&made("cold")).unwrap_err().to_string();
        assert!(why.contains("old.json") && why.contains("same command"), "{why}");
    }
}
