//! `docs/apps.md`: what the table promises, for whoever looks for their own stack.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::table::{Connections, TABLE};

/// What cannot be had here: what, command, way in, why it is not in the table.
const NOT_HERE: &[[&str; 4]] = &[
    [
        "Swoole",
        "`php server.php`",
        "`shim`",
        "not run: neither Debian nor PyPI nor npm has it; it binds through libc as PHP's own server does",
    ],
    [
        "Tomcat, Spring Boot",
        "`java -jar app.jar`",
        "`shim`",
        "not run here for their size: Jetty stands for them, they bind through the same calls of the JDK",
    ],
    ["Kestrel", "`dotnet app.dll`", "`socket`", "not run: Debian 12 has no .NET; told by `ASPNETCORE_URLS`"],
];

const HEAD: &str = "\
# Apps\n\n\
<!-- Generated from tests/it/apps: WARMFRONT_BLESS=1 cargo test --test it apps:: -->\n\n\
Real programs, unchanged, each started as `warmfront run -- <its own command>` with two workers. Each row is a\n\
test of the same promises:\n\n\
- both workers become ready on the way in that is named ([what they mean](transports.md)), beside each other;\n\
- 1,000 requests at 16 at once, GET and POST in turn, have no error;\n\
- while 16 clients go on asking, one worker is killed with `kill -9` and the other restarted by the admin: at\n  \
  most what the killed one held fails;\n\
- TERM ends everything with exit code 0 within the grace.\n\n\
Nobody has to change a line of any of them. How to move your own app is in [migrate](migrate.md), a configuration for\n\
each stack in [examples](../examples).\n\n\
| app | command | way in | connections to it |\n|---|---|---|---|\n";

#[test]
fn the_page_of_apps_says_what_the_table_promises() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/apps.md");
    let wanted = page();
    if std::env::var_os("WARMFRONT_BLESS").is_some() {
        fs::write(&path, &wanted).expect("docs/apps.md is writable");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "docs/apps.md does not say what tests/it/apps holds; run: WARMFRONT_BLESS=1 cargo test --test it apps::"
    );
}

/// `docs/apps.md`, whole.
fn page() -> String {
    let mut page = HEAD.to_owned();
    for app in TABLE {
        let connections = match app.connections {
            Connections::Kept => "kept",
            Connections::Closed => "closed by the app behind each answer",
        };
        let connections =
            if app.posts { connections.to_owned() } else { format!("{connections}; asked with GET only") };
        writeln!(page, "| {} | `{}` | `{}` | {connections} |", app.what, app.command, app.rung)
            .expect("a String");
    }
    page.push_str("\n## Not here\n\n| app | command | way in | |\n|---|---|---|---|\n");
    for [what, command, rung, why] in NOT_HERE {
        writeln!(page, "| {what} | {command} | {rung} | {why} |").expect("a String");
    }
    page
}
