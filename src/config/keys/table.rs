//! The list of keys: what each is called, takes, defaults to and is for. A file for each part, one list of all.

use super::Key;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// The parts, in the order of the documents.
const PARTS: &[&[Key]] = &[front::KEYS, workers::KEYS, noslate::KEYS, php::KEYS, requests::KEYS];

/// Every key, in the order of the documents.
pub const KEYS: &[Key] = &joined::<{ count() }>();

const fn count() -> usize {
    let (mut part, mut count) = (0, 0);
    while part < PARTS.len() {
        count += PARTS[part].len();
        part += 1;
    }
    count
}

/// One after the other: constants have no other way to be put together.
const fn joined<const COUNT: usize>() -> [Key; COUNT] {
    let mut all = [PARTS[0][0]; COUNT];
    let (mut part, mut next) = (0, 0);
    while part < PARTS.len() {
        let mut at = 0;
        while at < PARTS[part].len() {
            all[next] = PARTS[part][at];
            at += 1;
            next += 1;
        }
        part += 1;
    }
    all
}

mod front;
mod noslate;
mod php;
mod requests;
mod workers;
