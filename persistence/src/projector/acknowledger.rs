//! What the engine may forget: for each partition the least of all shards' checkpoints.
//!
//! It owns that minimum. Pipelines report what their shard has committed; until every shard has told
//! where it stands, nothing is acknowledged, so that the engine keeps the log for one that never
//! came up. Its connections are its own, and say everything anew when they are made anew: a pipeline
//! that waits for its shard reads no connection, and the others' progress must get through.

use crate::projector::ProjectorConfig;
use crate::projector::backoff::Backoff;
use crate::projector::connect::{Unconnected, connect};
use doorbuster_client::{ClientError, FeedClient};
use doorbuster_protocol::{PartitionId, Sequence};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// The first and the longest pause between connections.
const RECONNECT_PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(2));

/// What a shard has committed.
#[derive(Debug)]
pub(super) struct Report {
    /// Which shard.
    pub(super) shard: usize,
    /// Its checkpoints that moved, or all of them when its pipeline begins: then they may also have
    /// gone back.
    pub(super) reached: Vec<(PartitionId, Sequence)>,
}

/// The events of each partition that all shards have.
type Least = BTreeMap<PartitionId, Sequence>;

/// Takes reports and acknowledges until nobody reports any more.
pub(super) async fn acknowledge(
    config: Arc<ProjectorConfig>,
    shards: usize,
    mut reports: mpsc::UnboundedReceiver<Report>,
) {
    let least = watch::Sender::new(Least::new());
    let mut table = Table::new(shards);
    let mut telling = std::pin::pin!(tell(&config, least.subscribe()));
    loop {
        tokio::select! {
            // Telling waits for most of the time; reports that follow each other without end would
            // keep it from beginning.
            biased;
            () = &mut telling => unreachable!("it tells for as long as it is asked"),
            report = reports.recv() => {
                let Some(report) = report else { return };
                table.take(report);
                while let Ok(report) = reports.try_recv() {
                    table.take(report);
                }
                least.send_if_modified(|known| table.raise(known));
            }
        }
    }
}

/// Connects to all cores and tells each of them; again and again.
async fn tell(config: &ProjectorConfig, mut least: watch::Receiver<Least>) {
    let (first, longest) = RECONNECT_PAUSES;
    let mut backoff = Backoff::new(first, longest);
    // Whoever stops the acknowledger drops it.
    let (_never, mut stop) = watch::channel(false);
    loop {
        match connect(config).await {
            Ok(clients) => {
                backoff.reset();
                let error = tell_cores(clients, config.consumer, &mut least).await;
                tracing::debug!(%error, "acknowledgements wait for the engine");
            }
            // Pipelines meet the same errors, and judge them.
            Err(Unconnected::Lost(error)) => {
                tracing::debug!(%error, "acknowledgements wait for the engine");
            }
            Err(Unconnected::NoAddress | Unconnected::Mixed) => {}
        }
        if backoff.wait(&mut stop).await.is_err() {
            return;
        }
    }
}

/// Tells each core on a task of its own, until one connection ends.
async fn tell_cores(
    clients: Vec<FeedClient>,
    consumer: u8,
    least: &mut watch::Receiver<Least>,
) -> ClientError {
    let mut cores = JoinSet::new();
    // A channel for each: those who wait for one channel are woken in no order.
    let mut channels = Vec::new();
    let now = least.borrow_and_update().clone();
    for client in clients {
        let (channel, told) = watch::channel(now.clone());
        cores.spawn(tell_core(client, consumer, told));
        channels.push(channel);
    }
    loop {
        tokio::select! {
            biased;
            ended = cores.join_next() => return match ended {
                Some(Ok(error)) => error,
                Some(Err(panic)) => std::panic::resume_unwind(panic.into_panic()),
                None => ClientError::Unavailable,
            },
            changed = least.changed() => match changed {
                Ok(()) => {
                    let now = least.borrow_and_update().clone();
                    for channel in &channels {
                        channel.send_replace(now.clone());
                    }
                }
                // The acknowledger ends, and this with it.
                Err(_) => return ClientError::Lost,
            },
        }
    }
}

/// Tells one core of its partitions until the connection ends.
async fn tell_core(
    mut client: FeedClient,
    consumer: u8,
    mut least: watch::Receiver<Least>,
) -> ClientError {
    let (core, epoch) = (client.map().self_core, client.map().epoch);
    let mut told = Least::new();
    loop {
        let now = least.borrow_and_update().clone();
        for (partition, through) in now {
            let is_its = client.map().owner_of(partition) == Some(core);
            let is_news = told.get(&partition).is_none_or(|told| *told < through);
            if is_its && is_news && through > Sequence::ZERO {
                client.acknowledge(partition, consumer, epoch, through);
                told.insert(partition, through);
            }
        }
        if let Err(error) = client.flush().await {
            return error;
        }
        loop {
            tokio::select! {
                // Nothing but the connection's end comes from the core.
                biased;
                changed = least.changed() => match changed {
                    Ok(()) => break,
                    // The acknowledger ends, and this with it.
                    Err(_) => return ClientError::Lost,
                },
                item = client.next() => if let Err(error) = item {
                    return error;
                },
            }
        }
    }
}

/// Where every shard stands.
struct Table {
    /// By shard; empty until it has told.
    reached: Vec<Least>,
}

impl Table {
    fn new(shards: usize) -> Self {
        Self { reached: vec![Least::new(); shards] }
    }

    fn take(&mut self, report: Report) {
        self.reached[report.shard].extend(report.reached);
    }

    /// Raises `known` to the least of all shards; says whether that changed anything. What was
    /// acknowledged once stays so, also when a shard is set back.
    fn raise(&self, known: &mut Least) -> bool {
        let Some((first, rest)) = self.reached.split_first() else { return false };
        let mut is_raised = false;
        for (&partition, &reached) in first {
            let mut others = rest.iter().map(|shard| shard.get(&partition));
            let least = others.try_fold(reached, |least, other| Some(least.min(*other?)));
            let Some(least) = least else { continue };
            let known = known.entry(partition).or_default();
            is_raised |= least > *known;
            *known = least.max(*known);
        }
        is_raised
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_of_all_shards_counts_and_only_when_all_have_told() {
        let mut table = Table::new(3);
        let mut known = Least::new();
        let mut check = |shard, reached: &[(u16, u64)], expected: &[(u16, u64)]| {
            let typed = |&(partition, sequence): &(u16, u64)| {
                (PartitionId::new(partition).expect("in range"), Sequence::new(sequence))
            };
            table.take(Report { shard, reached: reached.iter().map(typed).collect() });
            let before = known.clone();
            let is_raised = table.raise(&mut known);
            let now: Vec<_> = known.iter().map(|(id, through)| (id.get(), through.get())).collect();
            assert_eq!(now, expected, "after {reached:?} of shard {shard}");
            assert!(!is_raised || before != known);
        };
        check(0, &[(0, 5), (1, 9)], &[]);
        check(2, &[(0, 7), (1, 3)], &[]);
        check(1, &[(0, 6), (1, 6)], &[(0, 5), (1, 3)]);
        check(0, &[(0, 8)], &[(0, 6), (1, 3)]);
        check(2, &[(1, 10)], &[(0, 6), (1, 6)]);
        // A shard that was set back: what is forgotten is forgotten, and nothing more is.
        check(1, &[(0, 2), (1, 6)], &[(0, 6), (1, 6)]);
        check(1, &[(0, 7)], &[(0, 7), (1, 6)]);
    }
}
