//! The chart of all percentiles, on an axis where every nine takes as much room as the one before.

use super::axis::Axis;
use super::chart::{BOTTOM, Chart, LEFT, Named, RIGHT, TOP};
use doorbuster_loadgen::report::{ORDERS, Percentile};
use doorbuster_loadgen::{Report, units};

/// Curves in the order in which they are drawn: name in the report, class, legend.
const CURVES: [(&str, &str, &str); 3] = [
    ("serviceTime", "service", "all orders, from the actual send"),
    (ORDERS, "orders", "all orders, from the intended send time"),
    ("accepted", "accepted", "accepted, from the intended send time"),
];
/// Shares that are named, as far as the curves go.
const NAMED: [f64; 8] = [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999_999];

/// How many times rarer than all others what lies above this share is: 0.99 is 100.
fn rarity(share: f64, rarest: f64) -> f64 {
    (1.0 / (1.0 - share).max(1e-12)).min(rarest)
}

pub(super) fn chart(report: &Report) -> Option<String> {
    let curves: Vec<(&str, &str, &[Percentile])> = CURVES
        .into_iter()
        // In a closed loop the send is when it was intended.
        .filter(|(name, ..)| report.is_open_loop() || *name != "serviceTime")
        .filter_map(|(name, class, legend)| Some((class, legend, report.percentiles.get(name)?)))
        .map(|(class, legend, points)| (class, legend, points.as_slice()))
        .collect();
    let all = || curves.iter().flat_map(|(.., points)| points.iter());
    let low = all().map(|point| point.us).min()?;
    let high = all().map(|point| point.us).max()?;
    // The largest of n values is as rare as one in n.
    let rarest = (report.orders().count.max(10)) as f64;
    let x = Axis::logarithmic(1.0, rarest, [LEFT, RIGHT]);
    let y = Axis::fitting(low as f64, high as f64, [BOTTOM, TOP]);
    let names: Vec<(f64, String)> = NAMED
        .into_iter()
        .map(|share| (share, rarity(share, f64::INFINITY)))
        .filter(|(_, rare)| *rare <= rarest * 1.001)
        .map(|(share, rare)| (rare, units::share(share)))
        .collect();
    let mut chart =
        Chart::new((&x, &names, "of all requests"), (&y, &super::round_time, "latency is at most"));
    let place =
        |point: &Percentile| (x.place(rarity(point.share, rarest)), y.place(point.us as f64));
    for (class, legend, points) in &curves {
        let line: Vec<_> = points.iter().map(|point| Some(place(point))).collect();
        chart.line(class, legend, &line);
    }
    if let Some(points) = report.percentiles.get(ORDERS) {
        for pair in points.windows(2) {
            let text = format!("{} of all orders: at most {}", share(&pair[1]), time(&pair[1]));
            chart.tip([place(&pair[0]).0, place(&pair[1]).0], &text);
        }
    }
    let named = Named {
        id: "percentiles",
        title: "Percentiles",
        description: "Which share of requests took at most how long. Each nine of the share takes \
                      as much room as the one before.",
    };
    Some(chart.finish(&named, ""))
}

fn share(point: &Percentile) -> String {
    let nines = (-(1.0 - point.share).max(1e-9).log10()).ceil().max(1.0) as usize;
    format!("{:.*} %", nines.saturating_sub(1).max(1), point.share * 100.0)
}

fn time(point: &Percentile) -> String {
    units::time(point.us)
}
