//! In front of Noslate's planes: fakes of them on the library and version that the real ones stand on.

#[cfg(feature = "loadtest")]
mod bench;
mod calls;
mod control;
mod fakes;
mod faults;
mod planes;
mod profiles;
mod resets;
mod unruly;
