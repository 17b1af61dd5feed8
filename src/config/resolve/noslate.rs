//! The part of the configuration that is about Noslate.

use super::super::keys::{KEYS, Key};
use super::super::layers::Value;
use super::super::noslate::{DispatchRule, Duties, Noslate, Target, UrlForm};
use super::super::read::{self, Bad};
use super::{Judge, SPAWN_ONLY, to_usize};
use crate::config::Slots;
use crate::config::layers::Source;
use crate::config::platform::HookMode;
use crate::error::Problem;

/// Keys that only mean something for workers that speak HTTP.
const HTTP_ONLY: &[&str] = &["workers.command", "workers.sockets", "workers.protocol", "workers.tell_start"];

/// How all keys begin that are about Noslate.
const PREFIX: &str = "noslate.";

impl Judge<'_> {
    /// The planes, if they are who answers.
    pub(super) fn noslate(&mut self) -> Option<Noslate> {
        let noslate = Noslate {
            workdir: self.read("noslate.workdir", |_, value| read::path(value)),
            data_planes: to_usize(self.number("noslate.data_planes")),
            has_control: self.switch("noslate.control"),
            dispatch: self.read("noslate.dispatch", |_, value| dispatch_rules(value)),
            target: self.read("noslate.target", |_, value| target(value)),
            url: match self.choice("noslate.url") {
                0 => UrlForm::Relative,
                _ => UrlForm::Absolute,
            },
            timeout: self.period("noslate.timeout"),
            baggage: self.read("noslate.baggage", |_, value| names(value)),
            shows_errors: self.switch("noslate.show_errors"),
            duties: Duties {
                profiles: self.optional("noslate.profiles", read::path),
                services: self.optional("noslate.services", read::path),
                env: self.variables("noslate.env"),
                inspect: self.read("noslate.inspect", |_, value| words(value)),
                clears_on_stop: self.switch("noslate.clear_on_stop"),
            },
        };
        let is_chosen = self.choice("upstream") == 1;
        if is_chosen {
            self.refuse_http_keys();
            self.refuse_errands();
            self.check_duties(&noslate);
            for id in 0..noslate.data_planes {
                self.check_socket_path("noslate.workdir", &noslate.data_socket(id));
            }
        } else {
            self.refuse_noslate_keys();
        }
        is_chosen.then_some(noslate)
    }

    /// Whether a data plane would take as many requests.
    pub(super) fn check_calls(&mut self, slots: Slots) {
        let key = "workers.concurrency";
        if slots.count > Noslate::CALLS_MAX && self.is_sound(key) {
            let problem = Problem::new(
                format!("`{key} = {}` is more than a data plane takes.", slots.count),
                "It refuses everything while 1,000 requests wait in it, and calls whose clients have left count too.",
                format!("Set 1 to {}; more may wait here (queue.depth).", Noslate::CALLS_MAX),
            );
            self.find(key, problem);
        }
    }

    fn refuse_http_keys(&mut self) {
        for path in HTTP_ONLY.iter().chain(SPAWN_ONLY) {
            if self.layers.is_set(path) && self.is_sound(path) && !self.is_for_processes(path) {
                let problem = Problem::new(
                    format!("`{path}` means nothing with `upstream = \"noslate\"`."),
                    "It is about workers that speak HTTP; Noslate's are behind its planes.",
                    format!("Remove `{path}`, or `upstream`."),
                );
                self.find(path, problem);
            }
        }
    }

    fn refuse_noslate_keys(&mut self) {
        // The platform's own variables may be there in any image, and a default changes nothing.
        let is_ours = |key: &&Key| {
            let setting = self.layers.setting(key.path).filter(|_| key.path.starts_with(PREFIX));
            setting.is_some_and(|setting| {
                !matches!(&setting.source, Source::Env(name) if name.starts_with("NOSLATED_"))
                    && setting.value != Value::Word(key.default.into())
            })
        };
        let said: Vec<_> = KEYS.iter().filter(is_ours).map(|key| key.path).collect();
        for path in said {
            if !self.is_sound(path) {
                continue;
            }
            let problem = Problem::new(
                format!("`{path}` means nothing without `upstream = \"noslate\"`."),
                "It is about Noslate's planes, and nothing here asks them.",
                format!("Set `upstream = \"noslate\"`, or remove `{path}`."),
            );
            self.find(path, problem);
        }
    }

    /// Functions are no workers to be asked for something beside their requests.
    fn refuse_errands(&mut self) {
        for path in ["hooks.initialize", "hooks.pre_freeze", "hooks.pre_stop"] {
            if matches!(HookMode::at(self.choice(path)), HookMode::Forward | HookMode::Fanout)
                && self.is_sound(path)
            {
                let problem = Problem::new(
                    format!("`{path}` asks workers, which `upstream = \"noslate\"` has none of."),
                    "A hook is about the instance; functions know nothing of it.",
                    format!("Set `{path} = \"answer\"`, or \"off\"."),
                );
                self.find(path, problem);
            }
        }
        let path = "thaw.path";
        let setting = self.layers.setting(path).and_then(|setting| read::target(&setting.value).ok());
        if setting.flatten().is_some() && self.is_sound(path) {
            let problem = Problem::new(
                format!("`{path}` tells workers, which `upstream = \"noslate\"` has none of."),
                "Functions know nothing of the instance.",
                format!("Remove `{path}`."),
            );
            self.find(path, problem);
        }
    }

    fn check_duties(&mut self, noslate: &Noslate) {
        for key in ["noslate.profiles", "noslate.env"] {
            if !noslate.has_control && self.layers.is_set(key) && self.is_sound(key) {
                let problem = Problem::new(
                    format!("`{key}` is for the control plane, and `noslate.control` is false."),
                    "Functions reach the data planes through it only.",
                    format!("Remove `{key}`, or `noslate.control`."),
                );
                self.find(key, problem);
            }
        }
        for (name, _) in &noslate.duties.env {
            if name.starts_with("NOSLATED_") || name.starts_with("NOSLATE_") {
                let problem = Problem::new(
                    format!("`noslate.env.{name}` has a name that is Noslate's own."),
                    "Its SDK refuses names that begin with NOSLATE_ or NOSLATED_.",
                    "Rename it.",
                );
                self.find("noslate.env", problem);
            }
        }
    }
}

/// Where requests name their function.
fn dispatch_rules(value: &Value) -> Result<Vec<DispatchRule>, Bad> {
    let fix = "Write a list of header:NAME or path:/PREFIX/";
    let rule = |word: String| {
        let rule = match word.split_once(':') {
            Some(("header", name)) if is_field_name(name) => {
                Some(DispatchRule::Header(name.to_ascii_lowercase()))
            }
            Some(("path", prefix)) if prefix.starts_with('/') && prefix.ends_with('/') => {
                Some(DispatchRule::Path(prefix.to_owned()))
            }
            _ => None,
        };
        let shown: String = word.escape_debug().take(60).collect();
        let why = "A function is named by a field, or by the path behind a prefix that begins and ends with a slash.";
        rule.ok_or_else(|| Bad::new(format!("holds `{shown}`, which is neither"), why, fix))
    };
    words(value)?.into_iter().map(rule).collect()
}

/// The target of requests that name none, or nothing.
fn target(value: &Value) -> Result<Option<Target>, Bad> {
    let Some(text) = read::text(value)? else { return Ok(None) };
    let fix = "Set function:NAME or service:NAME";
    Target::parse(&text).map(Some).ok_or_else(|| Bad::new("names neither a function nor a service", "", fix))
}

/// Names of fields, in lower case.
fn names(value: &Value) -> Result<Vec<String>, Bad> {
    let lower = |word: String| match is_field_name(&word) {
        true => Ok(word.to_ascii_lowercase()),
        false => Err(Bad::new(
            format!("holds `{}`, which is no name of a field", word.escape_debug()),
            "",
            "Correct it",
        )),
    };
    words(value)?.into_iter().map(lower).collect()
}

fn words(value: &Value) -> Result<Vec<String>, Bad> {
    let words = read::list(value, "", "Write it as [\"a\", \"b\"]")?;
    words
        .into_iter()
        .map(|word| word.into_string().map_err(|_| Bad::new("is not UTF-8", "", "Correct it")))
        .collect()
}

/// RFC 9110 §5.6.2.
fn is_field_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(read::is_token)
}
