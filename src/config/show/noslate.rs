//! Values of the keys about Noslate.

use std::ffi::OsStr;
use std::path::PathBuf;

use super::super::noslate::{DispatchRule, Noslate, Target, UrlForm};
use super::super::units::period_text;
use super::{list, text};

/// As TOML; `None` if there is none.
pub(super) fn value(path: &str, noslate: &Noslate) -> Option<String> {
    let file = |path: &Option<PathBuf>| path.as_ref().map(|path| text(path.as_os_str()));
    let words = |words: &[String]| list(words.iter().map(OsStr::new));
    Some(match path {
        "noslate.workdir" => text(noslate.workdir.as_os_str()),
        "noslate.data_planes" => noslate.data_planes.to_string(),
        "noslate.control" => noslate.has_control.to_string(),
        "noslate.dispatch" => words(&noslate.dispatch.iter().map(rule).collect::<Vec<_>>()),
        "noslate.target" => text(OsStr::new(&noslate.target.as_ref().map(target).unwrap_or_default())),
        "noslate.url" => match noslate.url {
            UrlForm::Relative => "\"relative\"".to_owned(),
            UrlForm::Absolute => "\"absolute\"".to_owned(),
        },
        "noslate.timeout" => text(OsStr::new(&period_text(noslate.timeout))),
        "noslate.baggage" => words(&noslate.baggage),
        "noslate.show_errors" => noslate.shows_errors.to_string(),
        "noslate.profiles" => return file(&noslate.duties.profiles),
        "noslate.services" => return file(&noslate.duties.services),
        "noslate.inspect" => words(&noslate.duties.inspect),
        "noslate.clear_on_stop" => noslate.duties.clears_on_stop.to_string(),
        _ => return None,
    })
}

fn rule(rule: &DispatchRule) -> String {
    match rule {
        DispatchRule::Header(name) => format!("header:{name}"),
        DispatchRule::Path(prefix) => format!("path:{prefix}"),
    }
}

fn target(target: &Target) -> String {
    match target {
        Target::Function(name) => format!("function:{name}"),
        Target::Service(name) => format!("service:{name}"),
    }
}
