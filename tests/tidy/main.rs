//! The tidy test: what `ARCHITECTURE.md` draws and the documents promise, read from the source.
//!
//! It reads text, not syntax trees: comments and literals are blanked first, and
//! what is left of a formatted file is regular enough. Every complaint names a
//! file, a line and a way out. Where the picture itself should change, change it
//! here, in `src/lib.rs` and in `ARCHITECTURE.md` at once.
//!
//! `WARMFRONT_BLESS=1 cargo test --test tidy` rewrites `docs/config.md`, `docs/metrics.md`,
//! `configs/full.toml`, `configs/warmfront.schema.json` and `src/admin/page.policy`.

mod documents;
mod habits;
mod pages;
mod picture;
mod source;
