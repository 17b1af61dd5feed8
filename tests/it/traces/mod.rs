//! What a request's steps took, in its answer and as spans, and that the fields of traces pass.

#[cfg(feature = "otlp")]
mod collectors;
mod fields;
mod server_timing;
#[cfg(feature = "otlp")]
mod spans;
