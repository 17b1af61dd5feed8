//! warmfront: the process a Function Compute instance starts.
//!
//! It owns the FC port, the dispatch queue and the worker processes on Unix
//! sockets. The library half is internal and unstable; the stable surface is the
//! command line, the configuration, log lines and exit codes.
//!
//! Rooms in reading order, lower floors first. Nothing imports upwards
//! (`tests/tidy` keeps that true):
//!
//! - floor 0: [`config`], [`error`], [`id`], [`clock`], [`sync`]
//! - floor 1: [`http1`], [`fc`], [`fastcgi`], [`noslate`] (pure knowledge), [`listener`], [`sys`] (doors to the system)
//! - floor 2: [`worker`] publishes into [`upstream`]
//! - floor 3: [`lifecycle`]
//! - floor 4: [`proxy`], the walk of one request
//! - floor 5: [`engine`], how bytes move
//! - floor 6: [`cli`], [`app`], [`admin`], [`watch`], [`otlp`], [`newcomers`], [`exit`], [`demo`],
//!   [`doctor`], [`emulate`], [`plan`]
//! - shaft: [`telemetry`]

// The oracles of `fuzz/` name this package as everybody else does.
#[cfg(test)]
extern crate self as warmfront;

pub mod admin;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod demo;
pub mod doctor;
pub mod emulate;
pub mod engine;
pub mod error;
pub mod exit;
pub mod fastcgi;
pub mod fc;
pub mod http1;
pub mod id;
pub mod lifecycle;
pub mod listener;
pub mod newcomers;
pub mod noslate;
pub mod otlp;
pub mod plan;
pub mod proxy;
pub mod sync;
pub mod sys;
pub mod telemetry;
pub mod upstream;
pub mod watch;
pub mod words;
pub mod worker;
