//! A table of words and figures, for a terminal, for Markdown, for HTML.

use std::fmt::Write as _;

/// What one cell of a table says about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    #[default]
    Plain,
    /// A goal that is met.
    Good,
    /// A goal that is missed, a failure.
    Bad,
    /// Nothing measured.
    Faint,
    /// A picture made of letters.
    Drawing,
}

/// One cell of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) text: String,
    /// What matters less, such as the spread.
    pub(crate) aside: String,
    pub(crate) tone: Tone,
}

impl Field {
    /// Just text.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// With something less important behind it.
    pub(crate) fn with(text: impl Into<String>, aside: impl Into<String>) -> Self {
        Self { text: text.into(), aside: aside.into(), tone: Tone::Plain }
    }

    /// Nothing to say.
    pub(crate) fn none() -> Self {
        Self { text: "–".into(), tone: Tone::Faint, ..Self::default() }
    }

    /// In another tone.
    pub(crate) fn toned(mut self, tone: Tone) -> Self {
        self.tone = tone;
        self
    }

    fn plain(&self) -> String {
        if self.aside.is_empty() { self.text.clone() } else { format!("{} ({})", self.text, self.aside) }
    }
}

/// A title, a sentence, rows under a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) title: String,
    /// How to read it; may be empty.
    pub(crate) note: String,
    pub(crate) header: Vec<String>,
    pub(crate) rows: Vec<Vec<Field>>,
}

impl Table {
    /// For a terminal: first column to the left, the others to the right if they are figures.
    pub(crate) fn to_text(&self) -> String {
        let mut widths: Vec<usize> = self.header.iter().map(|text| text.chars().count()).collect();
        for row in &self.rows {
            for (width, field) in widths.iter_mut().zip(row) {
                *width = (*width).max(field.plain().chars().count());
            }
        }
        let mut out = format!("\n{}\n", self.title);
        if !self.note.is_empty() {
            let _ = writeln!(out, "{}", self.note);
        }
        let mut line = |texts: Vec<String>| {
            let last = texts.len().saturating_sub(1);
            for (index, (text, width)) in texts.iter().zip(&widths).enumerate() {
                // Nothing is padded at the end of a line: the last column may be long words.
                let _ = match index {
                    _ if index == last => write!(out, "{text}"),
                    _ => write!(out, "{text:<width$}  "),
                };
            }
            out.push('\n');
        };
        line(self.header.clone());
        self.rows.iter().for_each(|row| line(row.iter().map(Field::plain).collect()));
        out
    }

    /// For Markdown.
    pub(crate) fn to_markdown(&self) -> String {
        let clean = |text: &str| text.replace('|', "\\|").replace('\n', " ");
        let mut out = format!("\n## {}\n\n", self.title);
        if !self.note.is_empty() {
            let _ = writeln!(out, "{}\n", self.note);
        }
        let _ = writeln!(out, "| {} |", self.header.join(" | "));
        let _ = writeln!(out, "|{}", "---|".repeat(self.header.len()));
        for row in &self.rows {
            let fields: Vec<String> = row
                .iter()
                .map(|field| match field.tone {
                    Tone::Bad => format!("**{}**", clean(&field.plain())),
                    _ => clean(&field.plain()),
                })
                .collect();
            let _ = writeln!(out, "| {} |", fields.join(" | "));
        }
        out
    }

    /// For HTML. What is wider than the window moves inside its own frame, by keys as well.
    pub(crate) fn to_html(&self) -> String {
        let title = escaped(&self.title);
        let mut out = format!("<section>\n<h2>{title}</h2>\n");
        if !self.note.is_empty() {
            let _ = writeln!(out, "<p>{}</p>", escaped(&self.note));
        }
        let _ = write!(
            out,
            "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{title}\"><table>\n\
             <caption>{title}</caption>\n<thead><tr>"
        );
        self.header
            .iter()
            .for_each(|text| out += &format!("<th scope=\"col\"><span>{}</span></th>", escaped(text)));
        out += "</tr></thead>\n<tbody>\n";
        for row in &self.rows {
            out += "<tr>";
            for (place, field) in row.iter().enumerate() {
                // The first names its row.
                let (element, scope) = if place == 0 { ("th", " scope=\"row\"") } else { ("td", "") };
                let class = match field.tone {
                    Tone::Plain => "",
                    Tone::Good => " class=\"good\"",
                    Tone::Bad => " class=\"bad\"",
                    Tone::Faint => " class=\"faint\"",
                    Tone::Drawing => " class=\"drawing\"",
                };
                let text = escaped(&field.text);
                // Read aloud, a picture of letters is noise.
                let text = match field.tone {
                    Tone::Drawing => format!("<span aria-hidden=\"true\">{text}</span>"),
                    _ if place == 0 => format!("<span>{text}</span>"),
                    _ => text,
                };
                let _ = write!(out, "<{element}{scope}{class}>{text}");
                if !field.aside.is_empty() {
                    let _ = write!(out, " <small>{}</small>", escaped(&field.aside));
                }
                let _ = write!(out, "</{element}>");
            }
            out += "</tr>\n";
        }
        out + "</tbody></table></div>\n</section>\n"
    }
}

/// Text in HTML.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        Table {
            title: "Goals".into(),
            note: "Less is better.".into(),
            header: vec!["cell".into(), "x | y".into()],
            rows: vec![
                vec![Field::new("1k"), Field::with("0.5", "<0.6").toned(Tone::Bad)],
                vec![Field::new("100m"), Field::none()],
            ],
        }
    }

    #[test]
    fn columns_stand_under_each_other() {
        assert_eq!(table().to_text(), "\nGoals\nLess is better.\ncell  x | y\n1k    0.5 (<0.6)\n100m  –\n");
    }

    #[test]
    fn nothing_in_a_field_can_break_the_table() {
        let text = Table { header: vec!["cell".into()], rows: vec![vec![Field::new("a|b\nc")]], ..table() };
        assert!(text.to_markdown().ends_with("| cell |\n|---|\n| a\\|b c |\n"), "{}", text.to_markdown());
        let html = table().to_html();
        assert!(html.contains("<td class=\"bad\">0.5 <small>&lt;0.6</small></td>"), "{html}");
        assert!(html.contains("<td class=\"faint\">–</td>"));
    }
}
