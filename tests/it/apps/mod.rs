//! Real programs, started as their users start them: `warmfront run -- <their own command>`.
//!
//! One row is one app and one test, so that they run beside each other and fail by name. What a row promises
//! is what `docs/apps.md` says; `WARMFRONT_BLESS=1 cargo test --test it apps::` rewrites that page.
//! What they are is in `tests/apps`, what fetches and builds them `scripts/setup-tests`.

mod page;
mod play;
mod table;
