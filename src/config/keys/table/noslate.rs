//! Noslate's planes.

use crate::config::keys::Key;
use crate::config::keys::Kind::{Choice, Number, Path, Period, Switch, Text, Variables, Words};
use crate::config::keys::Zero::Refused;
use crate::config::noslate::Noslate;

/// Those keys, in the order of the documents.
pub(super) const KEYS: &[Key] = &[
    Key {
        platform_env: &["NOSLATED_WORKDIR"],
        ..Key::new(
            "noslate.workdir",
            Path,
            "/.noslate/noslated",
            "Directory in whose `socks/` the planes have their sockets: dp-0.sock, cp-0.sock.",
        )
    },
    Key {
        platform_env: &["NOSLATED_DATA_PLANE_COUNT"],
        ..Key::new(
            "noslate.data_planes",
            Number(1, Noslate::DATA_PLANES_MAX),
            "1",
            "How many data planes there are: dp-0.sock and on. Each request goes to the one with the fewest.",
        )
    },
    Key::new(
        "noslate.control",
        Switch,
        "true",
        "Whether the control plane is looked after: readiness waits for it, and it gets noslate.profiles and \
         noslate.env, again whenever it has come back. false: somebody else does.",
    ),
    Key::new(
        "noslate.dispatch",
        Words,
        "header:x-noslated-dispatch path:/invoke/",
        "Where a request may name its function: `header:NAME`, a field that holds [function:|service:]NAME, or \
         `path:/PREFIX/`, behind which the name stands and then the function's own path. The first that does decides.",
    ),
    Key::new(
        "noslate.target",
        Text,
        "",
        "What requests are for that name none: function:NAME or service:NAME. Empty: they get 404.",
    ),
    Key::new(
        "noslate.url",
        Choice(&["relative", "absolute"]),
        "relative",
        "What functions get as their URL: path and query, or the whole of it with scheme and host, as aworker needs it.",
    ),
    Key::new(
        "noslate.timeout",
        Period(Refused),
        "10s",
        "How long a request may wait, in the data plane, for a worker and for the head of its answer. Bodies may take \
         any time.",
    ),
    Key::new(
        "noslate.baggage",
        Words,
        "",
        "Fields that functions get as baggage too, under the same name in lower case.",
    ),
    Key::new(
        "noslate.show_errors",
        Switch,
        "false",
        "Whether answers to failed requests hold what the function and the plane said, stacks included. For \
         development: strangers learn from it.",
    ),
    Key::new(
        "noslate.profiles",
        Path,
        "",
        "File of function profiles, JSON as Noslate's SDK takes it. Checked at the start, given to the control plane, \
         verified, and given again whenever it has come back. Without it: what somebody else has set stays.",
    ),
    Key::new(
        "noslate.services",
        Path,
        "",
        "File of service profiles, JSON as Noslate's SDK takes it, for every data plane.",
    ),
    Key::new(
        "noslate.env",
        Variables,
        "",
        "Variables that every function gets. Names that begin with NOSLATE_ or NOSLATED_ are Noslate's own.",
    ),
    Key::new("noslate.inspect", Words, "", "Functions that run with an inspector."),
    Key::new(
        "noslate.clear_on_stop",
        Switch,
        "false",
        "Whether the control plane is told, behind the last request, that there are no functions any more: workers \
         then end before the instance does, which takes about 3 s.",
    ),
];
