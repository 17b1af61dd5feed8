//! One case: a promise, where it comes from, and the exact bytes on both sides, as a script.
//!
//! Steps happen in order. What no step names must not happen: a byte or an end that the script does
//! not expect fails the case. In bytes a worker gets, `<id>` stands for a request id that warmfront made.

use crate::support::ID;

/// What the worker says where the answer does not matter.
pub(super) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
/// The same as a client gets it whose connection closes behind it.
pub(super) const OK_CLOSE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
/// The same for an HTTP/1.0 client that asked to stay.
pub(super) const OK_STAY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok";
/// A request where the request does not matter.
pub(super) const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// One promise.
#[derive(Clone)]
pub(super) struct Case {
    /// A sentence, unique in the table.
    pub(super) name: String,
    /// RFC section, CVE or published attack.
    pub(super) reference: &'static str,
    pub(super) limits: Limits,
    pub(super) steps: Vec<Step>,
}

/// The limits of the sidecar that plays a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limits {
    Default,
    /// As small as the configuration allows.
    Small,
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    /// The client sends; it connects first if it has no connection. A send behind a send waits until
    /// the bytes before have been read.
    Send(Vec<u8>),
    /// The client leaves.
    Leave,
    /// Everything sent so far has been read, and neither side has got more than the script says.
    Quiet,
    /// The worker gets exactly these bytes, and with them exactly one more whole request: on the
    /// connection that it has, or on a new one if the script ended the last one.
    WorkerGets(Vec<u8>),
    /// The worker gets exactly these bytes of a request that goes on.
    WorkerGetsPart(Vec<u8>),
    /// A say behind a say waits until the bytes before have been read.
    WorkerSays(Vec<u8>),
    /// The same, and with it the protocol switches: what comes behind is no HTTP.
    WorkerSwitches(Vec<u8>),
    /// The worker closes its connection, having read what came.
    WorkerCloses,
    /// The worker closes its connection with a request unread.
    WorkerResets,
    /// The sidecar ends the worker's connection, between two requests.
    WorkerEnds,
    /// The sidecar ends the worker's connection within a request.
    WorkerCut,
    ClientGets(Vec<u8>),
    ClientGetsLocal(Local),
    /// The sidecar ends the client's connection.
    ClientEnds,
    /// The sidecar resets the client's connection.
    ClientReset,
}

/// An answer of warmfront's own.
#[derive(Clone, Debug)]
pub(super) struct Local {
    pub(super) status: u16,
    pub(super) reason: &'static str,
    /// Whether it announces the end of the connection.
    pub(super) closes: bool,
    /// To HEAD: without its body.
    pub(super) to_head: bool,
}

/// A case without steps.
pub(super) fn case(name: impl Into<String>, reference: &'static str) -> Case {
    Case { name: name.into(), reference, limits: Limits::Default, steps: Vec::new() }
}

/// The request is answered with `status`, the connection ends, and no worker hears of it.
pub(super) fn refused(
    name: impl Into<String>,
    reference: &'static str,
    request: impl AsRef<[u8]>,
    status: u16,
) -> Case {
    case(name, reference).sends(request).gets_refusal(status)
}

/// The request reaches the worker as it came, but for an id where it has none.
pub(super) fn passes(name: impl Into<String>, reference: &'static str, request: impl AsRef<[u8]>) -> Case {
    becomes(name, reference, &request, &request)
}

/// The request reaches the worker as `received`, but for an id where that has none.
pub(super) fn becomes(
    name: impl Into<String>,
    reference: &'static str,
    request: impl AsRef<[u8]>,
    received: impl AsRef<[u8]>,
) -> Case {
    case(name, reference).sends(request).worker_gets(received).answers()
}

/// The worker's answer to a GET reaches the client as `received`.
pub(super) fn answered(
    name: impl Into<String>,
    reference: &'static str,
    answer: impl AsRef<[u8]>,
    received: impl AsRef<[u8]>,
) -> Case {
    case(name, reference).asks().worker_says(answer).client_gets(received)
}

/// The worker's answer to a GET is not passed on, and the worker's connection not used again.
pub(super) fn rejected(name: impl Into<String>, reference: &'static str, answer: impl AsRef<[u8]>) -> Case {
    case(name, reference).asks().worker_says(answer).client_gets_502("worker-response").worker_ends()
}

impl Case {
    fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Played by the sidecar with small limits.
    pub(super) fn small(self) -> Self {
        Self { limits: Limits::Small, ..self }
    }

    /// The worker's idle connection is gone before the case begins.
    pub(super) fn fresh(self) -> Self {
        self.step(Step::WorkerCloses)
    }

    pub(super) fn sends(self, bytes: impl AsRef<[u8]>) -> Self {
        self.step(Step::Send(bytes.as_ref().to_vec()))
    }

    /// Each part in a segment of its own, read before the next is sent.
    pub(super) fn sends_pieces(self, bytes: impl AsRef<[u8]>, len: usize) -> Self {
        bytes.as_ref().chunks(len).fold(self, |case, piece| case.sends(piece))
    }

    /// The client sends a GET and the worker gets it.
    pub(super) fn asks(self) -> Self {
        self.sends(GET).worker_gets(GET)
    }

    pub(super) fn client_leaves(self) -> Self {
        self.step(Step::Leave)
    }

    pub(super) fn quiet(self) -> Self {
        self.step(Step::Quiet)
    }

    pub(super) fn worker_gets(self, bytes: impl AsRef<[u8]>) -> Self {
        self.step(Step::WorkerGets(bytes.as_ref().to_vec()))
    }

    pub(super) fn worker_gets_part(self, bytes: impl AsRef<[u8]>) -> Self {
        self.step(Step::WorkerGetsPart(bytes.as_ref().to_vec()))
    }

    pub(super) fn worker_says(self, bytes: impl AsRef<[u8]>) -> Self {
        self.step(Step::WorkerSays(bytes.as_ref().to_vec()))
    }

    /// The worker says that it switches protocols.
    pub(super) fn switches(self, answer: impl AsRef<[u8]>) -> Self {
        self.step(Step::WorkerSwitches(answer.as_ref().to_vec()))
    }

    /// Each part in a write of its own, read before the next is written.
    pub(super) fn worker_says_pieces(self, bytes: impl AsRef<[u8]>, len: usize) -> Self {
        bytes.as_ref().chunks(len).fold(self, |case, piece| case.worker_says(piece))
    }

    /// The worker says OK and the client hears it.
    pub(super) fn answers(self) -> Self {
        self.worker_says(OK).client_gets(OK)
    }

    /// The worker says OK; the client hears it and that its connection ends, which it does.
    pub(super) fn answers_and_closes(self) -> Self {
        self.worker_says(OK).client_gets(OK_CLOSE).client_ends()
    }

    pub(super) fn worker_closes(self) -> Self {
        self.step(Step::WorkerCloses)
    }

    pub(super) fn worker_resets(self) -> Self {
        self.step(Step::WorkerResets)
    }

    pub(super) fn worker_ends(self) -> Self {
        self.step(Step::WorkerEnds)
    }

    pub(super) fn worker_cut(self) -> Self {
        self.step(Step::WorkerCut)
    }

    pub(super) fn client_gets(self, bytes: impl AsRef<[u8]>) -> Self {
        self.step(Step::ClientGets(bytes.as_ref().to_vec()))
    }

    /// An answer of warmfront's own, behind which the connection stays.
    pub(super) fn client_gets_502(self, reason: &'static str) -> Self {
        self.client_gets_local(502, reason, false)
    }

    pub(super) fn client_gets_local(self, status: u16, reason: &'static str, closes: bool) -> Self {
        self.step(Step::ClientGetsLocal(Local { status, reason, closes, to_head: false }))
    }

    /// The same to HEAD.
    pub(super) fn client_gets_local_head(self, status: u16, reason: &'static str, closes: bool) -> Self {
        self.step(Step::ClientGetsLocal(Local { status, reason, closes, to_head: true }))
    }

    /// A refused head, and the end of the connection.
    pub(super) fn gets_refusal(self, status: u16) -> Self {
        self.client_gets_local(status, "request-head", true).client_ends()
    }

    pub(super) fn client_ends(self) -> Self {
        self.step(Step::ClientEnds)
    }

    pub(super) fn client_reset(self) -> Self {
        self.step(Step::ClientReset)
    }
}

/// Puts the id that warmfront adds behind the last field of a request that has none.
pub(super) fn with_id(request: &[u8]) -> Vec<u8> {
    let head_len = request.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 2);
    let has_id = |head: &[u8]| {
        let head = String::from_utf8_lossy(head).to_ascii_lowercase();
        head.split("\r\n").any(|line| line.starts_with("x-fc-request-id:"))
    };
    match head_len {
        Some(len) if !has_id(&request[..len]) => {
            [&request[..len], b"x-fc-request-id: <id>\r\n", &request[len..]].concat()
        }
        _ => request.to_vec(),
    }
}

/// How far `seen` is what was `expected`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Match {
    /// This many bytes of it are all that was expected.
    Whole(usize),
    /// So far.
    Partly,
    /// No longer.
    No,
}

/// Compares, with `<id>` standing for any id in the platform's shape.
pub(super) fn compare(expected: &[u8], seen: &[u8]) -> Match {
    let (mut at, mut rest) = (0, expected);
    while let Some(&first) = rest.first() {
        if let Some(behind) = rest.strip_prefix(b"<id>") {
            let id = &seen[at..seen.len().min(at + ID.len())];
            let fits = id.iter().zip(ID.bytes()).enumerate().all(|(index, (&is, like))| match like {
                b'-' => is == b'-',
                _ if index == 0 => is == b'1',
                _ => is.is_ascii_digit() || (b'a'..=b'f').contains(&is),
            });
            match fits {
                false => return Match::No,
                true if id.len() < ID.len() => return Match::Partly,
                true => (at, rest) = (at + ID.len(), behind),
            }
            continue;
        }
        match seen.get(at) {
            None => return Match::Partly,
            Some(&byte) if byte == first => (at, rest) = (at + 1, &rest[1..]),
            Some(_) => return Match::No,
        }
    }
    Match::Whole(at)
}

#[test]
fn an_expected_id_stands_for_any_id_and_for_nothing_else() {
    let expected = b"a<id>b";
    let text = format!("a{ID}b");
    assert_eq!(compare(expected, text.as_bytes()), Match::Whole(text.len()));
    for len in 0..text.len() {
        assert_eq!(compare(expected, &text.as_bytes()[..len]), Match::Partly);
    }
    assert_eq!(compare(expected, b"a1-xyz"), Match::No);
    assert_eq!(compare(expected, b"b"), Match::No);
    assert_eq!(
        with_id(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nX"),
        b"GET / HTTP/1.1\r\nHost: a\r\nx-fc-request-id: <id>\r\n\r\nX"
    );
    assert_eq!(
        with_id(b"GET / HTTP/1.1\r\nX-Fc-Request-Id: 1\r\n\r\n"),
        b"GET / HTTP/1.1\r\nX-Fc-Request-Id: 1\r\n\r\n"
    );
}
