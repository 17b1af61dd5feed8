//! The apps, what each of them is promised, and a test for each.

use super::play::play;

/// An app and what is promised to whoever runs it.
pub(super) struct App {
    /// What it is, and where its port comes from.
    pub(super) what: &'static str,
    /// Its directory below `tests/apps`, in which it is started.
    pub(super) dir: &'static str,
    /// Its own command, as one types it.
    pub(super) command: &'static str,
    /// The way in that is found, as the admin calls it.
    pub(super) rung: &'static str,
    /// What becomes of connections to its workers.
    pub(super) connections: Connections,
    /// Whether POST is tried, too.
    pub(super) posts: bool,
    /// What is asked for with GET, in turn.
    pub(super) targets: &'static [&'static str],
    /// Keys that say what its command does not.
    pub(super) keys: &'static [(&'static str, &'static str)],
}

/// What becomes of a connection behind an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connections {
    /// It serves the next request.
    Kept,
    /// The app closes it.
    Closed,
}

use Connections::{Closed, Kept};

/// One that keeps connections and answers POST, like most.
const fn kept(what: &'static str, dir: &'static str, command: &'static str, rung: &'static str) -> App {
    App { what, dir, command, rung, connections: Kept, posts: true, targets: &["/"], keys: &[] }
}

/// One that closes each connection behind its answer.
const fn closed(what: &'static str, dir: &'static str, command: &'static str, rung: &'static str) -> App {
    App { connections: Closed, ..kept(what, dir, command, rung) }
}

/// Only root may see the tests' files, and two masters share two cores.
const PHP: &[(&str, &str)] = &[("php.user", "root"), ("workers.concurrency", "4")];

/// Rows, and a test of the same name for each.
macro_rules! apps {
    ($($name:ident: $app:expr;)*) => {
        /// Each app.
        pub(super) const TABLE: &[App] = &[$($app),*];

        mod runs_unchanged {
            $(
                #[test]
                fn $name() {
                    super::play(&super::$name);
                }
            )*
        }

        $(
            #[expect(non_upper_case_globals, reason = "the same name as its test")]
            const $name: App = $app;
        )*
    };
}

apps! {
    express: kept("Express, port 9000 in the source", "node", "node express.js", "shim");
    express_by_npm: kept("the same by its package's script", "node", "npm start", "shim");
    node_cluster: kept("the same in Node's cluster", "node", "node cluster.js", "shim");
    node_on_another_port: kept(
        "Node's own server, port 8123 in the source",
        "node", "node other_port.js", "shim",
    );
    fastify: kept("Fastify, `PORT`", "node", "node fastify.js", "shim");
    typescript: kept(
        "the platform's TypeScript sample, port 9000 on `0.0.0.0` in the source",
        "typescript", "ts-node --transpile-only server.ts", "shim",
    );
    nextjs: kept(
        "Next.js, standalone build, `PORT`",
        "nextjs", "node .next/standalone/server.js", "shim",
    );
    tornado: kept(
        "the platform's Tornado sample, `int(FC_SERVER_PORT)`",
        "python", "python tornado_app.py", "shim",
    );
    flask: closed(
        "Flask's development server, port 9000 in the source",
        "python", "python flask_app.py", "shim",
    );
    gunicorn_sync: closed("gunicorn, sync workers", "python", "gunicorn flask_app:app", "socket");
    gunicorn_threads: kept("gunicorn, threads", "python", "gunicorn --threads 4 flask_app:app", "socket");
    gunicorn_with_a_port: kept(
        "gunicorn, port 9000 in its command",
        "python", "gunicorn --threads 4 -b 0.0.0.0:9000 flask_app:app", "shim",
    );
    uvicorn: kept("uvicorn", "python", "uvicorn asgi_app:app", "socket");
    uvicorn_with_a_port: kept(
        "uvicorn, port 9000 in its command",
        "python", "uvicorn --host 0.0.0.0 --port 9000 asgi_app:app", "socket",
    );
    hypercorn: kept("hypercorn", "python", "hypercorn asgi_app:app", "socket");
    waitress: kept("waitress", "python", "waitress-serve flask_app:app", "socket");
    waitress_with_a_port: kept(
        "waitress, port 9000 in its command",
        "python", "waitress-serve --port=9000 flask_app:app", "shim",
    );
    python_http_server: App {
        posts: false,
        ..closed(
            "Python's file server, port 9000 in its command",
            "python/public", "python -m http.server 9000", "shim",
        )
    };
    php_server: closed(
        "PHP's own server, port 9000 in its command",
        "php-server", "php -S 0.0.0.0:9000 index.php", "shim",
    );
    jdk_http_server: kept(
        "the JDK's own server, port 9000 in the source",
        "java", "java -cp classes Server", "shim",
    );
    jetty: kept(
        "Jetty within a program, `SERVER_PORT`",
        "java", "java -cp classes:/usr/share/java/* Jetty", "shim",
    );
    go_static: kept("Go, linked statically, port 9000 in the source", "go", "./app-static", "remap");
    go_dynamic: kept("Go with cgo, port 9000 in the source", "go", "./app", "remap");
    puma: kept("Rack on puma, port 9000 in its command", "ruby", "puma -p 9000", "shim");
    php_fpm: App {
        keys: PHP,
        ..kept("php-fpm, in FastCGI", "php", "php-fpm", "socket")
    };
    wordpress: App {
        keys: PHP,
        posts: false,
        // As a browser loads a page with what belongs to it.
        targets: &[
            "/",
            "/wp-includes/blocks/navigation/style.min.css",
            "/wp-includes/blocks/image/style.min.css",
            "/wp-includes/blocks/navigation/view.min.js",
            "/wp-includes/css/dist/block-library/style.min.css",
            "/wp-includes/js/jquery/jquery.min.js",
            "/wp-includes/js/wp-emoji-release.min.js",
            "/wp-includes/images/w-logo-blue-white-bg.png",
            "/wp-content/themes/twentytwentyfour/assets/fonts/cardo/cardo_normal_400.woff2",
            "/wp-content/themes/twentytwentyfour/assets/images/building-exterior.webp",
        ],
        ..kept("WordPress 6.5 on php-fpm and SQLite, in FastCGI", "wordpress/site", "php-fpm", "socket")
    };
    shell_bootstrap: closed("a `bootstrap` that becomes PHP's own server", "shell", "./bootstrap", "shim");
}
