//! The report as one page that needs nothing else: style, plots and tables inside.

use std::fmt::Write as _;

use crate::goals::Outcome;
use crate::report::Report;
use crate::report::plots::plots;
use crate::report::table::{Table, escaped};

const STYLE: &str = "
:root { color-scheme: light dark; --text: #1d2126; --back: #fdfdfc; --line: #d5d8dc; --faint: #6b7280;
  --good: #18794e; --bad: #c2281d; }
@media (prefers-color-scheme: dark) { :root { --text: #e3e6ea; --back: #15181c; --line: #3a4048;
  --faint: #98a1ad; --good: #4cc38a; --bad: #ff7a6e; } }
body { color: var(--text); background: var(--back); font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto;
  max-width: 68rem; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .3rem; }
p { margin: .2rem 0 .6rem; color: var(--faint); max-width: 50rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .85rem; }
th, td { text-align: left; padding: .22rem .9rem .22rem 0; border-bottom: 1px solid var(--line);
  white-space: nowrap; vertical-align: top; }
td:last-child { white-space: normal; overflow-wrap: anywhere; }
th { font-weight: 600; } small { color: var(--faint); font-size: .75rem; }
.good { color: var(--good); } .bad { color: var(--bad); font-weight: 600; } .faint { color: var(--faint); }
svg { display: block; width: 100%; height: auto; margin: .4rem 0 1rem; }
pre { overflow-x: auto; font-size: .8rem; border: 1px solid var(--line); padding: .6rem; }
";

/// Tables in front of the plots.
const FIRST: [&str; 4] = ["NOT MEASURED", "Failed requests", "Goals", "Since the older report"];

/// The page. A plot that cannot be drawn is replaced by the reason.
pub(crate) fn page(report: &Report, tables: &[Table], outcomes: &[Outcome]) -> String {
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>warmfront and its peers</title>\n<style>{STYLE}</style>\n\
         <h1>warmfront and its peers</h1>\n"
    );
    // What decides comes first: who is missing, which goals are met; then what it looks like.
    let is_first = |table: &&Table| FIRST.contains(&table.title.as_str());
    let (first, rest): (Vec<_>, Vec<_>) = tables.iter().partition(is_first);
    first.iter().for_each(|table| out += &table.to_html());
    match plots(report, outcomes) {
        Ok(plots) => {
            for plot in plots {
                let (title, note) = (escaped(&plot.title), escaped(plot.note));
                let _ = writeln!(out, "<h2>{title}</h2>\n<p>{note}</p>\n{}", plot.svg);
            }
        }
        Err(why) => out += &format!("<p class=\"bad\">No plots: {}</p>\n", escaped(&why.to_string())),
    }
    rest.iter().for_each(|table| out += &table.to_html());
    out += "<h2>What each cell is</h2>\n<div class=\"scroll\"><table>\n";
    for cell in &report.cells {
        let _ = writeln!(out, "<tr><td>{}<td>{}</tr>", escaped(&cell.name), escaped(&cell.what));
    }
    out += "</table></div>\n<h2>Configurations</h2>\n";
    for subject in &report.subjects {
        let (name, text) = (escaped(&subject.name), escaped(&subject.configuration));
        let _ = writeln!(out, "<details><summary>{name}</summary><pre>{text}</pre></details>");
    }
    out + "</html>\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::goals::Goals;
    use crate::report::sections::tables;
    use crate::report::tests::report;

    #[test]
    fn the_page_needs_nothing_else_and_escapes_what_it_shows() {
        let all = report(&[("1k", &[("wf", &[5.0]), ("nginx", &[10.0])])]);
        let goals = Goals::ours().unwrap();
        let html = page(&all, &tables(&all, &goals, None), &goals.judge(&all));
        assert!(html.contains("<svg viewBox") && html.contains("CPU per request against nginx"));
        assert!(html.contains("&lt;as it is&gt;") && !html.contains("<as it is>"));
        for outside in ["<script", "src=", "href=", "@import", "url("] {
            assert!(!html.contains(outside), "{outside}");
        }
    }
}
