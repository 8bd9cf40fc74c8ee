//! The metrics page: the counters of all roles under the names that dashboards rely on.
//!
//! The roles count in atomics of their own and know nothing of Prometheus. Each scrape reads them.

mod results;

use doorbuster_edge::EdgeMetrics;
use doorbuster_engine::metrics::{EngineMetrics, HistogramSnapshot};
use doorbuster_persistence::postgres::PostgresStore;
use doorbuster_persistence::projector::ProjectorMetrics;
use doorbuster_protocol::ProductId;
use doorbuster_protocol::session::StockLevel;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use std::fmt::{self, Error};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The roles of this process, as far as they count.
#[derive(Clone, Default)]
pub(crate) struct Counted {
    /// The engine.
    pub(crate) engine: Option<Arc<EngineMetrics>>,
    /// The edge.
    pub(crate) edge: Option<Arc<EdgeMetrics>>,
    /// The projector.
    pub(crate) projector: Option<Arc<ProjectorMetrics>>,
    /// Stock levels, as pushed by the engine.
    pub(crate) stock: Option<Stock>,
    /// The store that the edge asks, when it is of Postgres.
    pub(crate) postgres: Option<Arc<PostgresStore>>,
}

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counted")
    }
}

/// Stock levels, written by the thread that watches them and read by scrapes. A lock, because a
/// list cannot be an atomic; both sides hold it for a copy of a few products.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stock(Arc<Mutex<Vec<StockLevel>>>);

impl Stock {
    /// Takes the levels of now.
    pub(crate) fn set(&self, levels: Vec<StockLevel>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = levels;
    }
    /// The level of one product, as far as it is known.
    pub(crate) fn of(&self, product: ProductId) -> Option<StockLevel> {
        let levels = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        levels.iter().find(|level| level.product == product).copied()
    }
    fn get(&self) -> Vec<StockLevel> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The text of the metrics page, as of now.
pub(crate) fn render(counted: &Counted) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(counted.clone()));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)
        .expect("writing to a string does not fail");
    text
}

/// Products on the page; past it a scrape would cost more than it tells.
const PRODUCTS_SHOWN_MAX: usize = 1_000;

impl Collector for Counted {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        if let Some(engine) = &self.engine {
            encode_engine(engine, &mut encoder)?;
        }
        if let Some(edge) = &self.edge {
            encode_edge(edge, &mut encoder)?;
        }
        if let Some(projector) = &self.projector {
            results::encode_projector(projector, &mut encoder)?;
        }
        if let Some(store) = &self.postgres {
            results::encode_reads(&store.read_health(), &mut encoder)?;
        }
        if let Some(stock) = &self.stock {
            let mut levels = stock.get();
            levels.sort_by_key(|level| level.product);
            let available = levels.iter().take(PRODUCTS_SHOWN_MAX).map(|level| {
                ([("product_id", level.product.to_string())], u64::from(level.available))
            });
            let help = "Units that can be ordered, by product";
            gauges(&mut encoder, "inventory_available", help, available)?;
        }
        Ok(())
    }
}

fn encode_engine(engine: &EngineMetrics, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let by_core = |of: fn(&doorbuster_engine::metrics::CoreMetrics) -> &AtomicU64| {
        let cores = engine.cores.iter().enumerate();
        cores.map(move |(core, metrics)| ([("core", core.to_string())], read(of(metrics))))
    };
    let commits = engine.cores.iter().map(|core| core.commit_duration_us.snapshot());
    let help = "From a batch's write to its durability";
    histogram(encoder, "log_commit_duration_seconds", help, &sum(commits), 1e6)?;
    let batches = engine.cores.iter().map(|core| core.batch_events.snapshot());
    histogram(encoder, "log_batch_events", "Events of one group commit", &sum(batches), 1.0)?;
    let bytes = engine.cores.iter().map(|core| read(&core.log_bytes)).sum();
    counter(encoder, "log_bytes", "Bytes written to logs", bytes)?;
    let events = engine.cores.iter().map(|core| read(&core.log_events)).sum();
    counter(encoder, "log_events", "Events written to logs", events)?;
    let help = "Answers that wait for the disk";
    gauges(encoder, "engine_queue_depth", help, by_core(|core| &core.queue_depth))?;
    let help = "Open connections";
    gauges(encoder, "engine_connections", help, by_core(|core| &core.connections))?;
    let help = "Requests taken";
    counters(encoder, "engine_requests", help, by_core(|core| &core.requests))?;
    let partitions = || engine.partitions.iter().enumerate();
    let waiting = partitions().map(|(partition, metrics)| {
        ([("partition", partition.to_string())], read(&metrics.unacknowledged_bytes))
    });
    let help = "Log bytes that wait for the store";
    gauges(encoder, "log_unacknowledged_bytes", help, waiting)?;
    let full = partitions().map(|(partition, metrics)| {
        ([("partition", partition.to_string())], read(&metrics.out_of_room))
    });
    gauges(encoder, "log_out_of_room", "1 while the disk has no room for the log", full)?;
    let help = "Memory that is held for orders to come";
    gauge(encoder, "engine_reserve_bytes", help, read(&engine.reserve_bytes) as f64)?;
    let help = "Memory that is to be held for orders to come, as far as the machine has it";
    let wanted = read(&engine.reserve_wanted_bytes);
    gauge(encoder, "engine_reserve_wanted_bytes", help, wanted as f64)
}

fn encode_edge(edge: &EdgeMetrics, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
    let seen = edge.snapshot();
    let orders = seen.orders.iter().map(|series| {
        let labels = [("status", series.status.to_owned()), ("type", series.kind.to_owned())];
        (labels, series.count)
    });
    let help = "What became of attempts to order, pay and cancel";
    counters(encoder, "orders", help, orders)?;
    let durations = SecondsHistogram {
        bounds: seen.order_duration.bounds_seconds.clone(),
        counts: seen.order_duration.buckets.clone(),
        sum: seen.order_duration.sum_seconds,
    };
    let help = "From the end of a request's headers to its answer";
    durations.encode(encoder, "order_duration_seconds", help)?;
    let requests = seen.requests.iter().map(|series| {
        let labels = [("route", series.route.to_owned()), ("code", series.code.to_string())];
        (labels, series.count)
    });
    counters(encoder, "http_requests", "HTTP requests answered", requests)?;
    let in_flight = seen
        .in_flight
        .iter()
        .enumerate()
        .map(|(core, count)| ([("core", core.to_string())], *count));
    gauges(encoder, "edge_inflight", "Requests that a core has not answered", in_flight)?;
    let rejected =
        seen.rejected.iter().map(|(reason, count)| ([("reason", (*reason).to_owned())], *count));
    let help = "Requests that the edge turned away by itself";
    counters(encoder, "edge_rejected", help, rejected)?;
    let help = "Requests that wait for a turn";
    gauge(encoder, "edge_waiting", help, seen.waiting as f64)?;
    let help = "New orders that may be in progress";
    gauge(encoder, "edge_orders_max", help, seen.orders_max as f64)?;
    gauge(encoder, "edge_connections", "Open HTTP connections", seen.connections as f64)
}

/// A histogram whose observations are seconds.
struct SecondsHistogram {
    bounds: Vec<f64>,
    counts: Vec<u64>,
    sum: f64,
}

impl SecondsHistogram {
    fn encode(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
    ) -> Result<(), Error> {
        self.write(&mut encoder.encode_descriptor(name, help, None, MetricType::Histogram)?)
    }

    fn write(&self, encoder: &mut MetricEncoder<'_>) -> Result<(), Error> {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let buckets: Vec<_> = bounds.zip(self.counts.iter().copied()).collect();
        let count = self.counts.iter().sum();
        encoder.encode_histogram::<NoLabelSet>(self.sum, count, &buckets, None)
    }
}

/// The cores' histograms as one; they share their bounds.
fn sum(histograms: impl Iterator<Item = HistogramSnapshot>) -> HistogramSnapshot {
    histograms
        .reduce(|mut all, one| {
            assert_eq!(all.bounds, one.bounds, "cores share their bounds");
            all.counts.iter_mut().zip(&one.counts).for_each(|(all, one)| *all += one);
            all.sum += one.sum;
            all
        })
        .expect("an engine has a core")
}

fn histogram(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    seen: &HistogramSnapshot,
    unit: f64,
) -> Result<(), Error> {
    let scaled = SecondsHistogram {
        bounds: seen.bounds.iter().map(|bound| *bound as f64 / unit).collect(),
        counts: seen.counts.clone(),
        sum: seen.sum as f64 / unit,
    };
    scaled.encode(encoder, name, help)
}

/// The text format appends `_total` to the name of a counter.
fn counter(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: u64,
) -> Result<(), Error> {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    metric.encode_counter::<NoLabelSet, u64, u64>(&value, None)
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: f64,
) -> Result<(), Error> {
    encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
}

fn counters<Labels: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    series: impl Iterator<Item = (Labels, u64)>,
) -> Result<(), Error> {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in series {
        let mut metric = family.encode_family(&labels)?;
        metric.encode_counter::<NoLabelSet, u64, u64>(&value, None)?;
    }
    Ok(())
}

fn gauges<Labels: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    series: impl Iterator<Item = (Labels, u64)>,
) -> Result<(), Error> {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in series {
        family.encode_family(&labels)?.encode_gauge(&(value as f64))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of the contract, as they appear in the text, and those of the docs.
    const ENGINE_NAMES: [&str; 6] = [
        "log_commit_duration_seconds_bucket{le=\"+Inf\"} 1",
        "log_batch_events_sum 3",
        "log_bytes_total 4096",
        "engine_queue_depth{core=\"1\"} 7",
        "engine_reserve_bytes 33554432",
        "engine_reserve_wanted_bytes 67108864",
    ];

    #[test]
    fn the_engine_counts_under_the_names_of_the_contract() {
        let engine = EngineMetrics::new(2, 1);
        engine.cores[1].queue_depth.store(7, Ordering::Relaxed);
        engine.cores[0].log_bytes.store(4096, Ordering::Relaxed);
        engine.reserve_bytes.store(32 << 20, Ordering::Relaxed);
        engine.reserve_wanted_bytes.store(64 << 20, Ordering::Relaxed);
        engine.cores[0].commit_duration_us.observe(140);
        engine.cores[1].batch_events.observe(3);
        let counted = Counted { engine: Some(Arc::new(engine)), ..Counted::default() };
        let text = render(&counted);
        for name in ENGINE_NAMES {
            assert!(text.contains(name), "{name} is missing:\n{text}");
        }
    }

    #[test]
    fn the_projector_and_the_stock_count_under_the_names_of_the_contract() {
        let stock = Stock::default();
        let product = ProductId::parse("lamp").expect("a name");
        stock.set(vec![StockLevel {
            product,
            stock: 10,
            available: 4,
            held: 5,
            sold: 1,
            waitlist_free: 0,
            accepting: true,
        }]);
        let counted = Counted {
            projector: Some(Arc::new(ProjectorMetrics::new())),
            stock: Some(stock),
            ..Counted::default()
        };
        let text = render(&counted);
        for name in [
            "projector_lag_seconds 0",
            &format!("inventory_available{{product_id=\"{product}\"}} 4"),
        ] {
            assert!(text.contains(name), "{name} is missing:\n{text}");
        }
    }
}
