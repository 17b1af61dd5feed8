//! The kinds of traffic that are measured; README.md says what each is for.

use std::str::FromStr;

use crate::namespace::{AS_CHOSEN, AS_IT_COMES};
use crate::subjects::{Kind, Subject};

/// What proxies and workers are like in a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setting {
    /// One thread, pinned if `--layout pinned`.
    Usual,
    /// Two threads that share the machine with client and workers, whatever `--layout`.
    TwoThreads,
    /// One thread, four workers of one slot each.
    SingleSlots,
}

impl Setting {
    /// All, in the order in which they are measured.
    pub(crate) const ALL: [Self; 3] = [Self::Usual, Self::TwoThreads, Self::SingleSlots];
}

/// One kind of traffic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cell {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    path: &'static str,
    /// Further arguments of `load`.
    args: &'static [&'static str],
    expect_body_bytes: u64,
    /// This many times fewer requests than `1k`, so that runs take about as long.
    weight: u64,
    /// Instead of `--connections`.
    connections: Option<u32>,
    /// Connections that never send, beside them.
    idle: u32,
    /// Requests per second; a closed loop if `None`.
    rate: Option<u32>,
    /// Whether everybody is on the chosen congestion control.
    pub(crate) is_cubic: bool,
    /// Whether bodies are so large that variants for them take part.
    is_body: bool,
    pub(crate) setting: Setting,
    /// Where it lies in the plot of scale: the curve, and the connections.
    pub(crate) curve: Option<(&'static str, u32)>,
}

const BASE: Cell = Cell {
    name: "",
    what: "",
    path: "/",
    args: &[],
    expect_body_bytes: 1024,
    weight: 1,
    connections: None,
    idle: 0,
    rate: None,
    is_cubic: false,
    is_body: false,
    setting: Setting::Usual,
    curve: None,
};

const fn body(name: &'static str, what: &'static str, path: &'static str, bytes: u64, weight: u64) -> Cell {
    Cell { name, what, path, expect_body_bytes: bytes, weight, is_body: true, ..BASE }
}

const fn upload(name: &'static str, what: &'static str, args: &'static [&'static str]) -> Cell {
    Cell { name, what, args, weight: 20, is_body: true, ..BASE }
}

const fn scale(name: &'static str, curve: &'static str, active: u32, idle: u32, setting: Setting) -> Cell {
    let weight = if active == 1 { 4 } else { 1 };
    let curve = Some((curve, active + idle));
    let what = "GET, 1 KiB; connections and threads as the name says";
    Cell { name, what, connections: Some(active), idle, setting, curve, weight, ..BASE }
}

const fn small(
    name: &'static str,
    what: &'static str,
    path: &'static str,
    args: &'static [&'static str],
) -> Cell {
    Cell { name, what, path, args, ..BASE }
}

const UP: &[&str] = &["--body-bytes", "1048576"];
const UP_CHUNKED: &[&str] = &["--body-bytes", "1048576", "--chunked-body"];
const ONE: &str = "1 thread";
const TWO: &str = "2 threads";

/// Everything that can be asked for: the cells of the goals, then those of scale.
#[rustfmt::skip]
pub(crate) const CELLS: [Cell; 33] = [
    small("1k", "GET, 1 KiB", "/", &[]),
    Cell { setting: Setting::TwoThreads, ..small("1k-shared", "GET, 1 KiB; 2 threads, nothing pinned", "/", &[]) },
    small("ch1k", "GET, 1 KiB in four chunks", "/c/1024", &[]),
    Cell { weight: 20, expect_body_bytes: 1 << 20, ..small("ch1m", "GET, 1 MiB in 64 chunks", "/c/1048576/64", &[]) },
    small("req96", "GET with 96 more header fields, 1 KiB", "/", &["--header-count", "96"]),
    small("resp96", "GET, 1 KiB with 96 more header fields", "/h/96", &[]),
    small("post4k", "POST 4 KiB, 1 KiB", "/", &["--body-bytes", "4096"]),
    body("64k", "GET, 64 KiB", "/b/65536", 65_536, 2),
    body("1m", "GET, 1 MiB, congestion control as it comes", "/b/1048576", 1 << 20, 20),
    Cell { is_cubic: true, ..body("1m-cubic", "GET, 1 MiB, everybody on cubic", "/b/1048576", 1 << 20, 20) },
    Cell { connections: Some(4), ..body("100m", "GET, 100 MiB, congestion control as it comes", "/b/104857600", 100 << 20, 2000) },
    Cell { connections: Some(4), is_cubic: true, ..body("100m-cubic", "GET, 100 MiB, everybody on cubic", "/b/104857600", 100 << 20, 2000) },
    upload("up1m", "POST 1 MiB, 1 KiB", UP),
    upload("up1mch", "POST 1 MiB in chunks of 16 KiB, 1 KiB", UP_CHUNKED),
    Cell { weight: 4, ..small("cpr", "GET, one connection per request, 1 KiB", "/", &["--new-connection-per-request"]) },
    Cell { rate: Some(5_000), ..small("r5000", "GET, 1 KiB, 5,000 requests per second, open loop", "/", &[]) },
    Cell { rate: Some(12_000), ..small("r12000", "GET, 1 KiB, 12,000 requests per second, open loop", "/", &[]) },
    Cell { connections: Some(1), weight: 4, ..small("c1", "GET, 1 KiB, one connection", "/", &[]) },
    scale("n1", ONE, 1, 0, Setting::Usual),
    scale("n8", ONE, 8, 0, Setting::Usual),
    scale("n64", ONE, 64, 0, Setting::Usual),
    scale("n512", ONE, 512, 0, Setting::Usual),
    scale("n2000", ONE, 2000, 0, Setting::Usual),
    scale("n10000-64", "1 thread, 64 active", 64, 9_936, Setting::Usual),
    scale("n10000-2000", "1 thread, 2,000 active", 2000, 8_000, Setting::Usual),
    scale("n1-t2", TWO, 1, 0, Setting::TwoThreads),
    scale("n8-t2", TWO, 8, 0, Setting::TwoThreads),
    scale("n64-t2", TWO, 64, 0, Setting::TwoThreads),
    scale("n512-t2", TWO, 512, 0, Setting::TwoThreads),
    scale("n2000-t2", TWO, 2000, 0, Setting::TwoThreads),
    scale("n10000-64-t2", "2 threads, 64 active", 64, 9_936, Setting::TwoThreads),
    scale("n10000-2000-t2", "2 threads, 2,000 active", 2000, 8_000, Setting::TwoThreads),
    Cell { connections: Some(200), setting: Setting::SingleSlots, ..small("fair200", "GET, 1 KiB, 200 in flight on 4 workers of one slot", "/", &[]) },
];

impl Cell {
    /// Whether `kind` is measured in it.
    pub(crate) fn includes(&self, kind: &Kind) -> bool {
        match self.setting {
            Setting::SingleSlots => kind.has_a_queue(),
            Setting::Usual | Setting::TwoThreads => self.is_body || !kind.is_for_bodies(),
        }
    }

    /// Command line of the load. `is_cubic` puts every cell on the chosen congestion control.
    pub(crate) fn load_args(
        &self,
        subject: &Subject,
        requests: u64,
        connections: u32,
        is_cubic: bool,
    ) -> Vec<String> {
        let connections = self.connections.unwrap_or(connections);
        let requests = match self.rate {
            // As long as `requests` take at 20,000 per second, which is about what they do otherwise.
            Some(rate) => (u64::from(rate) * requests / 20_000).max(1),
            None => (requests / self.weight).max(u64::from(connections)),
        };
        let address = if self.is_cubic || is_cubic { AS_CHOSEN } else { AS_IT_COMES };
        let pids: Vec<String> = subject.cpu_of.iter().map(u32::to_string).collect();
        let mut args: Vec<String> = ["load", "--json", "--target"].map(String::from).into();
        args.push(format!("{address}:{}", subject.port));
        for (flag, value) in [
            ("--path", self.path.to_owned()),
            ("--connections", connections.to_string()),
            ("--idle-connections", self.idle.to_string()),
            ("--requests", requests.to_string()),
            ("--warmup-requests", (requests / 10).max(u64::from(connections)).to_string()),
            ("--expect-body-bytes", self.expect_body_bytes.to_string()),
            ("--cpu-of", pids.join(",")),
        ] {
            args.extend([flag.to_owned(), value]);
        }
        args.extend(self.rate.into_iter().flat_map(|rate| ["--rate".to_owned(), rate.to_string()]));
        args.extend(self.args.iter().map(ToString::to_string));
        args
    }
}

/// One cell or a family of them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cells(pub(crate) Vec<Cell>);

impl FromStr for Cells {
    type Err = String;

    /// A name; `goals`, `scale` or `all`.
    fn from_str(text: &str) -> Result<Self, String> {
        let is_scale = |cell: &Cell| cell.curve.is_some() || cell.setting == Setting::SingleSlots;
        let chosen: Vec<Cell> = CELLS
            .into_iter()
            .filter(|cell| match text {
                "all" => true,
                "scale" => is_scale(cell),
                "goals" => !is_scale(cell),
                name => cell.name == name,
            })
            .collect();
        if chosen.is_empty() {
            let names = CELLS.map(|cell| cell.name).join(", ");
            return Err(format!("`{text}` is no known cell; there are goals, scale, all, {names}"));
        }
        Ok(Self(chosen))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn names(text: &str) -> Vec<&'static str> {
        text.parse::<Cells>().unwrap().0.iter().map(|cell| cell.name).collect()
    }

    #[test]
    fn families_cover_everything_once_and_an_unknown_cell_lists_all() {
        let all: BTreeSet<&str> = names("all").into_iter().collect();
        assert_eq!(all.len(), CELLS.len());
        let both: BTreeSet<&str> = [names("goals"), names("scale")].concat().into_iter().collect();
        assert_eq!((both.len(), names("goals").len()), (CELLS.len(), 18));
        assert_eq!(names("1m-cubic"), ["1m-cubic"]);
        assert!("2k".parse::<Cells>().unwrap_err().contains("resp96"));
    }

    #[test]
    fn variants_for_bodies_are_measured_with_bodies_only_and_queues_where_there_are_slots() {
        let cell = |name: &str| name.parse::<Cells>().unwrap().0[0];
        assert!(cell("1m").includes(&Kind::HaproxySplice) && !cell("1k").includes(&Kind::HaproxySplice));
        assert!(cell("up1m").includes(&Kind::RelaySplice) && cell("1k").includes(&Kind::Relay));
        assert!(cell("fair200").includes(&Kind::Haproxy) && !cell("fair200").includes(&Kind::Nginx));
    }
}
