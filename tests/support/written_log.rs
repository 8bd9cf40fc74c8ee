//! Logs written directly, by the engine's own writer: large ones in little time, and ones that no
//! engine would write.

use doorbuster_engine::directory::DataDirectory;
use doorbuster_engine::log::{Log, LogConfig, LogIdentity};
use doorbuster_engine::storage::{StdDisk, run_immediate};
use doorbuster_protocol::event::{Event, Fact, Matched, Terms};
use doorbuster_protocol::{Currency, Epoch, PartitionId, ProductId, Sequence, Timestamp};
use std::path::Path;

/// Bytes of events that are written at once: a new log has room for so many.
const BATCH_BYTES: usize = 256 << 10;

/// The log of one partition of a stopped data directory, to go on with.
pub struct WrittenLog {
    log: Log<StdDisk>,
    events: Vec<u8>,
    count: u32,
    at: Timestamp,
}

impl WrittenLog {
    /// Goes on after the last event, later than all that were.
    pub fn open(directory: &DataDirectory, partition: PartitionId) -> Self {
        Self::open_with(directory, partition, Epoch::new(1 << 20), LogConfig::default())
    }

    /// The same in an epoch of choice (an engine goes on in its own), with segments of any size.
    pub fn open_with(
        directory: &DataDirectory,
        partition: PartitionId,
        epoch: Epoch,
        config: LogConfig,
    ) -> Self {
        let disk = StdDisk::new(directory.partition_path(partition));
        let identity = LogIdentity { directory: directory.id(), partition, epoch };
        let recovered = run_immediate(Log::recover(disk, identity, config));
        let (log, state) = recovered.expect("a sound log");
        let at = state.last_at().max(Timestamp::from_micros(1_700_000_000_000_000));
        Self { log, events: Vec::new(), count: 0, at }
    }

    /// The sequence of the next event.
    pub fn next(&self) -> Sequence {
        self.log.durable().plus(u64::from(self.count) + 1)
    }

    /// The time of the next event.
    pub fn now(&self) -> Timestamp {
        self.at.plus_micros(1)
    }

    /// Writes one more event, a microsecond after the last, whatever it says.
    pub fn write(&mut self, fact: Fact) -> Sequence {
        let sequence = self.next();
        self.at = self.now();
        Event { at: self.at, fact }.encode(&mut self.events);
        self.count += 1;
        if self.events.len() > BATCH_BYTES {
            self.flush();
        }
        sequence
    }

    /// Writes one more event in a frame of its own, so that a log becomes long with few events.
    pub fn write_alone(&mut self, fact: Fact) {
        self.write(fact);
        self.flush();
    }

    fn flush(&mut self) {
        if self.count == 0 {
            return;
        }
        let first = self.log.durable().next();
        run_immediate(self.log.append(first, self.count, &self.events)).expect("room on the disk");
        run_immediate(self.log.prepare()).expect("a good disk");
        self.events.clear();
        self.count = 0;
    }

    /// Makes all of it durable.
    pub fn close(mut self) {
        self.flush();
        run_immediate(self.log.seal()).expect("a good disk");
    }
}

/// Lengthens the log of the only partition of a stopped `data` by so many bytes, with events that
/// change little, so that it goes on with segments of `segment_bytes`.
pub fn lengthen(data: &Path, segment_bytes: u64, bytes: usize) {
    let directory = DataDirectory::open(data).expect("a stopped one");
    let partition = PartitionId::new(0).expect("there is one");
    let config = LogConfig { segment_bytes, ..LogConfig::default() };
    let mut log = WrittenLog::open_with(&directory, partition, Epoch::FIRST, config);
    let product = ProductId::parse("long").expect("a name");
    let terms = Terms {
        price: 1,
        currency: Currency::USD,
        stock: 1,
        opens_at: Timestamp::NONE,
        closes_at: Timestamp::NONE,
        limit_per_buyer: 0,
        hold_seconds: 60,
        waitlist_capacity: 0,
    };
    log.write_alone(Fact::Defined { product, terms, matched: Matched::default() });
    // A frame takes a block at least.
    for _ in 0..bytes / 4096 {
        log.write_alone(Fact::Restocked { product, units: 1, matched: Matched::default() });
    }
    log.close();
}
