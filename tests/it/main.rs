//! Behaviour of the built binary, one file per promise.

mod access_log;
mod admin;
mod admission;
mod affinity;
mod apps;
mod baselines;
mod cli;
mod clients;
#[cfg(feature = "loadtest")]
mod cold;
mod doctor;
mod emulate;
mod engine;
mod express;
mod fc;
mod forwarding;
mod framing;
mod grpc;
mod h2;
mod h2_abuse;
mod h2_worker;
mod keepalive;
mod limits;
mod noslate;
mod passage;
#[cfg(feature = "loadtest")]
mod peers;
mod php;
mod policy;
mod processes;
mod processes_beside;
mod recycle;
#[cfg(feature = "loadtest")]
mod soak;
mod streaming;
mod support;
mod table;
mod targets;
mod traces;
mod transports;
mod upgrade;
#[cfg(feature = "loadtest")]
mod warm;
mod watch;
mod worker_output;
