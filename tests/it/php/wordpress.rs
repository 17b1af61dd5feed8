//! WordPress on SQLite behind the sidecar, as its first visitor and its owner use it: installed, logged in to, written
//! in, given a picture, and looked at for what must not be seen.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use super::fpm;
use crate::support::{Client, Response, Sidecar, app};

const PASSWORD: &str = "Abc123!xyz";

/// A browser: one connection, and cookies.
struct Visitor {
    client: Client,
    cookies: BTreeMap<String, String>,
}

impl Visitor {
    fn new(sidecar: &Sidecar) -> Self {
        Self { client: sidecar.client(), cookies: BTreeMap::new() }
    }

    /// The page at `path`, which has this status.
    fn get(&mut self, status: u16, path: &str) -> String {
        let answer = self.ask(status, path, "GET", "", b"");
        String::from_utf8_lossy(&answer.body).into_owned()
    }

    /// What a form of these fields is answered with.
    fn submit(&mut self, status: u16, path: &str, fields: &[(&str, &str)]) -> Response {
        let form: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
        self.post(status, path, "application/x-www-form-urlencoded", form.join("&").as_bytes())
    }

    fn post(&mut self, status: u16, path: &str, kind: &str, body: &[u8]) -> Response {
        let fields = format!("Content-Type: {kind}\r\nContent-Length: {}\r\n", body.len());
        self.ask(status, path, "POST", &fields, body)
    }

    fn ask(&mut self, status: u16, path: &str, method: &str, fields: &str, body: &[u8]) -> Response {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = cookies.join("; ");
        self.client.send(format!("{method} {path} HTTP/1.1\r\nHost: a\r\nCookie: {cookies}\r\n{fields}\r\n"));
        self.client.send(body);
        let answer = self.client.response();
        let text = String::from_utf8_lossy(&answer.body);
        assert_eq!(answer.status(), status, "{method} {path}: {}{text}", answer.head);
        for line in answer.head.split("\r\n") {
            let Some((name, value)) = line.split_once(": ") else { continue };
            if name.eq_ignore_ascii_case("set-cookie") {
                let (name, value) =
                    value.split(';').next().and_then(|it| it.split_once('=')).expect("a cookie");
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    /// The number that the form of this page must be sent with.
    fn nonce(&mut self, page: &str) -> String {
        between(&self.get(200, page), "name=\"_wpnonce\" value=\"", "\"")
    }
}

#[test]
fn wordpress_is_installed_written_in_and_read_as_behind_nginx() {
    let (_dir, sidecar) = site();
    let mut owner = Visitor::new(&sidecar);

    let answer = owner.ask(302, "/", "GET", "", b"");
    assert!(answer.field("location").unwrap().ends_with("/wp-admin/install.php"), "{}", answer.head);
    assert!(owner.get(200, "/wp-admin/install.php?step=1").contains("Site Title"));
    let answer = owner.submit(
        200,
        "/wp-admin/install.php?step=2",
        &[
            ("weblog_title", "Warm"),
            ("user_name", "admin"),
            ("admin_password", PASSWORD),
            ("admin_password2", PASSWORD),
            ("pw_weak", "on"),
            ("admin_email", "a@example.com"),
            ("blog_public", "0"),
            ("Submit", "Install"),
        ],
    );
    assert!(answer.text().contains("Success"), "{}", answer.text());
    assert!(owner.get(200, "/").contains("<title>Warm"));

    log_in(&mut owner);
    // A directory has its slash, as with nginx's `$uri/`.
    let answer = owner.ask(301, "/wp-admin", "GET", "", b"");
    assert!(answer.field("location").unwrap().ends_with("/wp-admin/"), "{}", answer.head);
    assert!(owner.get(200, "/wp-admin/").contains("Dashboard"));
    assert!(owner.get(200, "/wp-admin/plugins.php").contains("SQLite"));

    write_a_post(&mut owner);
    name_pages_by_their_titles(&mut owner);
    let mut visitor = Visitor::new(&sidecar);
    assert!(visitor.get(200, "/hello-from-warmfront/").contains("Hello from warmfront"));
    assert!(visitor.get(200, "/wp-json/wp/v2/posts").contains("hello-from-warmfront"));
    assert!(visitor.get(404, "/nothing-here/").contains("Page not found"));

    let picture = upload_a_picture(&mut owner);
    let answer = visitor.ask(200, &picture, "GET", "", b"");
    assert_eq!(answer.field("content-type"), Some("image/png"));
    assert_eq!(answer.body, std::fs::read(picture_file()).unwrap());
}

#[test]
fn wordpress_shows_its_styles_and_none_of_its_secrets() {
    let (_dir, sidecar) = site();
    let mut visitor = Visitor::new(&sidecar);
    for (path, text) in [
        ("/wp-includes/css/dist/block-library/style.min.css", "wp-block"),
        ("/wp-includes/js/jquery/jquery.min.js", "jQuery"),
    ] {
        assert!(visitor.get(200, path).contains(text), "{path}");
    }
    for path in ["/wp-content/database/.ht.sqlite", "/.htaccess", "/.installed-from"] {
        assert!(visitor.get(404, path).contains("Nothing is at this path"), "{path}");
    }
    // A script, that says nothing.
    visitor.get(302, "/wp-config.php");
}

/// A site that nobody has installed yet, and the sidecar in front of it.
fn site() -> (tempfile::TempDir, Sidecar) {
    let dir = tempfile::tempdir().expect("a directory");
    let site = dir.path().join("site");
    let copied = Command::new("cp").arg("-r").arg(app("wordpress/site")).arg(&site).status();
    assert!(copied.expect("cp runs").success());
    std::fs::remove_file(site.join("wp-content/database/.ht.sqlite")).expect("setup-tests has installed it");
    let sidecar = fpm().set("php.root", site.to_str().expect("UTF-8")).start();
    (dir, sidecar)
}

fn log_in(owner: &mut Visitor) {
    assert!(owner.get(200, "/wp-login.php").contains("Log In"));
    let form = [("log", "admin"), ("pwd", PASSWORD), ("testcookie", "1")];
    let answer = owner.submit(302, "/wp-login.php", &form);
    assert!(answer.field("location").expect("somewhere").ends_with("/wp-admin/"), "{}", answer.head);
}

fn write_a_post(owner: &mut Visitor) {
    let page = owner.get(200, "/wp-admin/post-new.php");
    let settings = between(&page, "wpApiSettings = {", "}");
    let nonce = between(&settings, "\"nonce\":\"", "\"");
    let post = r#"{"title":"Hello from warmfront","status":"publish","content":"text"}"#;
    let fields = format!(
        "X-WP-Nonce: {nonce}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n",
        post.len()
    );
    let answer = owner.ask(201, "/?rest_route=/wp/v2/posts", "POST", &fields, post.as_bytes());
    assert!(answer.text().contains("hello-from-warmfront"), "{}", answer.text());
}

fn name_pages_by_their_titles(owner: &mut Visitor) {
    let nonce = owner.nonce("/wp-admin/options-permalink.php");
    let form = [
        ("_wpnonce", nonce.as_str()),
        ("selection", "/%postname%/"),
        ("permalink_structure", "/%postname%/"),
    ];
    let answer = owner.submit(302, "/wp-admin/options-permalink.php", &form);
    assert!(answer.field("location").expect("somewhere").contains("settings-updated"), "{}", answer.head);
    // WordPress makes the new rules when this page is shown.
    owner.get(200, "/wp-admin/options-permalink.php?settings-updated=true");
}

/// The path at which it is then.
fn upload_a_picture(owner: &mut Visitor) -> String {
    let nonce = owner.nonce("/wp-admin/media-new.php");
    let mut body = Vec::new();
    for (name, value) in [("_wpnonce", nonce.as_str()), ("action", "upload-attachment"), ("name", "d.png")] {
        body.extend(
            format!("--parts\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").bytes(),
        );
    }
    body.extend(b"--parts\r\nContent-Disposition: form-data; name=\"async-upload\"; filename=\"d.png\"\r\n");
    body.extend(b"Content-Type: image/png\r\n\r\n");
    body.extend(std::fs::read(picture_file()).expect("WordPress's own"));
    body.extend(b"\r\n--parts--\r\n");
    let answer = owner.post(200, "/wp-admin/async-upload.php", "multipart/form-data; boundary=parts", &body);
    let said: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!(said["success"], true, "{said}");
    let url = said["data"]["url"].as_str().expect("an address");
    url.strip_prefix("http://a").expect("the host that was asked for").to_owned()
}

fn picture_file() -> std::path::PathBuf {
    Path::new(&app("wordpress/site")).join("wp-includes/images/media/default.png")
}

fn between(text: &str, before: &str, behind: &str) -> String {
    let rest = text.split_once(before).unwrap_or_else(|| panic!("no {before} in {text}")).1;
    rest.split_once(behind).expect("an end").0.to_owned()
}

fn escaped(value: &str) -> String {
    value.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() {
            out.push(byte.into());
        } else {
            write!(out, "%{byte:02X}").expect("a String");
        }
        out
    })
}
