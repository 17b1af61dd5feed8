//! What telling a worker's lines apart costs each request: cargo bench --bench roster
//!
//! One begin and one end, as the data plane does them: with pipes in which nothing waits,
//! which is the usual case, and with a line that was not read yet.

use std::io::{self, Write};
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use warmfront::id::RequestId;
use warmfront::upstream::roster::{PIPES, Pipe, Roster};

fn begin_and_end(c: &mut Criterion) {
    let ((out, mut to_out), (err, _to_err)) = (io::pipe().expect("a pipe"), io::pipe().expect("a pipe"));
    let pipes: [Arc<dyn Pipe>; PIPES] = [Arc::new(out), Arc::new(err)];
    let roster = Roster::new(&pipes).expect("watched");
    let id = RequestId::generate();
    c.bench_function("begin and end, nothing unread", |b| b.iter(|| drop(roster.begin(id))));
    let others: Vec<_> = (0..99).map(|_| roster.begin(id)).collect();
    c.bench_function("the same beside 99 others", |b| b.iter(|| drop(roster.begin(id))));
    drop(others);
    to_out.write_all(b"a line\n").expect("room");
    c.bench_function("the same with a line unread", |b| b.iter(|| drop(roster.begin(id))));
}

criterion_group!(benches, begin_and_end);
criterion_main!(benches);
