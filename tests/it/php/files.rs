//! Files that need no PHP, and everything that must not be one.

use std::fs;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::program;
use crate::support::{Response, Setup, Sidecar, get};

/// A site with files, scripts, secrets, and links that lead out of it.
fn site(change: impl FnOnce(Setup) -> Setup) -> (Sidecar, TempDir) {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path().join("site");
    for folder in ["site/css", "site/.git", "site/.well-known", "site/up", "outside"] {
        fs::create_dir_all(dir.path().join(folder)).expect("made");
    }
    for (name, content) in [
        ("site/index.php", "<?php echo 'front';"),
        ("site/other.php", "<?php echo 'other';"),
        ("site/css/a b.css", "0123456789"),
        ("site/.env", "SECRET"),
        ("site/.git/config", "SECRET"),
        ("site/.well-known/x.txt", "well known"),
        ("site/config.php.bak", "<?php SECRET"),
        ("site/Upper.PHP", "<?php SECRET"),
        ("site/up/photo.jpg", "<?php echo 'SECRET';"),
        ("outside/secret.txt", "SECRET"),
        ("outside/evil.php", "<?php echo 'SECRET';"),
    ] {
        fs::write(dir.path().join(name), content).expect("written");
    }
    symlink(dir.path().join("outside"), root.join("link")).expect("linked");
    symlink(dir.path().join("outside/evil.php"), root.join("evil.php")).expect("linked");
    symlink("css", root.join("styles")).expect("linked");
    let setup = Setup::run([program()])
        .set("php.root", root.to_str().expect("UTF-8"))
        .set("php.user", "root")
        .set("workers.concurrency", "2");
    (change(setup).start(), dir)
}

fn with(target: &str, lines: &str) -> String {
    get(target).replace("\r\n\r\n", &format!("\r\n{lines}\r\n\r\n"))
}

fn field<'a>(response: &'a Response, name: &str) -> &'a str {
    response.field(name).unwrap_or_else(|| panic!("no {name}: {}", response.head))
}

#[test]
fn a_file_is_sent_with_what_caches_need() {
    let (sidecar, _dir) = site(|setup| setup);
    let mut client = sidecar.client();
    let whole = client.ask(get("/css/a%20b.css?v=3"));
    assert_eq!((whole.status(), whole.text()), (200, "0123456789"));
    assert_eq!(field(&whole, "content-type"), "text/css");
    assert_eq!(field(&whole, "content-length"), "10");
    let (tag, date) = (field(&whole, "etag"), field(&whole, "last-modified"));
    client.send(get("/css/a%20b.css").replace("GET", "HEAD"));
    assert!(client.head().contains("Content-Length: 10\r\n"));
    for condition in [format!("If-None-Match: {tag}"), format!("If-Modified-Since: {date}")] {
        client.send(with("/css/a%20b.css", &condition));
        assert!(client.head().starts_with("HTTP/1.1 304 "));
    }
    let part = client.ask(with("/styles/a%20b.css", "Range: bytes=2-4"));
    assert_eq!((part.status(), part.text()), (206, "234"));
    assert_eq!(field(&part, "content-range"), "bytes 2-4/10");
    let none = client.ask(with("/css/a%20b.css", "Range: bytes=10-"));
    assert_eq!((none.status(), field(&none, "content-range")), (416, "bytes */10"));
    let stale = client.ask(with("/css/a%20b.css", "Range: bytes=2-4\r\nIf-Range: \"other\""));
    assert_eq!((stale.status(), stale.text()), (200, "0123456789"));
    let written =
        client.ask(get("/css/a%20b.css").replace("GET", "POST").replace("Host", "Content-Length: 0\r\nHost"));
    assert_eq!((written.status(), field(&written, "allow")), (405, "GET, HEAD"));
    assert_eq!(client.ask(get("/.well-known/x.txt")).text(), "well known");
}

#[test]
fn a_large_file_arrives_whole_in_bounded_memory() {
    let (sidecar, dir) = site(|setup| setup);
    let noise = crate::support::noise(30 << 20);
    fs::write(dir.path().join("site/large.bin"), &noise).unwrap();
    let mut client = sidecar.client();
    client.ask(get("/large.bin"));
    let before = sidecar.rss();
    let answer = client.ask(get("/large.bin"));
    assert!(answer.body == noise);
    let grown = sidecar.rss().saturating_sub(before);
    assert!(grown < 8 << 20, "{grown} bytes more");
}

#[test]
fn a_directory_is_its_index_behind_its_slash() {
    let (sidecar, dir) = site(|setup| setup);
    fs::create_dir_all(dir.path().join("site/docs")).unwrap();
    fs::write(dir.path().join("site/docs/index.html"), "<p>docs").unwrap();
    let mut client = sidecar.client();
    let redirect = client.ask(get("//docs?a=b"));
    assert_eq!(
        (redirect.status(), field(&redirect, "location")),
        (301, "/docs/?a=b"),
        "and never another host"
    );
    assert_eq!(client.ask(get("/docs/")).text(), "<p>docs");
    assert_eq!(client.ask(get("/")).text(), "front");
    assert_eq!(client.ask(get("/no/such/page")).text(), "front");
    assert_eq!(client.ask(get("/other.php/with/info")).text(), "other");
}

#[test]
fn no_path_leads_to_a_secret_the_source_of_a_script_or_out_of_the_root() {
    let (sidecar, _dir) = site(|setup| setup);
    let mut client = sidecar.client();
    for (target, status) in [
        ("/.env", 404),
        ("/%2eenv", 404),
        ("/.git/config", 404),
        ("/css/../.env", 404),
        ("/../outside/secret.txt", 400),
        ("/%2e%2e/outside/secret.txt", 400),
        ("/css/..%2f..%2foutside/secret.txt", 400),
        ("/other.php%00.css", 400),
        ("/config.php.bak", 200),
        ("/Upper.PHP", 200),
        ("/up/photo.jpg/x.php", 200),
        ("/link/secret.txt", 200),
        ("/link/evil.php", 200),
        ("/evil.php", 200),
    ] {
        let answer = client.ask(get(target));
        assert_eq!(answer.status(), status, "{target}: {}", answer.text());
        assert!(!answer.text().contains("SECRET"), "{target}: {}", answer.text());
        assert!(status != 200 || answer.text() == "front", "{target}: {}", answer.text());
    }
    let photo = client.ask(get("/up/photo.jpg"));
    assert_eq!(field(&photo, "content-type"), "image/jpeg", "and not run");
}

#[test]
fn links_out_of_the_root_are_followed_where_that_is_wanted() {
    let (sidecar, _dir) = site(|setup| setup.set("php.follow_links", "true"));
    assert_eq!(sidecar.client().ask(get("/link/secret.txt")).text(), "SECRET");
}

#[test]
fn without_a_front_controller_what_is_not_there_is_missing() {
    let (sidecar, _dir) = site(|setup| setup.set("php.front", "").set("php.files", "false"));
    let mut client = sidecar.client();
    let missing = client.ask(get("/no/such/page"));
    assert_eq!((missing.status(), field(&missing, "x-warmfront-reason")), (404, "php-missing"));
    assert_eq!(client.ask(get("/css/a%20b.css")).status(), 404);
    assert_eq!(client.ask(get("/other.php")).text(), "other");
}
