//! How many connections the process has descriptors for. A server that runs out of them can neither
//! take a connection nor open a file, and its `accept` fails again and again.

use crate::config::EdgeConfig;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Connections of one thread, however few descriptors there are.
const CONNECTIONS_MIN: usize = 16;
/// Fewer than this are worth a warning.
const FEW: usize = 1_024;
/// One descriptor in so many is for connections that are on their way out while others come in.
const LEAVING_SHARE: usize = 8;

/// The connections that each thread of an edge may have: as configured, or fewer, if the process
/// may not open so many descriptors. The soft limit is raised to the hard one first.
pub(crate) fn connections_per_thread(config: &EdgeConfig) -> usize {
    let wanted = config.connections_per_thread_max;
    let threads = config.threads.max(1);
    let Some(limit) = raised_limit() else { return wanted };
    let room = of_limit(limit, config.descriptors_reserved) / threads;
    let connections = wanted.min(room.max(CONNECTIONS_MIN));
    if connections < wanted.min(FEW / threads) {
        tracing::warn!(
            connections = connections * threads,
            descriptors = limit,
            "few connections fit into the open files that this process may have: raise `ulimit -n`, \
             or `LimitNOFILE=` in the systemd unit"
        );
    }
    connections
}

/// The connections for which `limit` descriptors leave room.
fn of_limit(limit: usize, reserved: usize) -> usize {
    let left = limit.saturating_sub(reserved);
    left - left / LEAVING_SHARE
}

/// How many of a thread that may have `connections` may be on their way out besides.
pub(crate) fn leaving(connections: usize) -> usize {
    (connections / LEAVING_SHARE).max(1)
}

/// `None` when there is no limit.
fn raised_limit() -> Option<usize> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let now = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    now.map(|now| usize::try_from(now).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::TURNED_AWAY_SHARE;

    #[test]
    fn descriptors_leave_room_for_so_many() {
        let check = |limit: usize, reserved: usize, connections: usize| {
            assert_eq!(of_limit(limit, reserved), connections, "{limit} {reserved}");
        };
        check(1_024, 256, 672);
        check(20_000, 400, 17_150);
        check(100, 256, 0);
    }

    #[test]
    fn those_on_their_way_out_have_descriptors_as_well() {
        for left in CONNECTIONS_MIN..20_000 {
            let connections = of_limit(left, 0);
            let turned_away = connections / TURNED_AWAY_SHARE;
            assert!(connections + leaving(connections) + turned_away <= left, "{left}");
        }
    }
}
