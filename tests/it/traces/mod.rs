//! What a request's steps took, in its answer, and that the fields of traces pass.

mod fields;
mod server_timing;
