//! What one life of a worker is told: the words of its command, and its environment.
//!
//! Where to listen is told in every way that programs ask for it: in the arguments (`{socket}`, `{fd}`, `{port}`), as
//! `WARMFRONT_SOCKET`, and in the variables that the platform's own runtimes and others read, which otherwise would
//! lead it to the port that is ours.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

use super::native::{self, Tell};
use super::start;
use crate::upstream::pool::WorkerId;

/// Variables that tell a program where to listen, on the platform and nearly everywhere.
const LISTEN_VARIABLES: [&str; 3] = ["PORT", "FC_SERVER_PORT", "FC_CUSTOM_LISTEN_PORT"];

/// Variables in which single frameworks look for a port. Set where nobody has said anything: one that is there may mean
/// something else to the app.
const PORT_VARIABLES: [&str; 12] = [
    "SERVER_PORT",
    "ASPNETCORE_HTTP_PORTS",
    "UVICORN_PORT",
    "GRANIAN_PORT",
    "FLASK_RUN_PORT",
    "BUN_PORT",
    "NITRO_PORT",
    "NUXT_PORT",
    "QUARKUS_HTTP_PORT",
    "MICRONAUT_SERVER_PORT",
    "ROCKET_PORT",
    "FUNCTIONS_CUSTOMHANDLER_PORT",
];

/// The values of the placeholders for one life of one worker, and what else its program is told.
#[derive(Clone, Debug)]
pub(super) struct Words {
    pub(super) worker: WorkerId,
    /// A socket on which it may listen.
    pub(super) socket: Option<PathBuf>,
    /// The descriptor that it inherits, listening.
    pub(super) fd: Option<i32>,
    /// The port that it shall listen on, or believes that it does.
    pub(super) port: Option<u16>,
    /// What its program understands beside that.
    pub(super) native: Vec<Tell>,
    /// Where [`native::NODE_PATIENCE`] is.
    pub(super) node: Option<PathBuf>,
}

impl Words {
    /// The command, filled in, with what its program is told in words.
    pub(super) fn argv(&self, argv: &[OsString]) -> Vec<OsString> {
        let mut words: Vec<_> = argv.iter().map(|word| self.fill(word)).collect();
        let behind = native::behind(argv) + 1;
        let told = self.native.iter().filter_map(|tell| match tell {
            Tell::Word(word) => Some(self.fill(OsStr::new(word))),
            _ => None,
        });
        let told: Vec<_> = told.collect();
        words.splice(behind..behind, told);
        words
    }

    /// Inherited, then ours, then the user's: the later wins. What a program is told for itself is put in last, and
    /// behind the user's own words where it can be.
    pub(super) fn environment(
        &self,
        inherited: impl Iterator<Item = (OsString, OsString)>,
        configured: &[(String, String)],
    ) -> BTreeMap<OsString, OsString> {
        let mut env = start::inherited(inherited);
        let listen = match (self.port, &self.socket, self.fd) {
            (Some(port), ..) => Some(port.to_string().into()),
            (None, Some(socket), _) => Some(socket.clone().into_os_string()),
            (None, None, Some(_) | None) => None,
        };
        for name in LISTEN_VARIABLES {
            match &listen {
                Some(listen) => env.insert(name.into(), listen.clone()),
                None => env.remove(OsStr::new(name)),
            };
        }
        if let Some(port) = self.port {
            for name in PORT_VARIABLES {
                env.entry(name.into()).or_insert_with(|| port.to_string().into());
            }
        }
        env.insert("WARMFRONT_WORKER_ID".into(), self.worker.to_string().into());
        // What we inherited (a sidecar under a sidecar) would name somebody else's.
        for name in ["WARMFRONT_SOCKET", "WARMFRONT_SHIM", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"] {
            env.remove(OsStr::new(name));
        }
        if let Some(socket) = &self.socket {
            env.insert("WARMFRONT_SOCKET".into(), socket.clone().into_os_string());
        }
        if self.fd.is_some() {
            env.insert("LISTEN_FDS".into(), "1".into());
            // Written over behind the fork (see [`crate::sys::spawn`]).
            env.insert("LISTEN_PID".into(), OsString::new());
        }
        env.extend(configured.iter().map(|(name, value)| (name.into(), self.fill(OsStr::new(value)))));
        for tell in &self.native {
            self.tell(&mut env, *tell);
        }
        env
    }

    fn tell(&self, env: &mut BTreeMap<OsString, OsString>, tell: Tell) {
        match tell {
            Tell::Word(_) => {}
            Tell::Set(name, value) => {
                env.insert(name.into(), self.fill(OsStr::new(value)));
            }
            Tell::Default(name, value) => {
                env.entry(name.into()).or_insert_with(|| self.fill(OsStr::new(value)));
            }
            Tell::Append(name, value) => {
                let all = env.entry(name.into()).or_default();
                if !all.is_empty() {
                    all.push(" ");
                }
                all.push(self.fill(OsStr::new(value)));
            }
        }
    }

    /// `text` with every placeholder that has a value replaced; what was put in is not looked at again.
    pub(super) fn fill(&self, text: &OsStr) -> OsString {
        let number = self.worker.to_string();
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.as_os_str().as_bytes().to_vec());
        let names: [(&[u8], Option<Vec<u8>>); 5] = [
            (b"{socket}", path(&self.socket)),
            (b"{fd}", self.fd.map(|fd| fd.to_string().into_bytes())),
            (b"{port}", self.port.map(|port| port.to_string().into_bytes())),
            (b"{worker}", Some(number.into_bytes())),
            (b"{node}", path(&self.node)),
        ];
        let (mut rest, mut filled) = (text.as_bytes(), Vec::new());
        while let Some((&first, tail)) = rest.split_first() {
            let found =
                names.iter().find_map(|(name, value)| Some((rest.strip_prefix(*name)?, value.as_ref()?)));
            if let Some((behind, value)) = found {
                filled.extend_from_slice(value);
                rest = behind;
            } else {
                filled.push(first);
                rest = tail;
            }
        }
        OsString::from_vec(filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> Words {
        Words { worker: WorkerId(7), socket: None, fd: None, port: None, native: Vec::new(), node: None }
    }

    fn environment(words: &Words, configured: &[(&str, &str)]) -> BTreeMap<OsString, OsString> {
        let inherited = [("PORT", "8080"), ("FC_SERVER_PORT", "9000"), ("SERVER_PORT", "1"), ("HOME", "/h")];
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let configured: Vec<_> = configured.iter().map(owned).collect();
        words.environment(inherited.iter().map(|(name, value)| (name.into(), value.into())), &configured)
    }

    #[test]
    fn the_users_own_variable_wins_over_ours() {
        let words = Words { socket: Some("/s/w7-1.sock".into()), ..words() };
        let env = environment(&words, &[("PORT", "unix:{socket}?{worker}")]);
        let get = |name: &str| env[OsStr::new(name)].to_str().unwrap();
        assert_eq!(get("PORT"), "unix:/s/w7-1.sock?7");
        assert_eq!(get("FC_SERVER_PORT"), "/s/w7-1.sock");
        assert_eq!(get("HOME"), "/h");
    }

    #[test]
    fn a_port_is_told_in_every_known_variable_but_over_none_that_may_mean_something_else() {
        let env = environment(&Words { port: Some(9000), ..words() }, &[]);
        let get = |name: &str| env[OsStr::new(name)].to_str().unwrap();
        assert_eq!(
            (get("PORT"), get("FC_CUSTOM_LISTEN_PORT"), get("QUARKUS_HTTP_PORT")),
            ("9000", "9000", "9000")
        );
        assert_eq!(get("SERVER_PORT"), "1");
        assert!(!env.contains_key(OsStr::new("WARMFRONT_SOCKET")));
    }

    #[test]
    fn an_inherited_listener_is_announced_as_systemd_does() {
        let env = environment(&Words { fd: Some(3), ..words() }, &[]);
        assert_eq!(env[OsStr::new("LISTEN_FDS")], "1");
        assert!(env.contains_key(OsStr::new("LISTEN_PID")) && !env.contains_key(OsStr::new("PORT")));
    }

    #[test]
    fn what_was_put_in_is_not_replaced_again() {
        let words = Words { socket: Some("/{worker}/s".into()), ..words() };
        assert_eq!(words.fill(OsStr::new("{socket}{port}{worker}{")), OsStr::new("/{worker}/s{port}7{"));
    }

    #[test]
    fn a_program_is_told_in_its_own_words_behind_what_the_user_has_said() {
        let native = vec![
            Tell::Word("--bind=unix:{socket}"),
            Tell::Append("GUNICORN_CMD_ARGS", "--keep-alive=9"),
            Tell::Default("HOME", "/other"),
        ];
        let words = Words { socket: Some("/s".into()), native, ..words() };
        let argv = ["python3", "-m", "hypercorn", "app:app"].map(OsString::from);
        assert_eq!(words.argv(&argv).join(OsStr::new(" ")), "python3 -m hypercorn --bind=unix:/s app:app");
        let env = environment(&words, &[("GUNICORN_CMD_ARGS", "-w 2")]);
        assert_eq!(env[OsStr::new("GUNICORN_CMD_ARGS")], "-w 2 --keep-alive=9");
        assert_eq!(env[OsStr::new("HOME")], "/h");
    }
}
