//! Looks after the planes of a Noslate: who is there, what each has been told, whether it is well.
//!
//! A session keeps one plane each (`session`): it connects, tells the plane what it must know, and asks how it is,
//! for as long as the connection lives; then again from the start, because a plane that has come back has forgotten
//! everything. What sessions see comes here, and here alone is decided who gets requests. No request waits for any
//! of this once functions are known: a control plane that is away leaves what runs alone.
//!
//! ```text
//!  data sessions ────┐                    ┌─▶ Publisher (planes that are there, once functions are known)
//!  control session ──┼─▶ Planes (states) ─┼─▶ States (for /ready and /workers), Functions (workers of each)
//!  suspicion ────────┘                    └─▶ Report (for people)
//! ```

mod control;
pub mod files;
mod rpc;
mod session;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use self::session::{News, Plane, Session, What};
use super::Mandate;
use super::census::{Census, Member, Members, Standing};
use super::report::Report;
use super::state::{SILENT, later};
use crate::clock;
use crate::config::Noslate;
use crate::error::Problem;
use crate::noslate::profiles::Profiles;
use crate::upstream::functions::Functions;
use crate::upstream::pool::{Address, Publisher, Worker, WorkerId};

/// How long the control plane may take to let go of all functions: it waits 3 s for their workers.
const CLEARING: Duration = Duration::from_secs(5);

/// A plane for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaneState {
    /// `data plane 0`, `control plane`.
    pub name: String,
    /// Where it is.
    pub socket: PathBuf,
    /// Why it is not to be relied upon; nothing if it is.
    pub trouble: Option<String>,
}

impl PlaneState {
    /// Its trouble with its name, if it has one.
    pub fn obstacle(&self) -> Option<String> {
        self.trouble.as_ref().map(|trouble| format!("{}: {trouble}", self.name))
    }
}

/// All of them.
pub type States = Arc<[PlaneState]>;

/// All planes of one Noslate.
#[derive(Debug)]
pub struct Planes {
    noslate: Arc<Noslate>,
    profiles: Arc<Profiles>,
    functions: Arc<Functions>,
    seats: Vec<Seat>,
    /// `None` where somebody else looks after it.
    control: Option<Condition>,
    publisher: Publisher,
    published: Vec<WorkerId>,
    census: (Census, watch::Receiver<Members>),
    states: watch::Sender<States>,
    suspicion: Arc<Notify>,
    start_deadline: Duration,
    /// Whether the data planes know our functions, as far as anybody has told them.
    are_known: bool,
    all_were_ready: bool,
}

/// One data plane.
#[derive(Debug)]
struct Seat {
    worker: Arc<Worker>,
    state: Condition,
    ready_after: Option<Duration>,
    /// Has its session begin again.
    again: Arc<Notify>,
}

/// How one plane is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Condition {
    /// It was never there, or is not again.
    Away {
        since: Instant,
        was_there: bool,
        why: String,
    },
    /// It is there and not well.
    Unwell(String),
    Well,
}

impl Condition {
    /// Of a plane that is there, with its trouble, if it has one.
    fn of(trouble: Option<String>) -> Self {
        trouble.map_or(Self::Well, Self::Unwell)
    }

    fn is_there(&self) -> bool {
        !matches!(self, Self::Away { .. })
    }

    fn trouble(&self) -> Option<String> {
        match self {
            Self::Away { why, .. } | Self::Unwell(why) => Some(why.clone()),
            Self::Well => None,
        }
    }
}

impl Planes {
    /// Prepares to look after the planes of `noslate`, each of which may hold `slots` requests. Those that never came
    /// are explained, for the last time at `start_deadline`.
    pub fn new(
        noslate: Arc<Noslate>,
        profiles: Arc<Profiles>,
        functions: Arc<Functions>,
        slots: u32,
        start_deadline: Duration,
        publisher: Publisher,
    ) -> Self {
        let suspicion = Arc::new(Notify::new());
        let away = Condition::Away { since: clock::now(), was_there: false, why: "not there yet".to_owned() };
        let seat = |id: usize| {
            let (number, address) = (WorkerId(id as u32 + 1), Address::Unix(noslate.data_socket(id)));
            Seat {
                worker: Worker::new(number, address, slots, Arc::clone(&suspicion)),
                state: away.clone(),
                ready_after: None,
                again: Arc::default(),
            }
        };
        let seats = (0..noslate.data_planes).map(seat).collect();
        let control = noslate.has_control.then(|| away.clone());
        functions.set_profiled(profiles.names());
        Self {
            seats,
            control,
            profiles,
            functions,
            publisher,
            published: Vec::new(),
            census: Census::new(),
            states: watch::Sender::new(Arc::from([])),
            suspicion,
            start_deadline,
            are_known: !noslate.has_control || noslate.duties.profiles.is_none(),
            all_were_ready: false,
            noslate,
        }
    }

    /// Follows who is who.
    pub fn census(&self) -> watch::Receiver<Members> {
        self.census.1.clone()
    }

    /// Follows how the planes are.
    pub fn states(&self) -> watch::Receiver<States> {
        self.states.subscribe()
    }

    /// Looks after them until `mandate` is to stop (or its sender is gone); the pool is empty then.
    ///
    /// # Cancel safety
    /// May be dropped at any time; the pool stays as it was.
    pub async fn run(mut self, mut mandate: watch::Receiver<Mandate>, reports: UnboundedSender<Report>) {
        let say = |report| drop(reports.send(report));
        let began = clock::now();
        let (news, mut coming) = unbounded_channel();
        let mut sessions = JoinSet::new();
        for (id, seat) in self.seats.iter().enumerate() {
            let session = Session::new(Plane::Data(id), self.noslate.data_socket(id), news.clone());
            sessions.spawn(session.keep_data(
                Arc::clone(&self.profiles),
                Arc::clone(&self.noslate),
                Arc::clone(&seat.again),
            ));
        }
        if self.control.is_some() {
            let session = Session::new(Plane::Control, self.noslate.control_socket(), news);
            let functions = Arc::clone(&self.functions);
            sessions.spawn(session.keep_control(
                Arc::clone(&self.profiles),
                Arc::clone(&self.noslate),
                functions,
            ));
        }
        let mut looks = [SILENT.min(self.start_deadline), self.start_deadline]
            .map(|period| later(began, period))
            .to_vec();
        looks.dedup();
        loop {
            self.census.0.publish(self.seats.iter().map(Seat::member));
            self.states.send_replace(self.all_states());
            let look = looks.first().copied();
            // All branches are cancel safe.
            tokio::select! {
                _ = mandate.wait_for(|&mandate| mandate == Mandate::Stop) => break,
                () = self.suspicion.notified() => self.look_for_suspects(&say),
                Some(news) = coming.recv() => self.on_news(news, began, &say),
                () = clock::sleep_until(look.unwrap_or_else(clock::now)), if look.is_some() => {
                    looks.remove(0);
                    self.explain_silence(began, &say);
                }
            }
        }
        drop(sessions);
        let is_there = self.control.as_ref().is_some_and(Condition::is_there);
        if self.noslate.duties.clears_on_stop
            && is_there
            && let Err(why) = control::clear(&self.noslate.control_socket(), CLEARING).await
        {
            let fix = "Their workers end with the instance.";
            say(Report::PlaneTrouble(Problem::new(
                "The functions were not taken back.",
                format!("{why}."),
                fix,
            )));
        }
        self.publisher.publish(Vec::new());
    }

    fn on_news(&mut self, news: News, began: Instant, say: &impl Fn(Report)) {
        let News { plane, what } = news;
        let now = clock::now();
        let socket = self.socket(plane);
        let state = match plane {
            Plane::Data(id) => &mut self.seats[id].state,
            Plane::Control => match &mut self.control {
                Some(state) => state,
                None => return,
            },
        };
        match what {
            What::There(trouble) => {
                let is_news = trouble.is_some() && *state != Condition::of(trouble.clone());
                let before = std::mem::replace(state, Condition::of(trouble.clone()));
                if let Condition::Away { since, was_there, .. } = before {
                    say(self.arrival(plane, was_there, now.duration_since(since), began));
                }
                if let (Some(why), true) = (trouble, is_news) {
                    say(unwell(plane, &why));
                }
            }
            What::Away(why) => {
                if state.is_there() {
                    *state = Condition::Away { since: now, was_there: true, why: why.clone() };
                    say(match plane {
                        Plane::Data(id) => {
                            Report::Gone { worker: WorkerId(id as u32 + 1), address: Address::Unix(socket) }
                        }
                        Plane::Control => Report::PlaneTrouble(Problem::new(
                            format!("The control plane at {} is gone: {why}.", socket.display()),
                            "Functions that have workers are still served; no worker is started meanwhile.",
                            "It is told everything again as soon as it is back.",
                        )),
                    });
                } else if let Condition::Away { why: known, .. } = state {
                    *known = why;
                }
            }
            // From before it was found away: what counts is how it comes back.
            What::Unwell(_) | What::Well if !state.is_there() => {}
            What::Unwell(why) => {
                if *state != Condition::Unwell(why.clone()) {
                    *state = Condition::Unwell(why.clone());
                    say(unwell(plane, &why));
                }
            }
            What::Well => {
                if let Condition::Unwell(_) = std::mem::replace(state, Condition::Well) {
                    say(Report::Plane(format!("the {plane} is well again")));
                }
            }
            What::Known => self.are_known = true,
            What::Trouble(problem) => say(Report::PlaneTrouble(problem)),
        }
        self.publish();
        let all_well = self.seats.iter().all(|seat| seat.state == Condition::Well)
            && self.control.as_ref().is_none_or(|control| *control == Condition::Well);
        if all_well && self.are_known && !self.all_were_ready {
            self.all_were_ready = true;
            say(Report::AllReady);
        }
    }

    fn arrival(&mut self, plane: Plane, was_there: bool, after: Duration, began: Instant) -> Report {
        match plane {
            Plane::Data(id) => {
                let seat = &mut self.seats[id];
                seat.worker.clear_suspicion();
                let (worker, address) = (seat.worker.id, seat.worker.address.clone());
                let since_began = clock::now().duration_since(began);
                seat.ready_after.get_or_insert(since_began);
                match was_there {
                    true => Report::Back { worker, address, after },
                    false => Report::Ready { worker, pid: None, after: since_began },
                }
            }
            Plane::Control => {
                let verb = if was_there { "is back and has been told everything" } else { "is ready" };
                Report::Plane(format!("the control plane {verb} after {} ms", after.as_millis()))
            }
        }
    }

    fn socket(&self, plane: Plane) -> PathBuf {
        match plane {
            Plane::Data(id) => self.noslate.data_socket(id),
            Plane::Control => self.noslate.control_socket(),
        }
    }

    /// The data plane has not reached some: their sessions find out why.
    fn look_for_suspects(&mut self, say: &impl Fn(Report)) {
        for seat in &mut self.seats {
            if seat.state.is_there() && seat.worker.is_suspect() {
                seat.state = Condition::Away {
                    since: clock::now(),
                    was_there: true,
                    why: "a connect failed".to_owned(),
                };
                say(Report::Gone { worker: seat.worker.id, address: seat.worker.address.clone() });
                seat.again.notify_one();
            }
        }
        self.publish();
    }

    /// Most news changes nothing for requests: then nobody is told.
    fn publish(&mut self) {
        let ready = self.seats.iter().filter(|seat| self.are_known && seat.state.is_there());
        let ready: Vec<_> = ready.map(|seat| Arc::clone(&seat.worker)).collect();
        let ids: Vec<_> = ready.iter().map(|worker| worker.id).collect();
        if ids != self.published {
            self.published = ids;
            self.publisher.publish(ready);
        }
    }

    fn all_states(&self) -> States {
        let data = self.seats.iter().enumerate().map(|(id, seat)| (Plane::Data(id), &seat.state));
        let control = self.control.iter().map(|state| (Plane::Control, state));
        let state = |(plane, state): (Plane, &Condition)| PlaneState {
            name: plane.to_string(),
            socket: self.socket(plane),
            trouble: state.trouble(),
        };
        data.chain(control).map(state).collect()
    }

    fn explain_silence(&self, began: Instant, say: &impl Fn(Report)) {
        let after = clock::now().duration_since(began).as_secs();
        for PlaneState { name, socket, trouble } in self.all_states().iter() {
            let Some(why) = trouble else { continue };
            let (why, fix) = match socket.exists() {
                true => (
                    format!("{why}."),
                    "Its log says more; a socket file without anybody behind it is left by one that was killed.",
                ),
                false => (
                    format!("No such file: {}.", socket.display()),
                    "Start it, or correct noslate.workdir (NOSLATED_WORKDIR).",
                ),
            };
            say(Report::PlaneTrouble(Problem::new(
                format!("The {name} is not ready after {after} s."),
                why,
                fix,
            )));
        }
    }
}

fn unwell(plane: Plane, why: &str) -> Report {
    let what = format!("The {plane} is not well: {why}.");
    Report::PlaneTrouble(Problem::new(what, "", "Its log says more."))
}

impl Seat {
    fn member(&self) -> Member {
        let standing = match &self.state {
            Condition::Away { was_there: false, .. } => Standing::Starting,
            Condition::Away { .. } => Standing::Suspect,
            Condition::Unwell(_) | Condition::Well => Standing::Ready,
        };
        Member {
            standing,
            ready_after: self.ready_after,
            worker: Some(Arc::clone(&self.worker)),
            ..Member::new(self.worker.id)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::noslate::{Duties, UrlForm};

    fn noslate(workdir: &Path) -> Noslate {
        Noslate {
            workdir: workdir.to_owned(),
            data_planes: 1,
            has_control: false,
            dispatch: Vec::new(),
            target: None,
            url: UrlForm::Relative,
            timeout: Duration::from_secs(10),
            baggage: Vec::new(),
            shows_errors: false,
            duties: Duties::default(),
        }
    }

    #[test]
    fn what_was_seen_before_a_plane_was_lost_does_not_bring_it_back() {
        let (publisher, pool) = Publisher::new();
        let noslate = Arc::new(noslate(Path::new("/nowhere")));
        let minute = Duration::from_secs(60);
        let mut planes = Planes::new(noslate, Arc::default(), Arc::default(), 1, minute, publisher);
        let worker = Arc::clone(&planes.seats[0].worker);
        let trusted = || pool.borrow().workers().iter().filter(|worker| !worker.is_suspect()).count();
        let began = clock::now();
        let said = std::cell::RefCell::new(Vec::new());
        let say = |report: Report| said.borrow_mut().push(report.to_string());
        let news = |what| News { plane: Plane::Data(0), what };
        planes.on_news(news(What::There(None)), began, &say);
        assert_eq!(trusted(), 1);
        worker.suspect();
        planes.look_for_suspects(&say);
        for late in [What::Well, What::Unwell("tired".to_owned())] {
            planes.on_news(news(late), began, &say);
            assert_eq!((trusted(), planes.all_states()[0].trouble.as_deref()), (0, Some("a connect failed")));
        }
        planes.on_news(news(What::There(Some("tired".to_owned()))), began, &say);
        assert_eq!((trusted(), planes.all_states()[0].trouble.as_deref()), (1, Some("tired")));
        planes.on_news(news(What::Well), began, &say);
        assert_eq!(planes.all_states()[0].trouble, None);
        let said = said.borrow();
        let parts =
            ["is ready", "all workers are ready", "is gone", "is back", "not well: tired", "is well again"];
        assert_eq!(said.len(), parts.len(), "{said:?}");
        for (line, part) in said.iter().zip(parts) {
            assert!(line.contains(part), "{line}");
        }
    }
}
