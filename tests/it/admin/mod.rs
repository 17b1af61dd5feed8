//! What those who run an instance see of it: metrics, answers in JSON, and who is let in.

mod door;
mod metrics;
mod orders;
mod page;
mod reading;
mod secrets;
mod watching;
