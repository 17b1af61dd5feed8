//! What well-known programs can be told about where to listen, and for how long to keep a connection that rests.
//!
//! One table, each row with its source. What a user has said in the command counts more: a row whose socket would
//! contradict it is not used, and the next rung of the ladder serves.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::config::resolve::decisive;

/// What keeps idle connections of Node's servers open, for `NODE_OPTIONS`.
pub(super) const NODE_PATIENCE: &str = include_str!("patience.cjs");

/// One thing to tell a program. `{socket}` is the path of its socket, `{node}` that of [`NODE_PATIENCE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tell {
    /// This word right behind the program's own.
    Word(&'static str),
    /// This variable, whatever it was.
    Set(&'static str, &'static str),
    /// This variable, unless somebody has set it.
    Default(&'static str, &'static str),
    /// The same behind what the variable holds already, as one more word.
    Append(&'static str, &'static str),
}

impl Tell {
    /// Whether it needs [`NODE_PATIENCE`] to be somewhere.
    pub(super) fn needs_node(self) -> bool {
        matches!(self, Append(_, value) if value.contains("{node}"))
    }
}

/// What is known of some programs.
#[derive(Debug)]
pub(super) struct Native {
    /// Their names, or those of the modules that `python -m` runs.
    programs: &'static [&'static str],
    /// How they are told to listen on a socket; empty if they cannot be.
    socket: &'static [Tell],
    /// Words of a command, and of a variable that is appended to, which contradict that.
    contradicted_by: &'static [&'static str],
    /// How they are told to keep connections that rest.
    patience: &'static [Tell],
}

use Tell::{Append, Default, Set, Word};

const TABLE: &[Native] = &[
    // https://docs.gunicorn.org/en/stable/settings.html (GUNICORN_CMD_ARGS, bind, keepalive). The sync worker class
    // closes each connection whatever it is told.
    Native {
        programs: &["gunicorn"],
        socket: &[Append("GUNICORN_CMD_ARGS", "--bind=unix:{socket}")],
        contradicted_by: &["-b", "--bind"],
        patience: &[Append("GUNICORN_CMD_ARGS", "--keep-alive=86400")],
    },
    // https://www.uvicorn.org/settings (each option is a variable with UVICORN_ in front; --uds wins over --port).
    Native {
        programs: &["uvicorn"],
        socket: &[Set("UVICORN_UDS", "{socket}")],
        contradicted_by: &["--uds", "--fd"],
        patience: &[Default("UVICORN_TIMEOUT_KEEP_ALIVE", "86400")],
    },
    // https://hypercorn.readthedocs.io/en/latest/how_to_guides/configuring.html (binds of file and command add up).
    Native {
        programs: &["hypercorn"],
        socket: &[Word("--bind=unix:{socket}")],
        contradicted_by: &["-b", "--bind", "-c", "--config"],
        patience: &[Word("--keep-alive=86400")],
    },
    // https://github.com/emmett-framework/granian (GRANIAN_UDS).
    Native {
        programs: &["granian"],
        socket: &[Set("GRANIAN_UDS", "{socket}")],
        contradicted_by: &["--uds"],
        patience: &[],
    },
    // https://docs.pylonsproject.org/projects/waitress/en/stable/runner.html (options stand in front of the app).
    Native {
        programs: &["waitress-serve", "waitress"],
        socket: &[Word("--unix-socket={socket}")],
        contradicted_by: &["--unix-socket", "--listen", "--host", "--port"],
        patience: &[Word("--channel-timeout=86400")],
    },
    // https://github.com/django/daphne (-u; --http-timeout is off by default).
    Native {
        programs: &["daphne"],
        socket: &[Word("--unix-socket={socket}")],
        contradicted_by: &["-u", "--unix-socket", "-b", "--bind", "-p", "--port", "--fd", "-e", "--endpoint"],
        patience: &[],
    },
    // https://github.com/puma/puma (lib/puma/configuration.rb: PUMA_PERSISTENT_TIMEOUT). A bind on the command line adds
    // to those of config/puma.rb, so the socket is left to the next rung.
    Native {
        programs: &["puma", "pumactl", "rails", "rackup", "bundle"],
        socket: &[],
        contradicted_by: &[],
        patience: &[Default("PUMA_PERSISTENT_TIMEOUT", "86400")],
    },
    // https://learn.microsoft.com/aspnet/core/fundamentals/servers/kestrel/endpoints (http://unix:/path).
    Native {
        programs: &["dotnet"],
        socket: &[Set("ASPNETCORE_URLS", "http://unix:{socket}")],
        contradicted_by: &["--urls"],
        patience: &[],
    },
    // https://docs.spring.io/spring-boot/appendix/application-properties (server.tomcat.*, server.jetty.*),
    // https://quarkus.io/guides/all-config (quarkus.http.idle-timeout).
    Native {
        programs: &["java"],
        socket: &[],
        contradicted_by: &[],
        patience: &[
            Default("SERVER_TOMCAT_KEEP_ALIVE_TIMEOUT", "-1"),
            Default("SERVER_TOMCAT_MAX_KEEP_ALIVE_REQUESTS", "-1"),
            Default("SERVER_JETTY_CONNECTION_IDLE_TIMEOUT", "86400s"),
            Default("QUARKUS_HTTP_IDLE_TIMEOUT", "24H"),
        ],
    },
    // https://nodejs.org/api/http.html#serverkeepalivetimeout, https://nextjs.org/docs/app/api-reference/cli/next
    // (KEEP_ALIVE_TIMEOUT of the standalone server, milliseconds).
    Native {
        programs: &["node", "nodejs", "npm", "npx", "yarn", "pnpm", "tsx", "ts-node", "next", "pm2-runtime"],
        socket: &[],
        contradicted_by: &[],
        patience: &[Append("NODE_OPTIONS", "--require={node}"), Default("KEEP_ALIVE_TIMEOUT", "86400000")],
    },
];

/// The row of the program that `argv` starts, through `env` and `python -m`; scripts are known by their interpreter,
/// `interpreter`.
pub(super) fn of(argv: &[OsString], interpreter: Option<&OsStr>) -> Option<&'static Native> {
    let named = |name: &OsStr| TABLE.iter().find(|row| row.programs.iter().any(|program| name == *program));
    let (_, name) = decisive(argv)?;
    named(name).or_else(|| named(Path::new(interpreter?).file_name()?))
}

impl Native {
    /// How it is told to listen on a socket; `None` if it cannot be, or its command or a variable says otherwise.
    pub(super) fn socket(
        &self,
        argv: &[OsString],
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Option<&'static [Tell]> {
        let contradicts = |word: &[u8]| {
            let is = |option: &str| {
                let rest = word.strip_prefix(option.as_bytes());
                // A long option may have its value behind `=`, a short one right behind it.
                rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'=' || !option.starts_with("--"))
            };
            self.contradicted_by.iter().any(|option| is(option))
        };
        let appended = self.socket.iter().filter_map(|tell| match tell {
            Append(name, _) => variable(name),
            _ => None,
        });
        let is_contradicted = argv.iter().any(|word| contradicts(word.as_bytes()))
            || appended
                .into_iter()
                .any(|value| value.as_bytes().split(|&byte| byte == b' ').any(contradicts));
        (!self.socket.is_empty() && !is_contradicted).then_some(self.socket)
    }

    /// How it is told to keep connections that rest.
    pub(super) fn patience(&self) -> &'static [Tell] {
        self.patience
    }
}

/// Behind which word of `argv` a [`Tell::Word`] goes.
pub(super) fn behind(argv: &[OsString]) -> usize {
    decisive(argv).map_or(0, |(at, _)| at)
}
