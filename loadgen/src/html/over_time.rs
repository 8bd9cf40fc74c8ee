//! The charts of what happened when: throughput by outcome, and latency.

use super::axis::Axis;
use super::chart::{BOTTOM, Chart, LEFT, Named, RIGHT, TOP};
use doorbuster_loadgen::{Latencies, Report, TimeSlice, units};

/// Outcomes in the order in which they are stacked, what is sold first.
type Outcome = (&'static str, &'static str, fn(&TimeSlice) -> u64);
const OUTCOMES: [Outcome; 7] = [
    ("accepted", "accepted", |slice| slice.accepted),
    ("queued", "queued", |slice| slice.queued),
    ("replayed", "replayed", |slice| slice.replayed),
    ("sold-out", "sold out", |slice| slice.sold_out),
    ("limit", "over limit", |slice| slice.limit),
    ("refused", "refused", |slice| slice.refused),
    ("errors", "errors", |slice| slice.errors),
];

/// Percentiles in the order in which they are drawn.
type Percentile = (&'static str, fn(&Latencies) -> u64);
const LINES: [Percentile; 3] =
    [("p99", |it| it.p99_us), ("p95", |it| it.p95_us), ("p50", |it| it.p50_us)];

/// The slices of a run on the axis of time.
struct Times<'a> {
    slices: &'a [TimeSlice],
    axis: Axis,
    names: Vec<(f64, String)>,
    /// When the last answer came, in seconds from the start.
    end: f64,
}

impl<'a> Times<'a> {
    fn of(report: &'a Report) -> Option<Self> {
        let slices = report.slices.as_slice();
        let last = slices.last()?;
        let warm_up = report.warm_up.as_ref().map_or(0.0, |warm_up| warm_up.seconds);
        let end = (warm_up + report.elapsed_seconds).clamp(last.at_seconds, last_end(last));
        let axis = Axis::linear(end.max(last.at_seconds + 0.1), [LEFT, RIGHT]);
        let names = axis.ticks(10).into_iter().map(|tick| (tick, clock(tick))).collect();
        Some(Self { slices, axis, names, end })
    }

    /// From when to when a slice was; the last one was cut short by the end of the run.
    fn bounds(&self, slice: &TimeSlice) -> [f64; 2] {
        // A moment's worth of a rate says nothing.
        let shortest = slice.at_seconds + slice.seconds / 10.0;
        [slice.at_seconds, last_end(slice).min(self.end).max(shortest)]
    }

    fn places(&self, slice: &TimeSlice) -> [f64; 2] {
        self.bounds(slice).map(|at| self.axis.place(at))
    }

    fn per_second(&self, slice: &TimeSlice, count: u64) -> f64 {
        let [begins, ends] = self.bounds(slice);
        count as f64 / (ends - begins)
    }
}

fn last_end(slice: &TimeSlice) -> f64 {
    slice.at_seconds + slice.seconds
}

/// Seconds as people count them.
fn clock(seconds: f64) -> String {
    match seconds {
        0.0..120.0 => format!("{} s", (seconds * 1e3).round() / 1e3),
        _ => format!("{}:{:02}", seconds as u64 / 60, seconds as u64 % 60),
    }
}

/// Answers per second, stacked by outcome.
pub(super) fn throughput(report: &Report) -> Option<String> {
    let times = Times::of(report)?;
    let rate = |slice: &TimeSlice| {
        let intended = slice.intended.unwrap_or(0);
        times.per_second(slice, slice.answers().max(intended).max(slice.sent))
    };
    let most = times.slices.iter().map(rate).fold(0.0, f64::max);
    let y = Axis::linear(most * 1.08, [BOTTOM, TOP]);
    let mut chart = Chart::new(
        (&times.axis, &times.names, "since the start"),
        (&y, &|rate| units::rate(rate), "per second"),
    );
    shade_warm_up(&mut chart, report, &times);
    let mut below = vec![0.0; times.slices.len()];
    for (class, name, count) in OUTCOMES {
        if times.slices.iter().all(|slice| count(slice) == 0) {
            continue;
        }
        let step = |(slice, below): (&TimeSlice, &mut f64)| {
            let low = *below;
            *below += times.per_second(slice, count(slice));
            (times.places(slice), y.place(low), y.place(*below))
        };
        let steps: Vec<_> = times.slices.iter().zip(&mut below).map(step).collect();
        chart.area(class, name, &steps);
    }
    if report.is_open_loop() {
        let ends = |slice: &TimeSlice| {
            let intended = slice.intended.filter(|intended| *intended > 0);
            let rate = intended.map(|count| y.place(times.per_second(slice, count)));
            times.places(slice).map(|x| rate.map(|y| (x, y)))
        };
        let line: Vec<_> = times.slices.iter().flat_map(ends).collect();
        chart.line("intended", "intended", &line);
    }
    for slice in times.slices {
        let mut text = format!("{}: sent {}/s", span(slice), per_second(&times, slice, slice.sent));
        for (_, name, count) in OUTCOMES.iter().filter(|(.., count)| count(slice) > 0) {
            text += &format!("\n{name} {}/s", per_second(&times, slice, count(slice)));
        }
        chart.tip(times.places(slice), &text);
    }
    let named = Named {
        id: "throughput",
        title: "Throughput",
        description: "Answers per second by outcome, when they came; the line is what was intended.",
    };
    let description = "Answers per second by outcome, when they came.";
    let named = if report.is_open_loop() { named } else { Named { description, ..named } };
    Some(chart.finish(&named, &super::tables::slices(report)))
}

fn per_second(times: &Times<'_>, slice: &TimeSlice, count: u64) -> String {
    units::rate(times.per_second(slice, count).round())
}

fn span(slice: &TimeSlice) -> String {
    format!("{} to {}", clock(slice.at_seconds), clock(last_end(slice)))
}

fn shade_warm_up(chart: &mut Chart, report: &Report, times: &Times<'_>) {
    if let Some(warm_up) = &report.warm_up {
        chart.shade([0.0, warm_up.seconds].map(|at| times.axis.place(at)), "warm-up");
    }
}

/// Percentiles of latency.
pub(super) fn latency(report: &Report) -> Option<String> {
    let times = Times::of(report)?;
    let measured = |slice: &&TimeSlice| slice.latency.count > 0;
    let low = times.slices.iter().filter(measured).map(|slice| slice.latency.p50_us).min()?;
    let high = times.slices.iter().map(|slice| slice.latency.p99_us).max()?;
    let y = Axis::fitting(low as f64, high as f64, [BOTTOM, TOP]);
    let mut chart = Chart::new(
        (&times.axis, &times.names, "since the start"),
        (&y, &super::round_time, "latency"),
    );
    shade_warm_up(&mut chart, report, &times);
    for (name, of) in LINES {
        let point = |slice: &TimeSlice| {
            let [begins, ends] = times.places(slice);
            measured(&slice)
                .then(|| (f64::midpoint(begins, ends), y.place(of(&slice.latency) as f64)))
        };
        chart.line(name, name, &times.slices.iter().map(point).collect::<Vec<_>>());
    }
    for slice in times.slices.iter().filter(measured) {
        let [p50, p95, p99, max] = [
            slice.latency.p50_us,
            slice.latency.p95_us,
            slice.latency.p99_us,
            slice.latency.max_us,
        ]
        .map(units::time);
        let text = format!("{}\np50 {p50}\np95 {p95}\np99 {p99}\nmax {max}", span(slice));
        chart.tip(times.places(slice), &text);
    }
    let named = Named {
        id: "latency",
        title: "Latency over time",
        description: "Of orders that were answered properly, from the intended send time, when \
                      their answers came.",
    };
    Some(chart.finish(&named, ""))
}
