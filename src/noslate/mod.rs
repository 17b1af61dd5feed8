//! What Noslate's data plane says and wants to hear: pure knowledge, as `http1` is of HTTP.
//!
//! Requests become the messages of `noslated.data.PushServer` and its messages become answers; which function a
//! request is for; what an error of a plane means to whoever asked. Field numbers and types are those of
//! noslated v0.23 and later. No sockets, no clock.

pub mod control;
pub mod fault;
pub mod head;
pub mod profiles;
pub mod reply;
pub mod request;
pub mod target;
pub mod wire;

mod services;
mod sheet;

pub use services::services;
pub use sheet::Judged;

/// Where functions are invoked. The host is any: it is a Unix socket.
pub const INVOKE: &str = "http://localhost/noslated.data.PushServer/invoke";
/// Where services are.
pub const INVOKE_SERVICE: &str = "http://localhost/noslated.data.PushServer/invokeService";
