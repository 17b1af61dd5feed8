//! Climbing down the ladder: a worker did not listen where it was to, and another way is tried.

use std::net::SocketAddr;
use std::time::Duration;

use super::Supervisor;
use crate::clock;
use crate::upstream::pool::WorkerId;
use crate::worker::diagnose::silence;
use crate::worker::entrance::Entrance;
use crate::worker::ladder::{Rung, Sight, Way};
use crate::worker::report::Report;

impl Supervisor {
    /// Says once how workers listen, if nobody has chosen that.
    pub(super) fn say_way(&mut self, seat: usize, say: &impl Fn(Report)) {
        if !self.launcher.ladder.is_open() || std::mem::replace(&mut self.said_way, true) {
            return;
        }
        let Some(life) = &self.seats[seat].life else { return };
        let way = life.way;
        let advice = way.advice().map_or(String::new(), |advice| format!(" ({advice})"));
        say(Report::Way(format!("workers listen {way}{advice}")));
    }

    /// A worker has started, and listens on TCP instead of where it was to.
    pub(super) fn on_elsewhere(
        &mut self,
        seat: usize,
        addresses: Vec<SocketAddr>,
        entrance: Entrance,
        say: &impl Fn(Report),
    ) {
        let worker = self.seats[seat].id;
        let Some(life) = &mut self.seats[seat].life else { return };
        life.probe = None;
        let way = life.way;
        let list: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        let seen = format!("worker {worker} listens on {} instead", list.join(" and "));
        if !self.step(worker, way, &Sight::Elsewhere(addresses), &seen, say) {
            // It is explained when its time is up; it may still come.
            self.probe(seat, entrance, false);
        }
    }

    /// A worker ended because an address was taken. Whether another way is tried.
    pub(super) fn on_taken(&mut self, worker: WorkerId, way: Way, say: &impl Fn(Report)) -> bool {
        // Another one of the pool may have it. Whether it is the app's own port shows when that one has come to rest:
        // it may as well be a second one, which has nothing to do with us.
        let mut others = self.seats.iter().filter(|seat| seat.id != worker && !seat.place.is_ready());
        let listens = |group| silence::listening(group).into_iter().any(|listens| listens.tcp().is_some());
        if others.any(|seat| seat.life.as_ref().is_some_and(|life| listens(life.group.pid))) {
            return false;
        }
        let seen = format!("worker {worker} wants an address that is taken");
        self.step(worker, way, &Sight::Taken, &seen, say)
    }

    fn step(&mut self, worker: WorkerId, way: Way, sight: &Sight, seen: &str, say: &impl Fn(Report)) -> bool {
        if way != self.launcher.ladder.way() {
            // Others have shown that already.
            let _ = self.restart(worker, Duration::ZERO);
            return true;
        }
        let Some(next) = self.launcher.ladder.step(way, sight) else { return false };
        say(Report::Way(format!("{seen}; from now on workers listen {next}{}", next.saves(way))));
        self.said_way = true;
        if next.rung == Rung::Fixed {
            self.give_up_all_but(worker);
        }
        let before: Vec<_> = self
            .seats
            .iter()
            .filter(|seat| seat.life.as_ref().is_some_and(|life| life.way != next) && !seat.place.is_ready())
            .map(|seat| seat.id)
            .collect();
        for worker in before {
            let _ = self.restart(worker, Duration::ZERO);
        }
        true
    }

    /// Only one process can have the port.
    fn give_up_all_but(&mut self, worker: WorkerId) {
        let (now, grace) = (clock::now(), self.launcher.spawn().grace);
        for seat in self.seats.iter_mut().filter(|seat| seat.id != worker) {
            if let (true, Some(life)) = (seat.place.on_stop(now, grace), &mut seat.life) {
                if let Some(probe) = life.probe.take() {
                    probe.abort();
                }
                life.group.term();
            }
        }
    }
}
