//! The ways in which a worker may be reached, best first, and which one is next when one was no way.
//!
//! Pure. What is known of the program comes in before the first start; what a worker did instead of being ready comes
//! in as a [`Sight`]. A ladder is climbed down by the whole pool: all its workers run the same command.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::fmt;

/// A kind of way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rung {
    /// It listens on the Unix socket that it is told.
    Socket,
    /// It inherits a Unix listener.
    Fd,
    /// It is given one in place of its TCP port, without knowing it.
    Shim,
    /// Its port is replaced by a free one of the loopback as it binds it.
    Remap,
    /// It is told a loopback port of its own.
    Tcp,
    /// It has a port of its own choice, which only one process can have.
    Fixed,
}

impl Rung {
    /// What it is called by the admin and in reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::Fd => "fd",
            Self::Shim => "shim",
            Self::Remap => "remap",
            Self::Tcp => "tcp",
            Self::Fixed => "fixed",
        }
    }
}

/// A way in, complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// Its kind.
    pub rung: Rung,
    /// The port that the app believes to be its own, or has.
    pub port: u16,
    /// Where a [`Rung::Fixed`] one listens.
    pub host: IpAddr,
}

impl Way {
    /// What a better way would save, for whoever runs the app.
    pub fn advice(&self) -> Option<&'static str> {
        match self.rung {
            // The shim costs nothing that could be measured (docs/transports.md).
            Rung::Socket | Rung::Fd | Rung::Shim => None,
            Rung::Remap | Rung::Tcp => Some(
                "a Unix socket, $WARMFRONT_SOCKET, saves about a quarter of its CPU per small request and lets more of \
                 them be sent again",
            ),
            Rung::Fixed => Some("let it read PORT, and there can be several"),
        }
    }

    /// What a configuration would have to say to begin with this way instead of `first`.
    pub fn saves(&self, first: Way) -> String {
        if self.rung == Rung::Fixed {
            // Nothing leads there directly.
            return String::new();
        }
        let port = (self.port != first.port).then(|| format!("workers.app_port = {}", self.port));
        let transport = match self.rung {
            Rung::Shim if self.rung != first.rung => Some("workers.transport = \"shim\""),
            Rung::Tcp if self.rung != first.rung => Some("workers.transport = \"tcp\""),
            _ => None,
        };
        let lines: Vec<_> = port.into_iter().chain(transport.map(str::to_owned)).collect();
        if lines.is_empty() {
            return String::new();
        }
        format!(" ({} saves this start)", lines.join(", "))
    }
}

/// What this machine lets us do for this command; why not, where not.
#[derive(Clone, Debug)]
pub struct Means {
    /// Whether the bind shim reaches the program.
    pub shim: Result<(), String>,
    /// Whether its bind can be remapped.
    pub remap: Result<(), String>,
}

impl Means {
    /// Where nobody looked, because a way was chosen.
    pub fn none() -> Self {
        let why = || Err("another way was chosen".to_owned());
        Self { shim: why(), remap: why() }
    }
}

/// What a worker did instead of becoming ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    /// It listens on these TCP addresses, and not where it was to.
    Elsewhere(Vec<SocketAddr>),
    /// It ended because an address was taken.
    Taken,
}

/// The pool's way, and what it may become.
#[derive(Clone, Debug)]
pub struct Ladder {
    way: Way,
    /// Whether nobody has said which way it is to be.
    is_open: bool,
    /// Whether a worker has gone it to its end.
    is_proven: bool,
    means: Means,
    /// The port that is ours.
    ours: u16,
    tried: Vec<Way>,
}

impl Ladder {
    /// One that begins with `rung`.
    pub fn new(rung: Rung, port: u16, ours: u16, is_open: bool, means: Means) -> Self {
        let way = Way { rung, port, host: Ipv4Addr::LOCALHOST.into() };
        Self { way, is_open, is_proven: false, means, ours, tried: Vec::new() }
    }

    /// The first rung for a program of which no more is known than its file.
    pub fn first(means: &Means) -> Rung {
        match (&means.shim, &means.remap) {
            (Ok(()), _) => Rung::Shim,
            (Err(_), Ok(())) => Rung::Remap,
            (Err(_), Err(_)) => Rung::Tcp,
        }
    }

    /// The way that a worker started now is to go.
    pub fn way(&self) -> Way {
        self.way
    }

    /// Whether nobody has said which way it is to be.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Whether a worker that does something else may still change the way.
    pub fn may_step(&self) -> bool {
        self.is_open && !self.is_proven
    }

    /// A worker that went `way` was met there: what keeps another one is no matter of the way.
    pub fn prove(&mut self, way: Way) {
        self.is_proven |= way == self.way;
    }

    /// Judges a worker that went `way` and did this. The new way, if there is one; the same worker's next life goes it.
    pub fn step(&mut self, way: Way, sight: &Sight) -> Option<Way> {
        if !self.may_step() || way != self.way {
            return None;
        }
        let candidates = match sight {
            Sight::Taken => self.behind_taken(),
            Sight::Elsewhere(addresses) => self.behind_elsewhere(addresses),
        };
        self.tried.push(way);
        let next = candidates.into_iter().find(|way| self.is_possible(way) && !self.tried.contains(way))?;
        self.way = next;
        Some(next)
    }

    /// Its bind went to the kernel, and somebody was there.
    fn behind_taken(&self) -> Vec<Way> {
        let lower = [Rung::Shim, Rung::Remap, Rung::Tcp];
        lower.into_iter().filter(|&rung| rung > self.way.rung).map(|rung| Way { rung, ..self.way }).collect()
    }

    fn behind_elsewhere(&self, addresses: &[SocketAddr]) -> Vec<Way> {
        let Some(address) = chosen(addresses, self.way.port) else { return Vec::new() };
        let (port, host) = (address.port(), reached_at(address.ip()));
        let is_reached = port != self.way.port;
        // Where its bind passes by us, it will do so again.
        let ways = [Rung::Shim, Rung::Remap].into_iter().filter(|&rung| match self.way.rung {
            Rung::Socket | Rung::Fd => true,
            Rung::Shim => is_reached || rung > Rung::Shim,
            Rung::Remap => is_reached && rung == Rung::Remap,
            Rung::Tcp | Rung::Fixed => false,
        });
        let mut ways: Vec<_> = ways.map(|rung| Way { rung, port, ..self.way }).collect();
        if self.way.rung < Rung::Tcp && !is_reached {
            ways.push(Way { rung: Rung::Tcp, ..self.way });
        }
        if port != self.ours {
            ways.push(Way { rung: Rung::Fixed, port, host });
        }
        ways
    }

    fn is_possible(&self, way: &Way) -> bool {
        match way.rung {
            Rung::Shim => self.means.shim.is_ok(),
            Rung::Remap => self.means.remap.is_ok(),
            _ => true,
        }
    }
}

/// Which of several is the app's: that with the port it was told, else one that everybody may reach, else the first.
fn chosen(addresses: &[SocketAddr], port: u16) -> Option<SocketAddr> {
    let told = addresses.iter().find(|address| address.port() == port);
    let open = addresses.iter().find(|address| address.ip().is_unspecified());
    told.or(open).or(addresses.first()).copied()
}

/// Where one who listens at `ip` is reached from here.
fn reached_at(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.port;
        match self.rung {
            Rung::Socket => f.write_str("on Unix sockets of their own"),
            Rung::Fd => f.write_str("on Unix sockets that they inherit"),
            Rung::Shim => write!(f, "on Unix sockets, through the bind shim: they think it is port {port}"),
            Rung::Remap => write!(f, "on loopback ports, each bind to port {port} remapped"),
            Rung::Tcp => f.write_str("on loopback ports that they are told"),
            Rung::Fixed => write!(f, "on their fixed port {port}, which only one process can have"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Means = Means { shim: Ok(()), remap: Ok(()) };

    fn ladder(rung: Rung, means: Means) -> Ladder {
        Ladder::new(rung, 9000, 9000, true, means)
    }

    fn elsewhere(text: &str) -> Sight {
        Sight::Elsewhere(text.split(' ').map(|address| address.parse().unwrap()).collect())
    }

    /// The rungs and ports that `sights` lead to, from where `ladder` stands.
    fn climbed(mut ladder: Ladder, sights: &[Sight]) -> Vec<String> {
        let mut ways = Vec::new();
        for sight in sights {
            let way = ladder.way();
            let next = ladder.step(way, sight);
            ways.push(next.map_or("none".to_owned(), |way| format!("{} {}", way.rung.word(), way.port)));
        }
        ways
    }

    #[test]
    fn a_bind_that_passes_by_the_shim_is_remapped_and_then_the_port_is_told() {
        assert_eq!(
            climbed(ladder(Rung::Shim, ALL), &[Sight::Taken, Sight::Taken, Sight::Taken]),
            ["remap 9000", "tcp 9000", "none"]
        );
        let lean = Means { remap: Err("forbidden".to_owned()), ..ALL };
        assert_eq!(climbed(ladder(Rung::Shim, lean), &[Sight::Taken]), ["tcp 9000"]);
    }

    #[test]
    fn another_port_is_taken_by_the_shim_before_anything_worse_is_tried() {
        let seen = elsewhere("127.0.0.1:9229 0.0.0.0:3000");
        assert_eq!(
            climbed(ladder(Rung::Shim, ALL), &[seen.clone(), seen.clone(), seen]),
            ["shim 3000", "remap 3000", "tcp 3000"]
        );
    }

    #[test]
    fn a_fixed_port_is_the_last_way_and_never_our_own() {
        assert_eq!(climbed(ladder(Rung::Tcp, ALL), &[elsewhere("0.0.0.0:3000")]), ["fixed 3000"]);
        assert_eq!(climbed(ladder(Rung::Tcp, ALL), &[elsewhere("0.0.0.0:9000")]), ["none"]);
        let mut ladder = ladder(Rung::Tcp, ALL);
        let way = ladder.step(ladder.way(), &elsewhere("[::]:3000")).unwrap();
        assert_eq!(way.host, IpAddr::from(Ipv6Addr::LOCALHOST));
    }

    #[test]
    fn a_program_that_does_not_do_as_its_row_says_gets_the_shim() {
        assert_eq!(climbed(ladder(Rung::Socket, ALL), &[elsewhere("0.0.0.0:8000")]), ["shim 8000"]);
    }

    #[test]
    fn one_that_went_another_way_before_says_nothing_about_this_one() {
        let mut ladder = ladder(Rung::Shim, ALL);
        let old = ladder.way();
        assert!(ladder.step(old, &Sight::Taken).is_some());
        assert_eq!(ladder.step(old, &Sight::Taken), None);
    }

    #[test]
    fn a_way_that_one_worker_has_gone_is_not_left_for_what_another_one_does() {
        let mut ladder = ladder(Rung::Shim, ALL);
        ladder.prove(ladder.way());
        assert!(ladder.is_open() && !ladder.may_step());
        assert_eq!(ladder.step(ladder.way(), &Sight::Taken), None);
    }

    #[test]
    fn what_is_said_to_save_a_start_does() {
        let mut ladder = ladder(Rung::Shim, ALL);
        let first = ladder.way();
        let next = ladder.step(first, &elsewhere("0.0.0.0:3000")).unwrap();
        assert_eq!(next.saves(first), " (workers.app_port = 3000 saves this start)");
        let fixed = Way { rung: Rung::Fixed, ..next };
        assert_eq!(fixed.saves(first), "", "no key leads to a fixed port at once");
    }

    #[test]
    fn a_way_that_somebody_has_chosen_stays() {
        let mut ladder = Ladder::new(Rung::Tcp, 9000, 9000, false, ALL);
        assert_eq!(ladder.step(ladder.way(), &elsewhere("0.0.0.0:3000")), None);
    }
}
