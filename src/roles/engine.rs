//! The engine, as this process runs it.

use super::{Role, cpus};
use crate::config::Config;
use crate::exit::{Exit, Failure};
use doorbuster_engine::directory::DirectoryError;
use doorbuster_engine::engine::{Engine, EngineConfig, EngineError};
use doorbuster_engine::log::LogError;
use doorbuster_engine::metrics::EngineMetrics;
use doorbuster_protocol::handshake::PreSharedKey;
use doorbuster_protocol::routing::PartitionCount;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// What others need to know of a running engine.
#[derive(Clone, Debug)]
pub(crate) struct Started {
    /// Where its cores listen.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Its counters.
    pub(crate) metrics: Arc<EngineMetrics>,
    /// Partitions of its data directory.
    pub(crate) partitions: u16,
    /// How its logs reach the disk, in words.
    pub(crate) durability: String,
}

/// Starts it; it serves when this returns.
pub(crate) fn start(
    config: &Config,
    key: PreSharedKey,
    cores: usize,
    listen: SocketAddr,
) -> Result<(Role, Started), Failure> {
    // glommio opens directories relative to no directory at all: only an absolute path works.
    let data = std::path::absolute(&config.data).unwrap_or_else(|_| config.data.clone());
    let engine = Engine::start(EngineConfig {
        partitions: config.partitions,
        listen: listen.ip(),
        port: listen.port(),
        cores,
        segment_bytes: config.segment_bytes,
        high_water_bytes: config.high_water_bytes,
        reserve_bytes_max: config.reserve_bytes_max.unwrap_or(0),
        ..EngineConfig::new(data, key)
    })
    .map_err(|error| failure("the engine cannot start", &error))?;
    let started = Started {
        addresses: engine.addresses().to_vec(),
        metrics: engine.metrics(),
        partitions: engine.map().partitions.get(),
        durability: engine.write_mode().to_string(),
    };
    let stopper = engine.stopper();
    let role = Role {
        name: "engine",
        stop: Box::new(move || stopper.stop()),
        join: Box::new(move || {
            engine.join().map_err(|error| failure("the engine stopped", &error))
        }),
    };
    Ok((role, started))
}

/// Cores when nobody says how many: one for each `cpus_per_core` CPUs, and no more than partitions.
pub(crate) fn cores(config: &Config, partitions: PartitionCount, cpus_per_core: usize) -> usize {
    let most = usize::from(partitions.get());
    config.cores.unwrap_or_else(|| (cpus() / cpus_per_core).clamp(1, most))
}

/// Files that an engine may have open at a time: its logs, the receipts of each and of a snapshot, the
/// rings of its cores, and both ends of what connects each core with each thread of an edge in the
/// same process.
pub(crate) fn files(partitions: PartitionCount, cores: usize, edge_threads: usize) -> usize {
    5 * usize::from(partitions.get()) + 1 + 32 * cores + 2 * cores * edge_threads
}

/// What to say, and which exit code, when the engine fails.
fn failure(what: &str, error: &EngineError) -> Failure {
    let exit = match error {
        EngineError::Unfit(_) => Exit::MachineUnfit,
        EngineError::Directory(error) => return directory_failure(error),
        EngineError::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
            Exit::AddressInUse
        }
        EngineError::Log { source: LogError::Damaged { .. }, .. } => Exit::DamagedLog,
        EngineError::Cores { .. } => Exit::Usage,
        EngineError::Listen { .. } | EngineError::Log { .. } | EngineError::Core(_) => {
            Exit::Failure
        }
    };
    Failure::because(exit, what, error)
}

/// What to say, and which exit code, when the data directory cannot be used.
pub(crate) fn directory_failure(error: &DirectoryError) -> Failure {
    let exit = match error {
        DirectoryError::Locked { .. } => Exit::DataDirectoryInUse,
        DirectoryError::Missing { .. } | DirectoryError::Foreign { .. } => Exit::NoDataDirectory,
        _ => Exit::Failure,
    };
    Failure::because(exit, "the data directory cannot be used", error)
}
