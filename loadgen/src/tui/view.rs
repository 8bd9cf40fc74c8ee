//! How the screen looks: figures above, charts below, and one line that says what can be done.

use super::figures::{Figures, SHOWN_MAX, Second};
use doorbuster_loadgen::units;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Block, Chart, Dataset, Gauge, GraphType, Paragraph};
use std::time::{Duration, Instant};

/// The colours, or none of them.
#[derive(Clone, Copy)]
pub(super) struct Palette {
    has_colours: bool,
}

impl Palette {
    /// As `NO_COLOR` wants it.
    pub(super) fn from_environment() -> Self {
        let is_set = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { has_colours: !is_set }
    }

    fn of(self, colour: Color) -> Style {
        if self.has_colours { Style::new().fg(colour) } else { Style::new() }
    }

    fn soft(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }
}

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, figures: &Figures, palette: Palette, now: Instant) {
    let [head, bar, boxes, throughput, latency, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(9),
        Constraint::Fill(1),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let about = &figures.about;
    let title = Line::from(vec![
        Span::styled("doorbuster-loadgen ", Style::new().add_modifier(Modifier::BOLD)),
        Span::raw(format!("{} · {}", about.target, about.pace)),
    ]);
    frame.render_widget(title, head);
    draw_bar(frame, bar, figures, palette, now);
    let [rates, times, answers] = Layout::horizontal([Constraint::Fill(1); 3]).areas(boxes);
    draw_rates(frame, rates, figures, palette);
    draw_times(frame, times, figures, palette);
    draw_answers(frame, answers, figures, palette);
    draw_throughput(frame, throughput, figures, palette);
    draw_latency(frame, latency, figures, palette);
    let foot_line = match figures.warning() {
        _ if figures.progress.is_stopped() => Line::styled(
            "stopping: what is in flight is still answered (q ends at once)",
            palette.soft(),
        ),
        Some(warning) => Line::styled(format!("! {warning}"), palette.of(Color::Yellow)),
        None => Line::styled("q or Ctrl-C stops in good order, with the report", palette.soft()),
    };
    frame.render_widget(foot_line, foot);
}

fn draw_bar(frame: &mut Frame<'_>, area: Rect, figures: &Figures, palette: Palette, now: Instant) {
    let elapsed = figures.elapsed(now);
    let warm = if elapsed < figures.about.warm_up { "  warm-up" } else { "" };
    let label = match figures.about.lasts {
        _ if figures.began.is_none() => "connecting".to_owned(),
        Some(lasts) => format!("{} of {}{warm}", clock(elapsed), clock(lasts)),
        None => format!("{}{warm}", clock(elapsed)),
    };
    match figures.share(now) {
        Some(share) => {
            let gauge = Gauge::default().ratio(share).label(label);
            frame.render_widget(gauge.gauge_style(palette.of(Color::Green)), area);
        }
        None => frame.render_widget(Line::raw(label), area),
    }
}

fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..3_600 => format!("{}:{:02}", seconds / 60, seconds % 60),
        _ => format!("{}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60),
    }
}

/// Rows of a name and a value, the value to the right.
fn rows(frame: &mut Frame<'_>, area: Rect, title: &str, rows: Vec<(&str, String, Style)>) {
    let block = Block::bordered().title(title.to_owned());
    let width = usize::from(block.inner(area).width);
    let lines: Vec<Line<'_>> = rows
        .into_iter()
        .map(|(name, value, style)| {
            let gap = width.saturating_sub(name.chars().count() + value.chars().count());
            let space = " ".repeat(gap);
            Line::from(vec![Span::raw(name), Span::raw(space), Span::styled(value, style)])
        })
        .collect();
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn draw_rates(frame: &mut Frame<'_>, area: Rect, figures: &Figures, palette: Palette) {
    let (last, progress, about) = (figures.last(), &figures.progress, &figures.about);
    let plain = Style::new();
    let bold = plain.add_modifier(Modifier::BOLD);
    let mut list = vec![("answers", format!("{}/s", units::rate(last.rate.round())), bold)];
    if about.is_open_loop {
        let intended = format!("{}/s", units::rate(last.intended.round()));
        let is_behind = last.rate < 0.95 * last.intended;
        let style = if is_behind { palette.of(Color::Yellow) } else { plain };
        list.push(("intended", intended, style));
    }
    let connections = format!(
        "{} of {}",
        units::number(progress.connections()),
        units::number(about.connections)
    );
    list.push(("connections", connections, plain));
    if progress.idle_made() > 0 {
        let [made, cut] = [progress.idle_made(), progress.idle_cut()];
        let style = if cut > 0 { palette.of(Color::Yellow) } else { plain };
        list.push((
            "idle",
            format!("{} of {}", units::number(made - cut), units::number(made)),
            style,
        ));
    }
    let busy = format!("{:.0} %", 100.0 * last.busy);
    let is_limit = figures.warning().is_some();
    let style = if is_limit { palette.of(Color::Yellow) } else { plain };
    list.push(("generator busy", busy, style));
    list.push(("generator late", units::time(last.lateness_us), style));
    rows(frame, area, " rate ", list);
}

fn draw_times(frame: &mut Frame<'_>, area: Rect, figures: &Figures, palette: Palette) {
    let l = figures.last().latency;
    let plain = Style::new();
    let list = vec![
        ("p50", units::time(l.p50_us), palette.of(Color::Green)),
        ("p90", units::time(l.p90_us), plain),
        ("p95", units::time(l.p95_us), plain),
        ("p99", units::time(l.p99_us), palette.of(Color::Magenta)),
        ("p99.9", units::time(l.p999_us), plain),
        ("max", units::time(l.max_us), plain),
    ];
    rows(frame, area, " latency, last second ", list);
}

fn draw_answers(frame: &mut Frame<'_>, area: Rect, figures: &Figures, palette: Palette) {
    let progress = &figures.progress;
    let all = [
        ("accepted", progress.accepted(), Color::Green),
        ("queued", progress.queued(), Color::Blue),
        ("replayed", progress.replayed(), Color::Magenta),
        ("sold out", progress.sold_out(), Color::Reset),
        ("over limit", progress.limit(), Color::Reset),
        ("refused", progress.refused(), Color::Yellow),
        ("errors", progress.failed(), Color::Red),
        ("violations", progress.violations(), Color::Red),
    ];
    // What there is none of stands last, and falls off first where there is no room.
    let (some, none): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, count, _)| *count > 0);
    let list = some.into_iter().chain(none).map(|(name, count, colour)| {
        let style = if count > 0 { palette.of(colour) } else { palette.soft() };
        (name, units::number(count), style)
    });
    rows(frame, area, " answers ", list.collect());
}

/// Seconds before now, and a value of each.
type Points = Vec<(f64, f64)>;

/// One value of every second, on the axis of seconds that ends now.
fn points(figures: &Figures, of: impl Fn(&Second) -> Option<f64>) -> Points {
    let count = figures.seconds.len();
    let at =
        |(index, second): (usize, &Second)| Some((index as f64 + 1.0 - count as f64, of(second)?));
    figures.seconds.iter().enumerate().filter_map(at).collect()
}

struct Plot<'a> {
    title: &'a str,
    lines: Vec<(&'a str, Points, Style)>,
    show: fn(f64) -> String,
}

fn plot(frame: &mut Frame<'_>, area: Rect, plot: &Plot<'_>) {
    // All seconds that there are and room for: two of them in a letter.
    let longest = plot.lines.iter().map(|(_, points, _)| points.len()).max().unwrap_or(0);
    let room = f64::from(area.width) * 2.0 - 24.0;
    let seconds = (longest as f64).min(room).clamp(30.0, SHOWN_MAX as f64);
    let shown = |(at, _): &&(f64, f64)| *at >= -seconds;
    let all = plot.lines.iter().flat_map(|(_, points, _)| points.iter().filter(shown));
    let most = all.map(|(_, value)| *value).fold(0.0, f64::max).max(1e-9) * 1.1;
    let data = plot.lines.iter().map(|(name, points, style)| {
        Dataset::default()
            .name(*name)
            .marker(Marker::Braille)
            .graph_type(GraphType::Line)
            .style(*style)
            .data(points)
    });
    let x =
        Axis::default().bounds([-seconds, 0.0]).labels([format!("−{seconds:.0} s"), "now".into()]);
    let y = Axis::default().bounds([0.0, most]).labels(["0".to_owned(), (plot.show)(most)]);
    let chart = Chart::new(data.collect()).x_axis(x).y_axis(y);
    frame.render_widget(chart.block(Block::bordered().title(plot.title.to_owned())), area);
}

fn draw_throughput(frame: &mut Frame<'_>, area: Rect, figures: &Figures, palette: Palette) {
    let mut lines = Vec::new();
    if figures.about.is_open_loop {
        lines.push(("intended", points(figures, |it| Some(it.intended)), palette.soft()));
    }
    lines.push(("answers", points(figures, |it| Some(it.rate)), palette.of(Color::Green)));
    let show = |rate: f64| format!("{}/s", units::rate(rate));
    plot(frame, area, &Plot { title: " throughput ", lines, show });
}

fn draw_latency(frame: &mut Frame<'_>, area: Rect, figures: &Figures, palette: Palette) {
    let of = |value: fn(&Second) -> u64| {
        points(figures, move |it| (it.latency.count > 0).then(|| value(it) as f64))
    };
    let lines = vec![
        ("p50", of(|it| it.latency.p50_us), palette.of(Color::Green)),
        ("p99", of(|it| it.latency.p99_us), palette.of(Color::Magenta)),
    ];
    let show = |us: f64| units::time(us.round() as u64);
    plot(frame, area, &Plot { title: " latency ", lines, show });
}

#[cfg(test)]
mod tests {
    use super::super::figures::About;
    use super::*;
    use doorbuster_loadgen::{Plan, Progress, Target};
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use std::sync::Arc;

    fn screen(width: u16, height: u16) -> String {
        let mut plan = Plan::new(Target::http("127.0.0.1:8080".parse().expect("an address")));
        plan.pace = doorbuster_loadgen::Pace::Open { rate: 10_000.0 };
        let mut figures = Figures::new(About::of(&plan), Arc::new(Progress::default()));
        let now = Instant::now();
        figures.began = Some(now);
        for rate in 0..30u32 {
            let second =
                Second { rate: f64::from(rate) * 300.0, intended: 9e3, ..Second::default() };
            figures.seconds.push_back(second);
        }
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
        let palette = Palette { has_colours: true };
        terminal.draw(|frame| draw(frame, &figures, palette, now)).expect("drawn");
        terminal.backend().to_string()
    }

    #[test]
    fn the_screen_says_what_is_wanted() {
        let text = screen(100, 40);
        for wanted in [
            "http://127.0.0.1:8080",
            "8 700/s",
            "9 000/s",
            "p99.9",
            "accepted",
            "throughput",
            "q or",
        ] {
            assert!(text.contains(wanted), "{wanted} is not in\n{text}");
        }
    }

    #[test]
    fn a_small_terminal_is_no_reason_to_fail() {
        for (width, height) in [(1, 1), (3, 60), (20, 5), (60, 12), (300, 2)] {
            screen(width, height);
        }
    }
}
