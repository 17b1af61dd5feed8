//! One question to an admin: where it is, how long it may take, what to say if it fails.

use std::io;
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::{Builder, Runtime};

use crate::clock;
use crate::config::{Admin, AdminPlace, Token};
use crate::error::Problem;

/// An answer is there after milliseconds. A process that is frozen or stopped never answers.
const PATIENCE: Duration = Duration::from_secs(2);
/// Longest answer: some thousand workers.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Whoever asks, and whom.
pub(super) struct Asker {
    place: AdminPlace,
    name: String,
    token: Option<Token>,
    runtime: Runtime,
}

impl Asker {
    /// # Errors
    /// Nobody said where the admin is.
    pub(super) fn new(admin: Admin) -> Result<Self, Problem> {
        let Some(place) = admin.listen else {
            return Err(Problem::new(
                "Nothing says where the admin is.",
                "Neither --admin nor `admin.listen` (file, WARMFRONT_ADMIN_LISTEN) is set.",
                "Say --admin with the place that the instance was started with, such as /run/warmfront.sock.",
            ));
        };
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| {
            Problem::new(
                format!("No runtime could be made: {error}."),
                "Asking needs a few descriptors.",
                "Raise the limit of open files.",
            )
        })?;
        Ok(Self { name: place.to_string(), place, token: admin.token, runtime })
    }

    /// As people name the place.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// This moment, as the admin tells it.
    ///
    /// # Errors
    /// Nobody is there; it says no; it takes too long.
    pub(super) fn ask(&self) -> Result<String, Problem> {
        let asked = self.runtime.block_on(async {
            tokio::select! {
                answer = self.exchange() => answer,
                () = clock::sleep(PATIENCE) => Err(Trouble::from(io::Error::from(io::ErrorKind::TimedOut))),
            }
        });
        asked.map_err(|trouble| self.explain(&trouble))
    }

    /// An answer that is none of ours.
    pub(super) fn strange(&self, why: &str) -> Problem {
        Problem::new(
            format!("What answers at {} is no admin of this version: {why}.", self.name),
            "Both read the same object, version 1.",
            "Use the program that the instance runs, or another place (--admin).",
        )
    }

    async fn exchange(&self) -> Result<String, Trouble> {
        match &self.place {
            AdminPlace::Tcp(address) => {
                self.converse(TcpStream::connect(address).await?, &address.to_string()).await
            }
            AdminPlace::Unix(path) => self.converse(UnixStream::connect(path).await?, "localhost").await,
        }
    }

    async fn converse<S>(&self, stream: S, host: &str) -> Result<String, Trouble>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let mut request = Request::get("/now").header(HOST, host);
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token.bearer());
        }
        let request = request.body(Empty::<Bytes>::new())?;
        let asking = async move {
            // Dropped behind the answer, and with it the connection ends.
            let answer = sender.send_request(request).await?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| Trouble::Other(error.to_string()))?.to_bytes();
            let text = String::from_utf8_lossy(&body).into_owned();
            if status == StatusCode::OK { Ok(text) } else { Err(Trouble::No(status, text)) }
        };
        let (answer, ended) = tokio::join!(asking, connection);
        // Where the answer is there, how the connection ended is nobody's concern.
        answer.map_err(|trouble| ended.err().map_or(trouble, Trouble::from))
    }

    fn explain(&self, trouble: &Trouble) -> Problem {
        let name = &self.name;
        match trouble {
            Trouble::No(status, text) => Problem::new(
                format!("The admin at {name} says no: {status}."),
                text.split_whitespace().collect::<Vec<_>>().join(" "),
                "Set admin.token (WARMFRONT_ADMIN_TOKEN), or ask through the Unix socket as its owner.",
            ),
            Trouble::Io(error) if error.kind() == io::ErrorKind::TimedOut => Problem::new(
                format!("The admin at {name} has not answered for {} s.", PATIENCE.as_secs()),
                "A process that is frozen or stopped does not.",
                "Look whether it runs (`ps`), or ask another place with --admin.",
            ),
            Trouble::Io(error) => Problem::new(
                format!("Nobody answers at {name}: {error}."),
                "That is where the admin should be.",
                "Start the instance with --admin, or say with --admin where it is.",
            ),
            Trouble::Other(what) => self.strange(what),
        }
    }
}

/// Why there is no answer.
enum Trouble {
    Io(io::Error),
    No(StatusCode, String),
    Other(String),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<hyper::Error> for Trouble {
    fn from(error: hyper::Error) -> Self {
        Self::Other(error.to_string())
    }
}

impl From<hyper::http::Error> for Trouble {
    fn from(error: hyper::http::Error) -> Self {
        Self::Other(error.to_string())
    }
}
