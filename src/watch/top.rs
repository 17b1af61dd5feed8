//! `warmfront top`, drawn: what is known of an instance onto a screen of any size.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize as _};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Gauge, Paragraph, Row, Sparkline, Table};

use super::moment::{Moment, STARTS, Worker};
use super::rates::Between;
use super::status;
use crate::words::{age, bytes, count, latency, percent, rate};

/// Most kinds of trouble that are listed; the others have no room anywhere.
const TROUBLES: usize = 6;

/// What is on the screen.
#[derive(Debug)]
pub(super) struct Shown<'a> {
    /// Where the admin is.
    pub(super) name: &'a str,
    /// The last one that was told.
    pub(super) moment: &'a Moment,
    /// From the one before that.
    pub(super) last: Option<Between<'a>>,
    /// From one some seconds ago, for what needs many requests.
    pub(super) window: Option<Between<'a>>,
    /// Requests a second, each time, the newest last.
    pub(super) history: &'a [u64],
    /// Why there is nothing newer, and since when.
    pub(super) silence: Option<(&'a str, Duration)>,
    /// Whether somebody holds the screen still.
    pub(super) is_held: bool,
    /// Rows of each table that are above the screen.
    pub(super) scrolled: usize,
}

/// Draws it all.
pub(super) fn draw(frame: &mut Frame<'_>, shown: &Shown<'_>) {
    let troubles = troubles(shown);
    let [head, traffic, times, wrong, workers, flying, foot] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(5),
        Constraint::Length(5),
        Constraint::Length(if troubles.is_empty() { 0 } else { troubles.len() as u16 + 1 }),
        Constraint::Fill(2),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(headline(shown), head);
    draw_traffic(frame, traffic, shown);
    frame.render_widget(latencies(shown), times);
    if !troubles.is_empty() {
        frame.render_widget(trouble_table(&troubles), wrong);
    }
    frame.render_widget(worker_table(shown), workers);
    frame.render_widget(flight_table(shown), flying);
    let held = if shown.is_held { "HELD" } else { "" };
    frame.render_widget(Line::from(format!(" q quit  space hold, go on  ↑ ↓ scroll   {held}")).dim(), foot);
}

fn section(title: &str) -> Block<'static> {
    Block::new().borders(Borders::TOP).border_style(Style::new().dim()).title(format!(" {title} ").bold())
}

fn headline(shown: &Shown<'_>) -> Paragraph<'static> {
    let moment = shown.moment;
    let style = if moment.is_ready() { Style::new().fg(Color::Green) } else { Style::new().fg(Color::Red) };
    let up = age(moment.period("/uptime_ms").unwrap_or_default());
    let first = Line::from(vec![
        Span::from(format!(" warmfront {}  ", moment.word("/build"))).bold(),
        Span::styled(status::state(moment), style.add_modifier(Modifier::BOLD)),
        Span::from(format!("  up {up}  {}", shown.name)),
    ]);
    let second = match shown.silence {
        Some((why, since)) => Line::from(format!(" no answer for {}: {why}", age(since))).fg(Color::Red),
        None => Line::from(format!(" {}", moment.reasons().join("; "))).fg(Color::Yellow),
    };
    Paragraph::new(vec![first, second])
}

fn draw_traffic(frame: &mut Frame<'_>, area: Rect, shown: &Shown<'_>) {
    let [left, right] = Layout::horizontal([Constraint::Fill(3), Constraint::Fill(2)]).areas(area);
    let now = shown.last.as_ref();
    let title = match now {
        Some(last) => format!(
            "{} requests, {} failed, {} in, {} out",
            rate(last.ended()),
            rate(last.ended_with("5xx")),
            traffic(last.rate("/counters/received_bytes")),
            traffic(last.rate("/counters/sent_bytes")),
        ),
        None => "requests".to_owned(),
    };
    let room = usize::from(left.width);
    let recent = &shown.history[shown.history.len().saturating_sub(room)..];
    // The newest at the right edge, as time goes.
    let padded: Vec<u64> =
        std::iter::repeat_n(0, room - recent.len()).chain(recent.iter().copied()).collect();
    frame.render_widget(
        Sparkline::default().block(section(&title)).data(&padded).style(Style::new().fg(Color::Cyan)),
        left,
    );
    let [pool, pool_bar, queue, queue_bar, _] = Layout::vertical([Constraint::Length(1); 5]).areas(right);
    let moment = shown.moment;
    frame.render_widget(Line::from(format!(" {}", status::pool(moment))), pool);
    frame.render_widget(gauge(moment.number("/pool/in_flight"), moment.number("/pool/slots")), pool_bar);
    frame.render_widget(Line::from(format!(" queue: {}", status::queue(moment))), queue);
    frame.render_widget(gauge(moment.number("/queue/waiting"), moment.number("/queue/limit")), queue_bar);
}

fn traffic(per_second: f64) -> String {
    format!("{}/s", bytes(per_second.round() as u64))
}

fn gauge(many: u64, most: u64) -> Gauge<'static> {
    let share = if most == 0 { 0.0 } else { (many as f64 / most as f64).min(1.0) };
    let colour = match share {
        0.0..0.5 => Color::Green,
        0.5..0.8 => Color::Yellow,
        _ => Color::Red,
    };
    Gauge::default()
        .ratio(share)
        .label(percent(share))
        .gauge_style(Style::new().fg(colour).bg(Color::DarkGray))
}

fn latencies(shown: &Shown<'_>) -> Table<'static> {
    let over = shown.window.as_ref().map_or(0, |window| window.period().as_secs().max(1));
    let row = |start: &'static str| {
        let ended: u64 = shown.moment.ended(start).map(|(_, many)| many).sum();
        let times = shown.window.as_ref().and_then(|window| window.latency(start));
        let times = times.map_or([const { String::new() }; 4], |times| {
            [count(times.count), latency(times.p50), latency(times.p90), latency(times.p99)]
        });
        let [answered, p50, p90, p99] = times;
        Row::new([format!(" {start}"), count(ended), answered, p50, p90, p99])
    };
    Table::new(
        STARTS.map(row),
        [
            Constraint::Length(8),
            Constraint::Length(14),
            Constraint::Length(12),
            Constraint::Length(10),
            Constraint::Length(10),
            Constraint::Length(10),
        ],
    )
    .header(
        Row::new([
            " start".to_owned(),
            "ended".to_owned(),
            format!("in {over}s"),
            "p50".to_owned(),
            "p90".to_owned(),
            "p99".to_owned(),
        ])
        .dim(),
    )
    .block(section("time to the first byte"))
}

fn troubles(shown: &Shown<'_>) -> Vec<(String, u64, f64)> {
    let mut found = match &shown.last {
        Some(last) => last.troubles(),
        None => shown.moment.troubles().into_iter().map(|(name, many)| (name, many, 0.0)).collect(),
    };
    // What happens now comes first.
    found.sort_by(|a, b| b.2.total_cmp(&a.2).then(b.1.cmp(&a.1)));
    found.truncate(TROUBLES);
    found
}

fn trouble_table(troubles: &[(String, u64, f64)]) -> Table<'static> {
    let row = |(name, many, per_second): &(String, u64, f64)| {
        let style = if *per_second > 0.0 { Style::new().fg(Color::Red) } else { Style::new() };
        Row::new([format!(" {name}"), count(*many), rate(*per_second)]).style(style)
    };
    let widths = [Constraint::Length(32), Constraint::Length(12), Constraint::Length(10)];
    Table::new(troubles.iter().map(row), widths).block(section("refused and failed"))
}

fn worker_table(shown: &Shown<'_>) -> Table<'static> {
    let row = |worker: Worker| {
        let (served, cpu) = shown.last.as_ref().map_or((0.0, None), |last| last.of_worker(&worker));
        let colour = match worker.state.as_str() {
            "ready" => Color::Green,
            "starting" | "retiring" | "stopping" => Color::Yellow,
            _ => Color::Red,
        };
        Row::new([
            Cell::from(format!(" {}", worker.id)),
            Cell::from(worker.state.clone()).style(Style::new().fg(colour)),
            Cell::from(worker.pid.map(|pid| pid.to_string()).unwrap_or_default()),
            Cell::from(format!("{}/{}", worker.in_flight, worker.slots)),
            Cell::from(rate(served)),
            Cell::from(count(worker.served)),
            Cell::from(cpu.map(percent).unwrap_or_default()),
            Cell::from(worker.resident.map(bytes).unwrap_or_default()),
            Cell::from(worker.restarts.to_string()),
            Cell::from(worker.last_exit.unwrap_or_default()),
        ])
    };
    let widths =
        [4, 9, 8, 9, 10, 12, 6, 10, 9].map(Constraint::Length).into_iter().chain([Constraint::Fill(1)]);
    let names =
        [" id", "state", "pid", "slots", "requests", "served", "cpu", "memory", "restarts", "last exit"];
    Table::new(shown.moment.workers().into_iter().skip(shown.scrolled).map(row), widths)
        .header(Row::new(names).dim())
        .block(section("workers"))
}

fn flight_table(shown: &Shown<'_>) -> Table<'static> {
    let row = |request: super::moment::Request| {
        let worker = request.worker.map(|id| id.to_string()).unwrap_or_default();
        let us = u64::try_from(request.age.as_micros()).unwrap_or(u64::MAX);
        Row::new([format!(" {}", latency(us)), request.stage, worker, request.id])
    };
    let widths = [Constraint::Length(10), Constraint::Length(10), Constraint::Length(7), Constraint::Fill(1)];
    let title = format!("{} in flight, the oldest first", count(shown.moment.number("/requests/count")));
    Table::new(shown.moment.oldest().into_iter().skip(shown.scrolled).map(row), widths)
        .header(Row::new([" age", "phase", "worker", "id"]).dim())
        .block(section(&title))
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::moment::tests::moment;
    use super::*;

    fn screen(width: u16, height: u16, shown: &Shown<'_>) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, shown)).unwrap();
        let buffer = terminal.backend().buffer().clone();
        let cells = buffer.content().chunks(usize::from(width));
        cells
            .map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>().trim_end().to_owned())
            .collect()
    }

    fn shown<'a>(from: &'a Moment, to: &'a Moment, history: &'a [u64]) -> Shown<'a> {
        let between = Between::new(from, to);
        Shown {
            name: "/run/a.sock",
            moment: to,
            last: between.clone(),
            window: between,
            history,
            silence: None,
            is_held: false,
            scrolled: 0,
        }
    }

    #[test]
    fn everything_is_on_a_screen_of_usual_size() {
        let (from, to) = (moment(1000, 100), moment(3000, 500));
        let rows = screen(120, 36, &shown(&from, &to, &[1, 200]));
        let has = |words: &[&str]| rows.iter().any(|row| words.iter().all(|word| row.contains(word)));
        for words in [
            &["warmfront 0.1.0", "ready", "up 3s", "/run/a.sock"][..],
            &["200/s requests", "0/s failed", "19.5 KiB/s in"],
            &["2 of 2 workers ready", "3 of 20 slots taken"],
            &["warm", "501", "400", "1 ms"],
            &["shed: queue timeout", "50", "20/s"],
            &["1", "ready", "41", "3/10", "200/s", "500", "20 %", "47 MiB", "2", "killed by?[2J signal 9"],
            &["2", "backoff"],
            &["4 in flight"],
            &["1.5 s", "sent", "1-a-b"],
            &["q quit"],
        ] {
            assert!(has(words), "{words:?} in\n{}", rows.join("\n"));
        }
    }

    #[test]
    fn silence_and_unreadiness_are_said_at_the_top() {
        let (from, to) = (moment(1000, 100), moment(3000, 500));
        let silent =
            Shown { silence: Some(("it is gone", Duration::from_secs(7))), ..shown(&from, &to, &[]) };
        assert!(screen(100, 30, &silent)[1].contains("no answer for 7s: it is gone"));
    }

    #[test]
    fn no_size_of_a_screen_makes_it_panic() {
        let (from, to) = (moment(1000, 100), moment(3000, 500));
        let history: Vec<u64> = (0..300).collect();
        for (width, height) in [(1, 1), (3, 50), (300, 2), (20, 8), (80, 24), (400, 100)] {
            screen(width, height, &shown(&from, &to, &history));
            let scrolled = Shown { scrolled: 1000, last: None, window: None, ..shown(&from, &to, &history) };
            screen(width, height, &scrolled);
        }
    }
}
