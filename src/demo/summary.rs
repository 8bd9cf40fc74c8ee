//! What a sale came to, for eyes and for programs.

use super::sale::Sold;
use doorbuster_loadgen::units::number as grouped;
use doorbuster_loadgen::{Latencies, Report};
use serde_json::{Value, json};
use std::fmt::Write;

/// For eyes.
pub(crate) fn text(sold: &Sold) -> String {
    let totals = &sold.audit.totals;
    let first = &sold.loads[0];
    let orders = first.orders();
    let mut text = format!(
        "\n{} sold of {} · {} oversold · {} buyers\n\n",
        grouped(totals.sold),
        grouped(u64::from(sold.stock)),
        grouped(totals.oversold),
        grouped(sold.buyers),
    );
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<12} {value}");
    };
    line("answered", format!("{} orders in {:.2} s", grouped(first.sent), first.elapsed_seconds));
    line("rate", format!("{} orders/s", grouped(first.rate.round() as u64)));
    if first.selling_seconds > 0.0 {
        let rate = first.winners as f64 / first.selling_seconds;
        let rate = grouped(rate.round() as u64);
        line("selling", format!("{rate} durable holds/s while stock lasted"));
    }
    line("latency", percentiles(&orders));
    line("refused", refusals(sold));
    if sold.waitlist > 0 {
        let given_back = totals.orders - totals.paid_orders - totals.waiting;
        line(
            "waitlist",
            format!(
                "{} queued up; {} orders were given back or ran out, {} units went to the next in \
                 line",
                grouped(sum(sold, |load| load.queued)),
                grouped(given_back),
                grouped(totals.served_from_waitlist),
            ),
        );
    }
    let errors = sum(sold, |load| load.errors) + sum(sold, |load| load.violations);
    line("errors", grouped(errors));
    let store_orders = totals.store_orders.unwrap_or(0);
    line("store", format!("{} of {} orders", grouped(store_orders), grouped(totals.orders)));
    text.push_str("\nAudit, from the log:\n");
    text.push_str(&sold.audit.checks());
    for load in &sold.loads {
        for sample in &load.violation_samples {
            let _ = writeln!(text, "  ✗ {sample}");
        }
        for (code, times) in &load.failures {
            let _ = writeln!(text, "  ✗ {times} × {code}");
        }
    }
    for divergence in sold.audit.findings.divergences().iter().take(20) {
        text.push_str(&divergence.lines());
    }
    if let Some(kept) = &sold.kept {
        let _ = writeln!(text, "\nThe data directory was kept: {}/data", kept.display());
    }
    let (sign, verdict) = match sold.is_as_promised() {
        true => ('✓', "as promised: nothing lost, nothing sold twice"),
        false => ('✗', "NOT as promised"),
    };
    let _ = writeln!(
        text,
        "\n{sign} {} sold / {} to sell / {} oversold: {verdict}",
        grouped(totals.sold),
        grouped(sold.must_sell()),
        grouped(totals.oversold)
    );
    text
}

/// For programs.
pub(crate) fn json(sold: &Sold) -> Value {
    let totals = &sold.audit.totals;
    let orders = sold.loads[0].orders();
    json!({
        "asPromised": sold.is_as_promised(),
        "stock": sold.stock,
        "buyers": sold.buyers,
        "demand": sold.demand(),
        "mustSell": sold.must_sell(),
        "sold": totals.sold,
        "oversold": totals.oversold,
        "refused": sum(sold, |load| load.sold_out + load.limit + load.refused),
        "queued": sum(sold, |load| load.queued),
        "servedFromWaitlist": totals.served_from_waitlist,
        "errors": sum(sold, |load| load.errors),
        "violations": sum(sold, |load| load.violations),
        "ordersPerSecond": sold.loads[0].rate,
        "latency": orders,
        "loads": sold.loads,
        "audit": sold.audit.json(),
        "kept": sold.kept,
    })
}

fn sum(sold: &Sold, of: impl Fn(&Report) -> u64) -> u64 {
    sold.loads.iter().map(of).sum()
}

fn percentiles(orders: &Latencies) -> String {
    let millis = |micros: u64| format!("{:.2} ms", micros as f64 / 1e3);
    format!(
        "p50 {}  p95 {}  p99 {}  p99.9 {}",
        millis(orders.p50_us),
        millis(orders.p95_us),
        millis(orders.p99_us),
        millis(orders.p999_us)
    )
}

fn refusals(sold: &Sold) -> String {
    let mut text = format!("{} sold out", grouped(sum(sold, |load| load.sold_out)));
    for (count, name) in [
        (sum(sold, |load| load.limit), "over the limit"),
        (sum(sold, |load| load.refused), "for other reasons"),
    ] {
        if count > 0 {
            let _ = write!(text, ", {} {name}", grouped(count));
        }
    }
    text
}
