//! How long the steps of a request's way take: cargo bench --bench steps
//!
//! `-- --quick` takes seconds and is enough to see a factor; for less, count
//! instructions (`--bench counts`), or compare requests with `warmfront-bench`.

mod shared;

use std::os::unix::net::UnixListener;
use std::thread;

use criterion::{Criterion, criterion_group, criterion_main};

fn steps(c: &mut Criterion) {
    for (name, mut step) in shared::steps() {
        c.bench_function(name, |b| b.iter(|| step(1)));
    }
}

/// From a client's write to its read, two other threads and four sockets in between: mostly the kernel's time.
fn forward(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("worker.sock");
    let listener = UnixListener::bind(&socket).expect("a socket");
    thread::spawn(move || shared::answer(&listener));
    let (_data, address) = shared::forward(&socket, false);
    let mut client = shared::Client::new(address);
    c.bench_function("one whole forward", |b| b.iter(|| client.ask()));
}

criterion_group!(benches, steps, forward);
criterion_main!(benches);
