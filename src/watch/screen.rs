//! The terminal of `warmfront top`: asks, draws and listens to keys until somebody has seen enough.

use std::collections::VecDeque;
use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::ask::Asker;
use super::moment::Moment;
use super::rates::Between;
use super::top::{Shown, draw};
use crate::clock;
use crate::error::Problem;

/// How far back percentiles look: a few requests say little.
const WINDOW: Duration = Duration::from_secs(10);
/// Columns of history that are kept: more than a screen has.
const HISTORY: usize = 512;

/// Shows the instance of `asker`, asking `every` so often, until a key ends it.
///
/// # Errors
/// There is no terminal, or the first answer does not come.
pub(super) fn run(asker: &Asker, every: Duration) -> Result<(), Problem> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(Problem::new(
            "`warmfront top` needs a terminal.",
            "Its input or output is a file or a pipe.",
            "`warmfront status`, or `warmfront status --json`, says the same once.",
        ));
    }
    // Before the screen is taken, so that what is wrong can be read.
    let mut top = Top::new(read(asker)?, every);
    let refused = |error: io::Error| {
        Problem::new(
            format!("The terminal refused: {error}."),
            "`warmfront top` draws on the whole of it.",
            "Try another terminal, or `warmfront status`.",
        )
    };
    let mut terminal = ratatui::try_init().map_err(refused)?;
    let shown = top.show(asker, &mut terminal);
    ratatui::restore();
    shown.map_err(refused)
}

fn read(asker: &Asker) -> Result<Moment, Problem> {
    Moment::read(&asker.ask()?).map_err(|why| asker.strange(&why))
}

/// What was told until now.
struct Top {
    every: Duration,
    /// Oldest first, as far as [`WINDOW`] reaches; never empty.
    moments: VecDeque<Moment>,
    history: VecDeque<u64>,
    silence: Option<(String, Instant)>,
    is_held: bool,
    scrolled: usize,
}

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Quit,
    Hold,
    Scroll(isize),
}

impl Top {
    fn new(first: Moment, every: Duration) -> Self {
        let moments = VecDeque::from([first]);
        Self { every, moments, history: VecDeque::new(), silence: None, is_held: false, scrolled: 0 }
    }

    fn show(&mut self, asker: &Asker, terminal: &mut DefaultTerminal) -> io::Result<()> {
        let mut due = clock::now() + self.every;
        loop {
            self.history.make_contiguous();
            terminal.draw(|frame| draw(frame, &self.shown(asker.name())))?;
            let wait = due.saturating_duration_since(clock::now());
            if event::poll(wait)? {
                match wish(&event::read()?) {
                    Some(Wish::Quit) => return Ok(()),
                    Some(Wish::Hold) => self.is_held = !self.is_held,
                    Some(Wish::Scroll(rows)) => self.scrolled = self.scrolled.saturating_add_signed(rows),
                    // A new size, a key without a meaning: drawn anew.
                    None => {}
                }
                continue;
            }
            due = clock::now() + self.every;
            if !self.is_held {
                match read(asker) {
                    Ok(moment) => self.add(moment),
                    Err(problem) => {
                        let since = self.silence.take().map_or_else(clock::now, |(_, since)| since);
                        self.silence = Some((problem.what, since));
                    }
                }
            }
        }
    }

    fn add(&mut self, moment: Moment) {
        self.silence = None;
        match self.moments.back().and_then(|before| Between::new(before, &moment)) {
            Some(between) => self.history.push_back(between.ended().round() as u64),
            // Another process: what was known of the one before says nothing of it.
            None => self.moments.clear(),
        }
        self.moments.push_back(moment);
        let kept = (WINDOW.as_millis() / self.every.as_millis().max(1)) as usize + 1;
        while self.moments.len() > kept.max(2) {
            self.moments.pop_front();
        }
        while self.history.len() > HISTORY {
            self.history.pop_front();
        }
    }

    fn shown<'a>(&'a self, name: &'a str) -> Shown<'a> {
        let newest = &self.moments[self.moments.len() - 1];
        let before = self.moments.len().checked_sub(2).map(|index| &self.moments[index]);
        Shown {
            name,
            moment: newest,
            last: before.and_then(|before| Between::new(before, newest)),
            window: Between::new(&self.moments[0], newest),
            history: self.history.as_slices().0,
            silence: self
                .silence
                .as_ref()
                .map(|(why, since)| (why.as_str(), clock::now().saturating_duration_since(*since))),
            is_held: self.is_held,
            scrolled: self.scrolled,
        }
    }
}

fn wish(event: &Event) -> Option<Wish> {
    let Event::Key(KeyEvent { code, modifiers, kind: KeyEventKind::Press, .. }) = event else { return None };
    match code {
        KeyCode::Char('c') if modifiers.contains(KeyModifiers::CONTROL) => Some(Wish::Quit),
        KeyCode::Char('q') | KeyCode::Esc => Some(Wish::Quit),
        KeyCode::Char(' ') => Some(Wish::Hold),
        KeyCode::Up | KeyCode::Char('k') => Some(Wish::Scroll(-1)),
        KeyCode::Down | KeyCode::Char('j') => Some(Wish::Scroll(1)),
        KeyCode::PageUp => Some(Wish::Scroll(-10)),
        KeyCode::PageDown => Some(Wish::Scroll(10)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::moment::tests::moment;
    use super::*;

    #[test]
    fn keys_mean_what_the_last_line_says() {
        let press = |code, modifiers| wish(&Event::Key(KeyEvent::new(code, modifiers)));
        assert_eq!(press(KeyCode::Char('q'), KeyModifiers::NONE), Some(Wish::Quit));
        assert_eq!(press(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Wish::Quit));
        assert_eq!(press(KeyCode::Char('c'), KeyModifiers::NONE), None);
        assert_eq!(press(KeyCode::Char(' '), KeyModifiers::NONE), Some(Wish::Hold));
        assert_eq!(press(KeyCode::Down, KeyModifiers::NONE), Some(Wish::Scroll(1)));
        assert_eq!(wish(&Event::Resize(1, 1)), None);
    }

    #[test]
    fn moments_are_kept_for_the_window_and_forgotten_with_their_process() {
        let mut top = Top::new(moment(1000, 0), Duration::from_secs(1));
        (2..60).for_each(|second| top.add(moment(second * 1000, second * 10)));
        assert_eq!((top.moments.len(), top.history.len()), (11, 58));
        assert_eq!(top.shown("a").window.map(|window| window.period()), Some(WINDOW));
        top.add(moment(500, 3));
        assert_eq!((top.moments.len(), top.shown("a").last.is_none()), (1, true));
    }
}
