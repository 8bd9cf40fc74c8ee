//! What a log is told about sizes.

use super::frame::FRAME_BYTES_MAX;
use super::snapshots::SnapshotHandle;
use crate::storage::BLOCK;

/// Sizes of a log's files, and who makes its snapshots.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// Bytes of a segment: a multiple of 4096. A running engine needs at least
    /// [`LogConfig::SEGMENT_BYTES_MIN`], so that the largest batch fits.
    pub segment_bytes: u64,
    /// Bytes of a new log that are filled with zeros before its first event.
    pub first_fill_bytes: u64,
    /// The most bytes that are kept filled with zeros ahead of the last frame.
    pub fill_ahead_bytes: u64,
    /// Segments that are kept for reuse when nobody needs what they hold.
    pub spares_max: usize,
    /// Closed segments since the last snapshot that make the next one due.
    pub snapshot_segments: usize,
    /// Who makes snapshots; none: nobody does.
    pub snapshots: Option<SnapshotHandle>,
}

impl LogConfig {
    /// The smallest segment in which every batch finds room.
    pub const SEGMENT_BYTES_MIN: u64 = 2 * FRAME_BYTES_MAX;

    /// Panics when the sizes cannot work.
    pub(crate) fn check(&self) {
        assert!(self.segment_bytes.is_multiple_of(BLOCK), "segments are whole blocks");
        assert!(self.segment_bytes >= 4 * BLOCK, "a segment holds some frames");
        assert!(self.first_fill_bytes.is_multiple_of(BLOCK), "fills are whole blocks");
        assert!(self.fill_ahead_bytes.is_multiple_of(BLOCK), "fills are whole blocks");
        assert!(self.first_fill_bytes >= 2 * BLOCK, "a new log has room for a first frame");
        assert!(self.fill_ahead_bytes >= self.first_fill_bytes, "fills grow");
    }
}

impl Default for LogConfig {
    /// 32 MiB segments, 1 MiB filled at first and up to 8 MiB ahead, a snapshot every 4 segments.
    fn default() -> Self {
        Self {
            segment_bytes: 32 << 20,
            first_fill_bytes: 1 << 20,
            fill_ahead_bytes: 8 << 20,
            spares_max: 2,
            snapshot_segments: 4,
            snapshots: None,
        }
    }
}
