//! Unary calls of gRPC over a Unix socket, a few a second: what the planes are told and asked beside requests.
//!
//! The connection is one of the `h2` package, as the data plane's are: see ADR 12.

use std::path::Path;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use h2::client::SendRequest;
use prost::Message;
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::clock;
use crate::noslate::wire::PREFIX;

/// Longest answer: thousands of profiles.
const ANSWER_MAX: usize = 16 << 20;

/// A window that no answer fills.
const WINDOW: u32 = 1 << 20;

/// Why a call gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// The plane said no.
    #[error("gRPC status {0}: {1}")]
    Status(i32, String),
    /// The connection has ended, or what came is no answer.
    #[error("{0}")]
    Broken(String),
    /// It took longer than this.
    #[error("no answer within {} s", .0.as_secs())]
    Late(Duration),
}

impl Failure {
    /// Whether the plane does not know the call: an older one.
    pub(super) fn is_unimplemented(&self) -> bool {
        matches!(self, Self::Status(12, _))
    }
}

impl From<h2::Error> for Failure {
    fn from(error: h2::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

/// A connection to a plane. Ends when it is dropped.
#[derive(Debug)]
pub(super) struct Rpc {
    sender: SendRequest<Bytes>,
    ended: watch::Receiver<bool>,
    driver: JoinHandle<()>,
}

impl Drop for Rpc {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Rpc {
    /// Connects to the socket at `path`.
    ///
    /// # Errors
    /// Nobody listens there, or speaks something else.
    pub(super) async fn connect(path: &Path) -> std::io::Result<Self> {
        let stream = UnixStream::connect(path).await?;
        let handshake = h2::client::Builder::new()
            .enable_push(false)
            .initial_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .handshake(stream);
        let (sender, connection) = handshake.await.map_err(std::io::Error::other)?;
        let (ending, ended) = watch::channel(false);
        let driver = tokio::spawn(async move {
            // Why it ended shows in the calls.
            let _ = connection.await;
            ending.send_replace(true);
        });
        Ok(Self { sender, ended, driver })
    }

    /// Resolves when the plane has ended the connection.
    ///
    /// # Cancel safety
    /// May be dropped at any time.
    pub(super) async fn ended(&self) {
        // An error means that the driver is gone, and the connection with it.
        let _ = self.ended.clone().wait_for(|&ended| ended).await;
    }

    /// Calls `path` with `message`.
    ///
    /// # Errors
    /// [`Failure`].
    pub(super) async fn call<A: Message + Default>(
        &self,
        path: &'static str,
        message: &impl Message,
        patience: Duration,
    ) -> Result<A, Failure> {
        let answer = clock::timeout(patience, self.exchange(path, message)).await;
        let bytes = answer.ok_or(Failure::Late(patience))??;
        A::decode(bytes).map_err(|error| Failure::Broken(error.to_string()))
    }

    async fn exchange(&self, path: &'static str, message: &impl Message) -> Result<Bytes, Failure> {
        let request = http::Request::post(format!("http://localhost{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .map_err(|error| Failure::Broken(error.to_string()))?;
        let mut sender = self.sender.clone().ready().await?;
        let (response, mut stream) = sender.send_request(request, false)?;
        let mut bytes = BytesMut::zeroed(PREFIX);
        let encoded = message.encode_to_vec();
        let length = u32::try_from(encoded.len()).map_err(|error| Failure::Broken(error.to_string()))?;
        bytes[1..PREFIX].copy_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&encoded);
        stream.send_data(bytes.freeze(), true)?;
        let (parts, mut body) = response.await?.into_parts();
        if let Some(failure) = status(&parts.headers) {
            return failure.and(Err(Failure::Broken("an end without an answer".to_owned())));
        }
        let mut answer = BytesMut::new();
        while let Some(data) = body.data().await {
            let data = data?;
            // Fails only for more than was received.
            let _ = body.flow_control().release_capacity(data.len());
            answer.extend_from_slice(&data);
            if answer.len() > ANSWER_MAX {
                return Err(Failure::Broken("an answer of more than 16 MiB".to_owned()));
            }
        }
        let trailers = body.trailers().await?.unwrap_or_default();
        status(&trailers).unwrap_or_else(|| Err(Failure::Broken("an end without a status".to_owned())))?;
        let (prefix, rest) = answer.split_at_checked(PREFIX).unwrap_or_default();
        // Not compressed, and just one.
        if !prefix.starts_with(&[0]) || prefix[1..] != u32::try_from(rest.len()).unwrap_or(0).to_be_bytes() {
            return Err(Failure::Broken("an answer that is not one message".to_owned()));
        }
        answer.advance(PREFIX);
        Ok(answer.freeze())
    }
}

/// What the fields say about the call's end, if they do.
fn status(fields: &http::HeaderMap) -> Option<Result<(), Failure>> {
    let text = |name| fields.get(name).and_then(|value| value.to_str().ok());
    let code: i32 = text("grpc-status")?.parse().ok()?;
    Some(match code {
        0 => Ok(()),
        code => Err(Failure::Status(code, text("grpc-message").unwrap_or_default().to_owned())),
    })
}
