//! Both planes of a Noslate in this process, for what the sidecar tells and asks them beside requests.
//!
//! The fakes of `tests/apps/noslate` stand on the real planes' library; these are for what can be changed while they
//! run, and for what that library does not do: a plane that takes calls and answers none. What was called is kept
//! over their lives.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Request, Response};
use prost::Message;
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Runtime;
use warmfront::noslate::control::{
    Empty, FunctionProfile, GetFunctionProfileResponse, PlaneHealthyResponse, SetFunctionProfileRequest,
    SetFunctionProfileResponse, SetPlatformEnvironmentVariablesResponse,
};

use crate::support::{GUARD, Setup};

/// gRPC's word for a call that the server is too old for.
const UNIMPLEMENTED: &str = "12";
/// Flag and length in front of each message.
const PREFIX: usize = 5;

/// One of the planes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Plane {
    Data(u32),
    Control,
}

/// What a plane says of itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Health {
    #[default]
    Well,
    /// With this reason.
    Unwell(&'static str),
    /// Too old to be asked.
    Unknown,
}

/// What the planes do otherwise than they should.
#[derive(Debug, Default)]
pub(crate) struct Habits {
    pub(crate) data: Health,
    pub(crate) control: Health,
    /// Takes calls and answers none.
    pub(crate) is_mute: bool,
}

/// A call as it came.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) plane: Plane,
    /// Without the service.
    pub(crate) method: String,
    /// Its first message, without prefix.
    pub(crate) message: Bytes,
}

impl Call {
    /// Its message.
    pub(crate) fn read<M: Message + Default>(&self) -> M {
        M::decode(self.message.clone()).expect("the message of this call")
    }
}

/// What is read of `noslated.data.InvokeRequest`.
#[derive(Clone, PartialEq, Message)]
struct Invocation {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Debug, Default)]
struct Memory {
    habits: Habits,
    calls: Vec<Call>,
    profiles: Vec<FunctionProfile>,
}

/// The planes below one directory. All end with this.
pub(crate) struct Fakes {
    dir: PathBuf,
    memory: Arc<Mutex<Memory>>,
    lives: HashMap<Plane, Runtime>,
}

impl Fakes {
    /// Of the directory of `setup`; none is there yet.
    pub(crate) fn of(setup: &Setup) -> Self {
        Self { dir: setup.dir().join("socks"), memory: Arc::default(), lives: HashMap::new() }
    }

    /// Where a plane is to be.
    pub(crate) fn socket(&self, plane: Plane) -> PathBuf {
        self.dir.join(match plane {
            Plane::Data(id) => format!("dp-{id}.sock"),
            Plane::Control => "cp-0.sock".to_owned(),
        })
    }

    /// Starts `plane`.
    pub(crate) fn start(&mut self, plane: Plane) {
        let socket = self.socket(plane);
        // As real ones do: what a killed one has left is in the way.
        let _ = fs::remove_file(&socket);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a thread");
        let listener = {
            let _entered = runtime.enter();
            UnixListener::bind(&socket).expect("the socket is free")
        };
        runtime.spawn(accept(plane, listener, Arc::clone(&self.memory)));
        self.lives.insert(plane, runtime);
    }

    /// Ends `plane` as SIGKILL would: connections break, the file of its socket stays.
    pub(crate) fn kill(&mut self, plane: Plane) {
        self.lives.remove(&plane).expect("it runs").shutdown_timeout(GUARD);
    }

    /// Somebody else has set a function of this name.
    pub(crate) fn know(&self, name: &str) {
        self.memory().profiles.push(FunctionProfile { name: name.to_owned(), ..FunctionProfile::default() });
    }

    /// Changes what they do from now on.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Habits)) {
        change(&mut self.memory().habits);
    }

    /// The calls of this method so far.
    pub(crate) fn calls(&self, method: &str) -> Vec<Call> {
        self.memory().calls.iter().filter(|call| call.method == method).cloned().collect()
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().expect("no holder panics")
    }
}

async fn accept(plane: Plane, listener: UnixListener, memory: Arc<Mutex<Memory>>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(plane, stream, Arc::clone(&memory)));
    }
}

async fn serve(plane: Plane, stream: UnixStream, memory: Arc<Mutex<Memory>>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(answer(plane, request, respond, Arc::clone(&memory)));
    }
}

/// A client that leaves meanwhile gets no answer.
async fn answer(
    plane: Plane,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    memory: Arc<Mutex<Memory>>,
) -> Option<()> {
    let method = request.uri().path().rsplit('/').next()?.to_owned();
    let message = first_message(request.into_body()).await?;
    let call = Call { plane, method, message };
    let (verdict, is_mute) = {
        let mut memory = memory.lock().expect("no holder panics");
        (memory.on_call(call), memory.habits.is_mute)
    };
    if is_mute {
        return std::future::pending().await;
    }
    let head = Response::builder().header("content-type", "application/grpc");
    match verdict {
        Err(status) => {
            let head = head.header("grpc-status", status).body(()).expect("a head");
            respond.send_response(head, true).ok()?;
        }
        Ok(messages) => {
            let mut stream = respond.send_response(head.body(()).expect("a head"), false).ok()?;
            for message in messages {
                let length = u32::try_from(message.len()).expect("a short message");
                stream.send_data([&[0], &length.to_be_bytes()[..], &message].concat().into(), false).ok()?;
            }
            let trailers =
                HeaderMap::from_iter([("grpc-status".parse().expect("a name"), HeaderValue::from(0))]);
            stream.send_trailers(trailers).ok()?;
        }
    }
    Some(())
}

/// What the client says first; the rest is read, and forgotten.
async fn first_message(mut body: RecvStream) -> Option<Bytes> {
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.ok()?;
        body.flow_control().release_capacity(data.len()).ok()?;
        bytes.extend_from_slice(&data);
    }
    let (prefix, rest) = bytes.split_at_checked(PREFIX)?;
    let length = u32::from_be_bytes(prefix[1..].try_into().ok()?) as usize;
    rest.get(..length).map(Bytes::copy_from_slice)
}

impl Memory {
    /// The answer's messages, or gRPC's status.
    fn on_call(&mut self, call: Call) -> Result<Vec<Vec<u8>>, &'static str> {
        self.calls.push(call.clone());
        let one = |message: Vec<u8>| Ok(vec![message]);
        match (call.plane, call.method.as_str()) {
            (plane, "checkHealth") => {
                let health = if plane == Plane::Control { self.habits.control } else { self.habits.data };
                let (health, reason) = match health {
                    Health::Well => (true, ""),
                    Health::Unwell(reason) => (false, reason),
                    Health::Unknown => return Err(UNIMPLEMENTED),
                };
                one(PlaneHealthyResponse { name: "plane".into(), health, reason: reason.into() }
                    .encode_to_vec())
            }
            (Plane::Data(_), "setServiceProfiles" | "useInspector") => one(Empty {}.encode_to_vec()),
            (Plane::Data(_), "invoke") => Ok(self.invoke(&call.read::<Invocation>().name)),
            (Plane::Control, "setPlatformEnvironmentVariables") => {
                one(SetPlatformEnvironmentVariablesResponse { set: true }.encode_to_vec())
            }
            (Plane::Control, "setFunctionProfile") => {
                self.profiles = call.read::<SetFunctionProfileRequest>().profiles;
                one(SetFunctionProfileResponse { set: true }.encode_to_vec())
            }
            (Plane::Control, "getFunctionProfile") => {
                one(GetFunctionProfileResponse { profiles: self.profiles.clone() }.encode_to_vec())
            }
            _ => Err(UNIMPLEMENTED),
        }
    }

    /// Says the function's name if the control plane knows it, as the data plane does what it is told.
    fn invoke(&self, name: &str) -> Vec<Vec<u8>> {
        if self.profiles.iter().all(|profile| profile.name != name) {
            let text = format!("No function named {name} registered in this node.");
            let error = field(1, &[field(1, b"Error"), field(2, text.as_bytes()), vec![7 << 3, 5]].concat());
            return vec![error];
        }
        let head =
            [vec![1 << 3, 200, 1], field(2, &[field(1, b"content-type"), field(2, b"text/plain")].concat())];
        vec![field(2, &head.concat()), field(2, &field(3, name.as_bytes()))]
    }
}

/// A field of protobuf that has a length, of fewer than 128 bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    assert!(bytes.len() < 128, "its length takes one byte");
    [&[number << 3 | 2, bytes.len() as u8], bytes].concat()
}
