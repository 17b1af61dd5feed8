//! The page around a report, which needs nothing else: no script, no font, nobody to ask.

use std::fmt::Write as _;

use crate::report::SubjectFacts;
use crate::report::draw::Plot;
use crate::report::table::{Table, escaped};

const STYLE: &str = include_str!("page.css");

/// What a page says, in its order.
pub(crate) struct Page<'a> {
    pub(crate) title: &'a str,
    /// Sentences for those who read no further.
    pub(crate) lead: &'a [String],
    pub(crate) tables: &'a [Table],
    /// Whether a table comes in front of the plots: what decides does.
    pub(crate) is_first: &'a dyn Fn(&Table) -> bool,
    /// Each, or why it could not be drawn.
    pub(crate) plots: Result<Vec<Plot>, String>,
    /// Behind everything else but the configurations.
    pub(crate) more: String,
    pub(crate) subjects: &'a [SubjectFacts],
}

impl Page<'_> {
    /// All of it.
    pub(crate) fn to_html(&self) -> String {
        let title = escaped(self.title);
        let mut out = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
             <header><h1>{title}</h1>\n"
        );
        if !self.lead.is_empty() {
            out += "<ul class=\"lead\">";
            self.lead.iter().for_each(|text| out += &format!("<li>{}</li>\n", escaped(text)));
            out += "</ul>\n";
        }
        out += "</header>\n<main>\n";
        let (first, rest): (Vec<_>, Vec<_>) = self.tables.iter().partition(|table| (self.is_first)(table));
        first.iter().for_each(|table| out += &table.to_html());
        match &self.plots {
            Ok(plots) => plots.iter().for_each(|plot| out += &plot.to_html()),
            Err(why) => out += &format!("<p class=\"bad\">No plots: {}</p>\n", escaped(why)),
        }
        rest.iter().for_each(|table| out += &table.to_html());
        out += &self.more;
        if !self.subjects.is_empty() {
            out += "<section>\n<h2>Configurations</h2>\n";
        }
        for subject in self.subjects {
            let (name, text) = (escaped(&subject.name), escaped(&subject.configuration));
            let _ = writeln!(
                out,
                "<details aria-label=\"Configuration of {name}\"><summary>{name}</summary><pre tabindex=\"0\" role=\"region\" aria-label=\"Configuration of \
                 {name}\">{text}</pre></details>"
            );
        }
        if !self.subjects.is_empty() {
            out += "</section>\n";
        }
        let version = env!("CARGO_PKG_VERSION");
        out + &format!(
            "</main>\n<footer>Made by warmfront-bench {version} from its file of figures.</footer>\n</body>\n</html>\n"
        )
    }
}
