//! Pages and files that are generated from tables of the source.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use warmfront::admin::families;
use warmfront::config::keys::{KEYS, Key, Kind, Zero};
use warmfront::config::units::size_text;

use crate::source::{read, root};

#[test]
fn the_configuration_page_is_generated_from_the_keys() {
    let (path, wanted) = (root().join("docs/config.md"), configuration_page());
    if std::env::var_os("WARMFRONT_BLESS").is_some() {
        fs::write(&path, &wanted).expect("docs/config.md is writable");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "docs/config.md does not say what src/config/keys.rs says; run: WARMFRONT_BLESS=1 cargo test --test tidy"
    );
}

#[test]
fn the_full_file_and_the_schema_are_generated_from_the_keys() {
    for (name, wanted) in [
        ("configs/full.toml", warmfront::config::full::text()),
        ("configs/warmfront.schema.json", warmfront::config::schema::text()),
    ] {
        if std::env::var_os("WARMFRONT_BLESS").is_some() {
            fs::write(root().join(name), &wanted).expect("configs/ is writable");
        }
        let found = fs::read_to_string(root().join(name)).unwrap_or_default();
        assert!(
            found == wanted,
            "{name} does not say what src/config/keys.rs says; run: WARMFRONT_BLESS=1 cargo test --test tidy"
        );
    }
}

#[test]
fn the_metrics_page_is_generated_from_the_table() {
    let (path, wanted) = (root().join("docs/metrics.md"), metrics_page());
    if std::env::var_os("WARMFRONT_BLESS").is_some() {
        fs::write(&path, &wanted).expect("docs/metrics.md is writable");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "docs/metrics.md does not say what src/admin/families.rs says; run: WARMFRONT_BLESS=1 cargo test --test tidy"
    );
}

#[test]
fn the_pages_policy_lets_its_own_script_and_style_run_and_no_other() {
    let (page, path) = (read("src/admin/page.html"), root().join("src/admin/page.policy"));
    let hashes = ["script", "style"].map(|element| {
        let parts: Vec<&str> = page.split(&format!("<{element}>")).collect();
        let [_, rest] = parts[..] else { panic!("the page must have one <{element}>, without attributes") };
        sha256(rest.split(&format!("</{element}>")).next().unwrap_or_default())
    });
    let wanted = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; img-src data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
         trusted-types 'none'\n",
        hashes[0], hashes[1]
    );
    if std::env::var_os("WARMFRONT_BLESS").is_some() {
        fs::write(&path, &wanted).expect("src/admin/page.policy is writable");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "src/admin/page.policy does not know src/admin/page.html; run: WARMFRONT_BLESS=1 cargo test --test tidy"
    );
    for other in ["http://", "https://", "//cdn", " src=", "@import", "url(", "innerHTML", " style=\""] {
        let found = page.replace("http://www.w3.org/2000/svg", "").contains(other);
        assert!(
            !found,
            "src/admin/page.html: `{other}`; one file asks nobody, and its policy would forbid it"
        );
    }
}

/// The hash of `text` as policies of pages write it.
fn sha256(text: &str) -> String {
    const HASH: &str = "import base64, hashlib, sys\n\
        print(base64.b64encode(hashlib.sha256(sys.stdin.buffer.read()).digest()).decode(), end='')";
    let mut python = Command::new("python3")
        .args(["-c", HASH])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is there: scripts/setup-tests installs it");
    python.stdin.take().expect("piped").write_all(text.as_bytes()).expect("it reads");
    String::from_utf8(python.wait_with_output().expect("it ends").stdout).expect("text")
}

/// `docs/metrics.md`, whole.
fn metrics_page() -> String {
    let mut page = String::from(
        "# Metrics\n\n\
         <!-- Generated from src/admin/families.rs: WARMFRONT_BLESS=1 cargo test --test tidy -->\n\n\
         What `GET /metrics` of the [admin](admin.md) tells, in the text format of Prometheus. Durations are in\n\
         buckets from 100 µs to 30 s. Labels have the values named here and no others: nothing that a request says\n\
         becomes one. Counters start at zero with the process.\n\n\
         | metric | kind | labels | what it tells |\n|---|---|---|---|\n",
    );
    for family in families::ALL {
        let labels: Vec<String> =
            family.labels.iter().map(|(name, values)| format!("`{name}`: {values}")).collect();
        let labels = if labels.is_empty() { "–".to_owned() } else { labels.join("; ") };
        // Writing to a String cannot fail.
        let _ = writeln!(page, "| `{}` | {} | {labels} | {} |", family.name, family.kind.word(), family.help);
    }
    page.push_str(
        "\nSome questions, and what answers them:\n\n\
         | question | PromQL |\n|---|---|\n\
         | how slow are the slowest of a hundred, warm | `histogram_quantile(0.99, rate(warmfront_request_duration_seconds_bucket{start=\"warm\"}[5m]))` |\n\
         | how much of a request is waiting for a slot | `rate(warmfront_queue_wait_seconds_sum[5m]) / sum(rate(warmfront_requests_total[5m]))` |\n\
         | how many connections to workers are reused | `rate(warmfront_worker_connections_reused_total[5m]) / (rate(warmfront_worker_connections_reused_total[5m]) + ignoring(side) rate(warmfront_connections_opened_total{side=\"worker\"}[5m]))` |\n\
         | how many requests does a client send on one connection | `sum(rate(warmfront_requests_total[5m])) / ignoring(side) rate(warmfront_connections_opened_total{side=\"client\"}[5m])` |\n\
         | is anybody refused | `sum by (reason) (rate(warmfront_shed_requests_total[5m])) > 0` |\n",
    );
    page
}

/// `docs/config.md`, whole.
fn configuration_page() -> String {
    let mut page = String::from(
        "# Configuration\n\n\
         <!-- Generated from src/config/keys.rs: WARMFRONT_BLESS=1 cargo test --test tidy -->\n\n\
         Strongest first: flag, environment, file, default. The file is `--config FILE`, else\n\
         `$WARMFRONT_CONFIG`, else `./warmfront.toml` if it exists. Every key but `workers.env` and\n\
         `noslate.env` has a variable: `WARMFRONT_` and its path in capitals, `queue.depth` is `WARMFRONT_QUEUE_DEPTH`.\n\n\
         `warmfront check` prints every problem with its place and starts nothing; `warmfront config`\n\
         prints every value and where it came from. An unknown key or variable is an error that names\n\
         the nearest valid one. Ready files: [minimal](../configs/minimal.toml), [fc](../configs/fc.toml),\n\
         [grpc](../configs/grpc.toml), [edge](../configs/edge.toml), [noslate](../configs/noslate.toml), [php-fpm](../configs/php-fpm.toml);\n\
         [full](../configs/full.toml) has every key at its default. Editors that know JSON Schema for TOML complete and mark\n\
         a file whose first line is `#:schema PATH`, with [the schema](../configs/warmfront.schema.json) or what\n\
         `warmfront config --schema` prints.\n\n\
         Periods have a unit (`1500ms`, `30s`, `2m`) and are at most 24 hours. Sizes are whole bytes or\n\
         have a unit (`64KiB` is 1024-based, `64kB` 1000-based).\n",
    );
    let mut section = None;
    for key in KEYS {
        if let Kind::Tables(fields) = key.kind {
            let _ = write!(page, "\n## `[[{}]]`\n\n{}", key.path, tables_page(key, fields));
            continue;
        }
        let own = key.path.split_once('.').map(|(section, _)| section);
        if section != Some(own) {
            section = Some(own);
            let title = own.map_or_else(|| "Top level".to_owned(), |name| format!("`[{name}]`"));
            // Writing to a String cannot fail.
            let _ = write!(
                page,
                "\n## {title}\n\n| key | values | default | flag | what it does |\n|---|---|---|---|---|\n"
            );
        }
        let default = if key.default.is_empty() { "–".to_owned() } else { format!("`{}`", key.default) };
        let flag = key.flag.map_or_else(
            || "–".to_owned(),
            |flag| if flag == "--" { "after `--`".to_owned() } else { format!("`{flag}`") },
        );
        let _ =
            writeln!(page, "| `{}` | {} | {default} | {flag} | {} |", key.path, values(key.kind), key.help);
    }
    page
}

/// What the page says of an array of tables.
fn tables_page(key: &Key, fields: &[Key]) -> String {
    let mut text = format!(
        "{} Only in the file, as often as there are any.\n\n\
         In `command`, `env`, `cwd`, `ready` and `log` the forms `${{NAME}}` and `${{NAME:-default}}` stand for a variable \
         of our own\nenvironment; `$${{` is a plain `${{`. More: [processes](processes.md).\n\n\
         | field | values | default | what it does |\n|---|---|---|---|\n",
        key.help
    );
    for field in fields {
        let default =
            if field.default.is_empty() { "–".to_owned() } else { format!("`{}`", field.default) };
        let _ = writeln!(text, "| `{}` | {} | {default} | {} |", field.path, values(field.kind), field.help);
    }
    text
}

fn values(kind: Kind) -> String {
    match kind {
        Kind::Address => "IP address".to_owned(),
        Kind::Number(min, max) => format!("{min} to {max}"),
        Kind::AutoOr(min, max) => format!("`auto`, or {min} to {max}"),
        Kind::Switch => "`true`, `false`".to_owned(),
        Kind::Choice(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
        Kind::Period(Zero::Allowed) => "period, from 0s".to_owned(),
        Kind::Period(Zero::Refused) => "period, over 0s".to_owned(),
        Kind::Size(min, max) => format!("{} to {}", size_text(min), size_text(max)),
        Kind::Path => "path".to_owned(),
        Kind::Target => "path of a request, or nothing".to_owned(),
        Kind::Place => "address:port or absolute path, or nothing".to_owned(),
        Kind::Collector => "URL, or nothing".to_owned(),
        Kind::Text => "text".to_owned(),
        Kind::Secret => "text, shown nowhere".to_owned(),
        Kind::Words => "list of words".to_owned(),
        Kind::Paths => "list of paths".to_owned(),
        Kind::Variables => "table of texts".to_owned(),
        Kind::Tables(_) => "array of tables".to_owned(),
    }
}
