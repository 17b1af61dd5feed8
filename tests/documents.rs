//! What is written for people: links that lead somewhere, and two READMEs that say the same.
//!
//! It reads Markdown as GitHub shows it, line by line; fenced blocks and code are no text. The commands in the pages
//! are run by `scripts/try-docs`; what the pages say about the source, `tests/tidy` holds against it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

#[test]
fn every_link_and_every_anchor_of_every_page_resolves() {
    let pages = pages();
    let anchors: BTreeMap<&str, BTreeSet<String>> =
        pages.iter().map(|page| (page.as_str(), anchors(&read(page)))).collect();
    let (mut complaints, mut seen) = (Vec::new(), 0);
    for page in &pages {
        for (line, target) in links(&read(page)) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            seen += 1;
            let (file, anchor) =
                target.split_once('#').map_or((target.as_str(), None), |(f, a)| (f, Some(a)));
            let whole = if file.is_empty() { page.clone() } else { beside(page, file) };
            if !root().join(&whole).exists() {
                complaints.push(format!("{page}:{line}: there is no {whole}"));
            } else if let Some(anchor) = anchor {
                match anchors.get(whole.as_str()) {
                    None => {
                        complaints.push(format!("{page}:{line}: {whole} is no page, it has no #{anchor}"))
                    }
                    Some(known) if !known.contains(anchor) => {
                        complaints.push(format!("{page}:{line}: {whole} has no heading #{anchor}"));
                    }
                    Some(_) => {}
                }
            }
        }
    }
    assert!(complaints.is_empty(), "{} links lead nowhere:\n{}", complaints.len(), complaints.join("\n"));
    assert!(seen > 200, "only {seen} links were found: the reader of links is wrong");
}

#[test]
fn every_page_below_docs_is_in_the_index() {
    let linked: BTreeSet<String> = links(&read("docs/README.md"))
        .into_iter()
        .map(|(_, target)| beside("docs/README.md", &target))
        .collect();
    let missing: Vec<_> = pages()
        .into_iter()
        .filter(|page| page.starts_with("docs/") && page != "docs/README.md" && !linked.contains(page))
        .collect();
    assert!(missing.is_empty(), "docs/README.md does not name {missing:?}");
}

#[test]
fn both_readmes_have_the_same_blocks_and_headings() {
    let (english, chinese) = (read("README.md"), read("README.zh-CN.md"));
    let levels = |text: &str| {
        prose(text).iter().filter_map(|(_, line)| heading(line).map(|(level, _)| level)).collect::<Vec<_>>()
    };
    assert_eq!(levels(&english), levels(&chinese), "README.zh-CN.md must have the headings of README.md");
    let (ours, theirs) = (blocks(&english), blocks(&chinese));
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(
            ours, theirs,
            "README.zh-CN.md must have the blocks of README.md; only comments may be translated"
        );
    }
    assert_eq!(ours.len(), theirs.len());
    assert!(
        english.contains("](README.zh-CN.md)") && chinese.contains("](README.md)"),
        "each names the other"
    );
    // Where English leads, Chinese leads too.
    let targets = |text: &str| links(text).into_iter().map(|(_, target)| target).collect::<BTreeSet<_>>();
    let lost: Vec<_> = targets(&english).difference(&targets(&chinese)).cloned().collect();
    assert_eq!(lost, ["README.zh-CN.md"], "links of README.md that README.zh-CN.md lacks");
}

#[test]
fn the_readme_is_short_and_begins_with_what_it_is_and_the_two_commands() {
    let readme = read("README.md");
    assert!(readme.lines().count() < 230, "{} lines: move detail to docs", readme.lines().count());
    let screen: Vec<&str> = readme.lines().take(30).collect();
    for wanted in ["cargo run --release", "./test"] {
        assert!(screen.iter().any(|line| line.starts_with(wanted)), "not on the first screen: {wanted}");
    }
}

#[test]
fn every_command_of_a_page_to_follow_is_tried_or_has_a_reason() {
    let output =
        Command::new(root().join("scripts/try-docs")).arg("--list").output().expect("python3 starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let followed =
        pages().into_iter().filter(|page| page == "README.md" || page.starts_with("docs/quickstart/"));
    for page in followed {
        for (at, block) in fences(&read(&page)) {
            if matches!(block.first().map(String::as_str), Some("```sh" | "```console")) {
                assert!(said.contains(&format!("{page}:{at}: ")), "{page}:{at} is not in the list:\n{said}");
            }
        }
    }
}

/// Every Markdown file of the project, as a path from its root.
fn pages() -> Vec<String> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"])
        .current_dir(root())
        .output()
        .expect("git starts");
    assert!(
        output.status.success(),
        "these tests need a checkout: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let names = String::from_utf8(output.stdout).expect("paths are UTF-8");
    let mut found: Vec<String> =
        names.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    found.retain(|name| root().join(name).exists());
    found.sort();
    assert!(found.len() > 30, "only {} pages", found.len());
    found
}

/// Lines outside of fences and comments, with their numbers.
fn prose(text: &str) -> Vec<(usize, &str)> {
    let (mut is_fenced, mut is_comment, mut found) = (false, false, Vec::new());
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            is_fenced = !is_fenced;
            continue;
        }
        is_comment |= !is_fenced && line.starts_with("<!--");
        if !is_fenced && !is_comment {
            found.push((index + 1, line));
        }
        is_comment &= !line.contains("-->");
    }
    found
}

/// Fenced blocks with the line they begin at; the fence with its language comes first.
fn fences(text: &str) -> Vec<(usize, Vec<String>)> {
    let (mut found, mut open): (Vec<(usize, Vec<String>)>, _) = (Vec::new(), false);
    for (index, line) in text.lines().enumerate() {
        if line.starts_with("```") {
            open = !open;
            if open {
                found.push((index + 1, Vec::new()));
            }
        }
        if open {
            found.last_mut().expect("a fence is open").1.push(line.to_owned());
        }
    }
    found
}

/// The blocks of a README without what explains them in words: comments of the shell, and drawings.
fn blocks(text: &str) -> Vec<Vec<String>> {
    let without_comment = |line: &String| line.split("  #").next().unwrap_or_default().trim_end().to_owned();
    let is_drawing = |block: &[String]| block.iter().any(|line| line.contains('▶'));
    let all = fences(text).into_iter().map(|(_, block)| block).filter(|block| !is_drawing(block));
    all.map(|block| block.iter().map(without_comment).collect()).collect()
}

/// Level and text of a heading.
fn heading(line: &str) -> Option<(usize, &str)> {
    let level = line.bytes().take_while(|byte| *byte == b'#').count();
    let text = line.get(level..)?.strip_prefix(' ')?;
    (1..=6).contains(&level).then_some((level, text.trim()))
}

/// The anchors of a page, as GitHub makes them of headings; the second of a name gets `-1`.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut found = BTreeSet::new();
    for (_, line) in prose(text) {
        let Some((_, heading)) = heading(line) else { continue };
        let name = slug(heading);
        let count = counts.entry(name.clone()).or_default();
        found.insert(if *count == 0 { name } else { format!("{name}-{count}") });
        *count += 1;
    }
    found
}

fn slug(heading: &str) -> String {
    // The text of a link counts, its target does not.
    let mut plain = String::new();
    let mut rest = heading;
    while let Some((before, after)) = rest.split_once("](") {
        plain.push_str(before);
        rest = after.split_once(')').map_or("", |(_, rest)| rest);
    }
    plain.push_str(rest);
    plain
        .to_lowercase()
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            '-' | '_' => Some(c),
            c if c.is_alphanumeric() => Some(c),
            _ => None,
        })
        .collect()
}

/// Targets of inline links and images, with their lines. What stands in backticks is code.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        let mut line = line.to_owned();
        // Code may hold brackets; a link's text may be code: only what is within one pair of backticks is blanked.
        while let Some((start, end)) = code_span(&line) {
            line.replace_range(start..end, &"x".repeat(end - start));
        }
        for target in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            found.push((number, target.trim_matches(['<', '>']).to_owned()));
        }
    }
    found
}

fn code_span(line: &str) -> Option<(usize, usize)> {
    let start = line.find('`')?;
    let end = line[start + 1..].find('`')? + start + 2;
    Some((start, end))
}

/// `target` as seen from `page`, as a path from the root.
fn beside(page: &str, target: &str) -> String {
    let mut whole = PathBuf::from(page).parent().map(Path::to_owned).unwrap_or_default();
    for part in Path::new(target.split('#').next().unwrap_or_default()).components() {
        match part {
            Component::ParentDir => {
                whole.pop();
            }
            Component::Normal(name) => whole.push(name),
            _ => {}
        }
    }
    whole.to_str().expect("paths are UTF-8").to_owned()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_reader_of_pages_knows_headings_anchors_and_links() {
    let page = "# A `b` (c)\n<!-- [no](x) -->\n```\n# no\n[no](y)\n```\n## A\n## A\n[a](b.md#c) `[no](z)` [`d`](<e f>)\n";
    assert_eq!(anchors(page), ["a-b-c", "a", "a-1"].map(str::to_owned).into());
    assert_eq!(links(page), [(9, "b.md#c".to_owned()), (9, "e f".to_owned())]);
    assert_eq!(slug("[Köln](x.md) & 中文"), "köln--中文");
    assert_eq!(beside("docs/adr/1.md", "../../src/a.rs#x"), "src/a.rs");
}
