//! Sorting more than fits into memory: fixed-size records in sorted runs on disk, merged at the end.
//!
//! What has to be seen in another order than the log's (an order's events side by side, a buyer's
//! units over time, the orders of one key) goes through here, so that the memory of an audit does
//! not grow with the log. A record is bytes that sort as they stand: its key comes first, numbers in
//! it are big-endian. The runs of one sorter lie in one temporary file without a name, which is gone
//! when the process is.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes of records that a sorter keeps in memory before it writes them as a run.
pub(super) const RUN_BYTES: usize = 24 << 20;
/// Runs that are merged at once.
const FAN_IN: usize = 256;
/// Bytes that a merge reads ahead, over all runs.
const READ_BYTES: usize = 16 << 20;

/// Takes records in any order.
#[derive(Debug)]
pub(super) struct Sorter<const N: usize> {
    gathered: Vec<[u8; N]>,
    gathered_max: usize,
    runs: Runs<N>,
    /// The first error, told by [`Sorter::finish`]: who fills a sorter has better things to ask.
    failed: Option<io::Error>,
}

/// How much of a sorter was filled at some time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    runs: usize,
}

impl<const N: usize> Sorter<N> {
    /// An empty one.
    pub(super) fn new() -> Self {
        Self::with_run_bytes(RUN_BYTES)
    }

    /// One whose runs have so many bytes.
    pub(super) fn with_run_bytes(bytes: usize) -> Self {
        let gathered_max = (bytes / N).max(1);
        Self { gathered: Vec::new(), gathered_max, runs: Runs::default(), failed: None }
    }

    /// Takes one more.
    pub(super) fn push(&mut self, record: [u8; N]) {
        if self.gathered.len() == self.gathered_max {
            self.write_run();
        }
        self.gathered.push(record);
    }

    /// The place to which [`Sorter::rewind`] goes back.
    pub(super) fn mark(&mut self) -> Mark {
        self.write_run();
        Mark { runs: self.runs.spans.len() }
    }

    /// Forgets what came after `mark`.
    pub(super) fn rewind(&mut self, mark: Mark) {
        self.gathered.clear();
        self.runs.spans.truncate(mark.runs);
    }

    fn write_run(&mut self) {
        if self.gathered.is_empty() || self.failed.is_some() {
            self.gathered.clear();
            return;
        }
        self.gathered.sort_unstable();
        if let Err(error) = self.runs.append(self.gathered.iter()) {
            self.failed = Some(error);
        }
        self.gathered.clear();
    }

    /// Everything in order.
    pub(super) fn finish(mut self) -> io::Result<Sorted<N>> {
        if self.runs.spans.is_empty() {
            self.gathered.sort_unstable();
            return Ok(Sorted::Memory(self.gathered.into_iter()));
        }
        self.write_run();
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.gathered = Vec::new();
        while self.runs.spans.len() > FAN_IN {
            self.runs.merge_first(FAN_IN)?;
        }
        let spans = std::mem::take(&mut self.runs.spans);
        Ok(Sorted::Disk(Merge::new(self.runs.file.expect("runs lie in a file"), &spans)?))
    }
}

/// Sorted runs in one file.
#[derive(Debug)]
struct Runs<const N: usize> {
    file: Option<File>,
    end: u64,
    spans: Vec<Span>,
}

impl<const N: usize> Default for Runs<N> {
    fn default() -> Self {
        Self { file: None, end: 0, spans: Vec::new() }
    }
}

/// Where a run lies.
#[derive(Clone, Copy, Debug)]
struct Span {
    offset: u64,
    end: u64,
}

impl<const N: usize> Runs<N> {
    fn append<'a>(&mut self, records: impl Iterator<Item = &'a [u8; N]>) -> io::Result<()> {
        let mut writer = self.writer()?;
        for record in records {
            writer.put(record)?;
        }
        let span = writer.finish()?;
        self.end = span.end;
        self.spans.push(span);
        Ok(())
    }

    fn writer(&mut self) -> io::Result<RunWriter<N>> {
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(tempfile::tempfile()?),
        };
        let (file, offset) = (file.try_clone()?, self.end);
        Ok(RunWriter { file, offset, end: offset, piece: Vec::with_capacity(PIECE_BYTES) })
    }

    /// Makes one run of the first `count`.
    fn merge_first(&mut self, count: usize) -> io::Result<()> {
        let first: Vec<_> = self.spans.drain(..count).collect();
        let file = self.file.as_ref().expect("runs lie in a file").try_clone()?;
        let mut merge = Merge::<N>::new(file, &first)?;
        let mut writer = self.writer()?;
        while let Some(record) = merge.next()? {
            writer.put(&record)?;
        }
        let span = writer.finish()?;
        self.end = span.end;
        self.spans.push(span);
        Ok(())
    }
}

/// Bytes of one write.
const PIECE_BYTES: usize = 1 << 20;

struct RunWriter<const N: usize> {
    file: File,
    offset: u64,
    end: u64,
    piece: Vec<u8>,
}

impl<const N: usize> RunWriter<N> {
    fn put(&mut self, record: &[u8; N]) -> io::Result<()> {
        if self.piece.len() + N > PIECE_BYTES {
            self.flush()?;
        }
        self.piece.extend_from_slice(record);
        Ok(())
    }
    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all_at(&self.piece, self.end)?;
        self.end += self.piece.len() as u64;
        self.piece.clear();
        Ok(())
    }
    fn finish(mut self) -> io::Result<Span> {
        self.flush()?;
        Ok(Span { offset: self.offset, end: self.end })
    }
}

/// All records, in order.
#[derive(Debug)]
pub(super) enum Sorted<const N: usize> {
    /// They were few.
    Memory(std::vec::IntoIter<[u8; N]>),
    /// They lie in runs.
    Disk(Merge<N>),
}

impl<const N: usize> Sorted<N> {
    /// The next record; `None` after the last.
    pub(super) fn next(&mut self) -> io::Result<Option<[u8; N]>> {
        match self {
            Self::Memory(records) => Ok(records.next()),
            Self::Disk(merge) => merge.next(),
        }
    }
}

/// Merges runs: the heap holds the first unread record of each.
#[derive(Debug)]
pub(super) struct Merge<const N: usize> {
    file: File,
    runs: Vec<RunReader<N>>,
    heads: BinaryHeap<Reverse<([u8; N], usize)>>,
}

impl<const N: usize> Merge<N> {
    fn new(file: File, spans: &[Span]) -> io::Result<Self> {
        let block = (READ_BYTES / spans.len().max(1)).clamp(16 << 10, 1 << 20) / N * N;
        let runs =
            spans.iter().map(|span| RunReader { span: *span, block, read: Vec::new(), at: 0 });
        let mut merge = Self { file, runs: runs.collect(), heads: BinaryHeap::new() };
        for index in 0..merge.runs.len() {
            if let Some(record) = merge.runs[index].next(&merge.file)? {
                merge.heads.push(Reverse((record, index)));
            }
        }
        Ok(merge)
    }

    fn next(&mut self) -> io::Result<Option<[u8; N]>> {
        let Some(mut head) = self.heads.peek_mut() else { return Ok(None) };
        let Reverse((record, index)) = *head;
        match self.runs[index].next(&self.file)? {
            Some(next) => head.0.0 = next,
            None => {
                PeekMut::pop(head);
            }
        }
        Ok(Some(record))
    }
}

#[derive(Debug)]
struct RunReader<const N: usize> {
    span: Span,
    block: usize,
    read: Vec<u8>,
    at: usize,
}

impl<const N: usize> RunReader<N> {
    fn next(&mut self, file: &File) -> io::Result<Option<[u8; N]>> {
        if self.at == self.read.len() {
            let left = self.span.end - self.span.offset;
            let bytes = left.min(self.block as u64) as usize;
            if bytes == 0 {
                self.read = Vec::new();
                self.at = 0;
                return Ok(None);
            }
            self.read.resize(bytes, 0);
            file.read_exact_at(&mut self.read, self.span.offset)?;
            self.span.offset += bytes as u64;
            self.at = 0;
        }
        let record = self.read[self.at..].first_chunk::<N>().expect("runs are whole records");
        self.at += N;
        Ok(Some(*record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sorts `count` records in runs of `run` records and compares with sorting them in memory.
    fn check(count: usize, run: usize) {
        let mut random = fastrand::Rng::with_seed((count * 31 + run) as u64);
        let mut sorter = Sorter::<12>::with_run_bytes(12 * run);
        let mut expected: Vec<[u8; 12]> = Vec::new();
        for _ in 0..count {
            let mut record = [0; 12];
            record[..8].copy_from_slice(&random.u64(..count as u64 + 1).to_be_bytes());
            record[8..].copy_from_slice(&random.u32(..).to_be_bytes());
            sorter.push(record);
            expected.push(record);
        }
        expected.sort_unstable();
        let mut sorted = sorter.finish().expect("room for temporary files");
        for record in expected {
            assert_eq!(sorted.next().expect("readable"), Some(record), "{count} in runs of {run}");
        }
        assert_eq!(sorted.next().expect("readable"), None);
    }

    #[test]
    fn records_come_back_in_order_however_many_runs_they_lie_in() {
        check(0, 10);
        check(1, 1);
        check(1_000, 2_000);
        check(1_000, 1_000);
        check(1_001, 1_000);
        check(50_000, 777);
        check(3_000, 3);
    }

    #[test]
    fn what_came_after_a_mark_can_be_forgotten() {
        let mut sorter = Sorter::<1>::with_run_bytes(2);
        [5, 3, 9].into_iter().for_each(|byte| sorter.push([byte]));
        let mark = sorter.mark();
        [1, 2, 4, 6].into_iter().for_each(|byte| sorter.push([byte]));
        sorter.rewind(mark);
        sorter.push([7]);
        let mut sorted = sorter.finish().expect("room");
        let all = std::iter::from_fn(|| sorted.next().expect("readable")).collect::<Vec<_>>();
        assert_eq!(all, [[3], [5], [7], [9]]);
    }
}
