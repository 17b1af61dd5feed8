//! The report of `peers` as one page: which tables stand in front of its plots, and what follows them.

use crate::goals::Outcome;
use crate::report::Report;
use crate::report::plots::plots;
use crate::report::shell::Page;
use crate::report::table::{Field, Table};

/// Tables in front of the plots.
const FIRST: [&str; 4] = ["NOT MEASURED", "Failed requests", "Goals", "Since the older report"];

/// The page. A plot that cannot be drawn is replaced by the reason.
pub(crate) fn page(report: &Report, tables: &[Table], outcomes: &[Outcome]) -> String {
    let cells = Table {
        title: "What each cell is".into(),
        note: String::new(),
        header: ["cell", "what"].map(String::from).into(),
        rows: report.cells.iter().map(|cell| vec![Field::new(&cell.name), Field::new(&cell.what)]).collect(),
    };
    // What decides comes first: who is missing, which goals are met; then what it looks like.
    let page = Page {
        title: "warmfront and its peers",
        lead: &[],
        tables,
        is_first: &|table| FIRST.contains(&table.title.as_str()),
        plots: plots(report, outcomes).map_err(|why| why.to_string()),
        more: cells.to_html(),
        subjects: &report.subjects,
    };
    page.to_html()
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
        assert!(html.contains("role=\"img\"") && html.contains("CPU per request against nginx"));
        assert!(html.contains("&lt;as it is&gt;") && !html.contains("<as it is>"));
        for outside in ["<script", "src=", "href=", "@import", "url("] {
            assert!(!html.contains(outside), "{outside}");
        }
    }
}
