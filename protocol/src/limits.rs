//! Every bound of the system in one place, checked against its neighbours at compile time.
//!
//! A collection that can grow has its bound here, and so has every length that arrives from
//! outside.

/// Partitions of a new data directory.
pub const PARTITIONS_DEFAULT: u16 = 16;
/// The most partitions a data directory can have; 12 bits of an order id name the partition.
pub const PARTITIONS_MAX: u16 = 4096;
/// The most cores of one engine.
pub const CORES_MAX: u16 = 256;
/// Buckets of buyers, mapped to store shards; 10 bits of an order id name the bucket.
pub const BUYER_BUCKETS: u16 = 1024;

/// Units in one order.
pub const QUANTITY_MAX: u32 = 1_000;
/// Units of stock of one product.
pub const STOCK_MAX: u32 = 1_000_000_000;
/// Price of one unit, in minor units: 10^12.
pub const PRICE_MAX: u64 = 1_000_000_000_000;
/// Seconds that a hold lasts, when the product does not say.
pub const HOLD_SECONDS_DEFAULT: u32 = 600;
/// Seconds that a hold may last: seven days.
pub const HOLD_SECONDS_MAX: u32 = 7 * 24 * 3600;
/// Standing orders of one product. All of them can be matched by one event, which must fit a batch.
pub const WAITLIST_MAX: u32 = 65_536;
/// Products of one partition.
pub const PRODUCTS_PER_PARTITION_MAX: u32 = 65_536;
/// Orders, with remembered idempotency keys of those that left, that one partition holds.
pub const ORDERS_PER_PARTITION_MAX: u32 = 1 << 26;
/// (product, buyer) pairs that one partition counts units for.
pub const BUYERS_PER_PARTITION_MAX: u32 = 1 << 26;
/// Microseconds that an idempotency key is remembered after its order became final: 24 hours.
pub const KEY_RETENTION_US: u64 = 24 * 3600 * 1_000_000;
/// Orders that one [`crate::event::Fact::Acknowledged`] lets go at the most.
pub const RELEASES_PER_EVENT_MAX: u32 = 8_192;
/// Consumers of the feed that hold the log back. Consumer 0 is the store.
pub const CONSUMERS_MAX: u8 = 8;

/// Bytes of a name that stands for a product or a buyer.
pub const NAME_BYTES_MAX: usize = 128;
/// Bytes of an `Idempotency-Key`.
pub const KEY_BYTES_MAX: usize = 255;

/// Bytes of one encoded event, its length prefix included.
pub const EVENT_BYTES_MAX: usize = 16 * WAITLIST_MAX as usize + 512;
/// Bytes of the events of one log frame.
pub const BATCH_BYTES_MAX: usize = 4 << 20;
/// Commands in one frame.
pub const COMMANDS_PER_FRAME_MAX: usize = 4_096;
/// Stock levels in one frame.
pub const LEVELS_PER_FRAME_MAX: usize = 4_096;
/// Bytes of the body of a frame that a client sends.
pub const REQUEST_BODY_MAX: usize = 1 << 20;
/// Bytes of the body of a frame that a server sends: a whole log batch travels in one.
pub const REPLY_BODY_MAX: usize = BATCH_BYTES_MAX + 4_096;
/// Commands of one connection that have no answer yet. Past it the server stops reading.
pub const IN_FLIGHT_PER_CONNECTION_MAX: usize = 16_384;
/// Answers of one core that wait for the disk. Past it the server stops reading requests.
pub const WAITING_PER_CORE_MAX: usize = 1 << 18;
/// Bytes of a log's room that new orders leave to what finishes orders, when the disk is full.
pub const ROOM_KEPT_FROM_NEW_ORDERS: usize = 1 << 20;
/// Bytes waiting to be written to one connection, past which feeds pause.
pub const CONNECTION_OUTPUT_MAX: usize = 2 << 20;
/// Connections of one core.
pub const CONNECTIONS_PER_CORE_MAX: usize = 4_096;
/// New orders for one core that one edge thread may have in progress, however quick they are.
pub const TURNS_MAX: usize = IN_FLIGHT_PER_CONNECTION_MAX;

const _: () = assert!(PARTITIONS_DEFAULT <= PARTITIONS_MAX);
const _: () = assert!(PARTITIONS_MAX as u32 <= 1 << 12);
const _: () = assert!(BUYER_BUCKETS as u32 <= 1 << 10);
const _: () = assert!(EVENT_BYTES_MAX <= BATCH_BYTES_MAX);
const _: () = assert!(BATCH_BYTES_MAX < REPLY_BODY_MAX);
const _: () = assert!(ROOM_KEPT_FROM_NEW_ORDERS < BATCH_BYTES_MAX);
const _: () = assert!(IN_FLIGHT_PER_CONNECTION_MAX <= WAITING_PER_CORE_MAX);
const _: () = assert!(COMMANDS_PER_FRAME_MAX <= IN_FLIGHT_PER_CONNECTION_MAX);
const _: () =
    assert!(COMMANDS_PER_FRAME_MAX * crate::command::RECORD_BYTES_MAX + 8 <= REQUEST_BODY_MAX);
const _: () =
    assert!(COMMANDS_PER_FRAME_MAX * crate::outcome::RECORD_BYTES_MAX + 8 <= REPLY_BODY_MAX);
const _: () =
    assert!(LEVELS_PER_FRAME_MAX * crate::session::StockLevel::BYTES + 8 <= REPLY_BODY_MAX);
const _: () = assert!(WAITLIST_MAX <= ORDERS_PER_PARTITION_MAX);
// A total in minor units stays exact in a JSON number (2^53).
const _: () = assert!(PRICE_MAX * (QUANTITY_MAX as u64) < 1 << 53);
