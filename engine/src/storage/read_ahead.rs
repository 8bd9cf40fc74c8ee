//! A file that is read from front to end with direct I/O, which knows no read-ahead but one's own.
//!
//! While the caller works on one piece, the device reads those behind it. What is read ahead is as
//! old as its request, so this is for files that nobody writes meanwhile, and a read that does not go
//! on where the last one ended always asks the device anew.

use super::BLOCK;
use futures_lite::future::poll_once;
use glommio::io::{DmaFile, ReadResult};
use glommio::task::JoinHandle;
use glommio::timer::sleep;
use glommio::{GlommioError, spawn_local};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

/// Bytes that are asked for at once.
pub(super) const PIECE_BYTES: usize = 1 << 20;
const _: () = assert!((PIECE_BYTES as u64).is_multiple_of(BLOCK));
/// Pieces that are asked for at a time: the one that is wanted and those behind. Several, because a
/// device takes now less and now more time than the work on a piece.
const ASKED: usize = 4;
/// The executor hands requests to the kernel when all its tasks wait. A caller whose piece is there
/// would go on at once, and what was asked for would not even have begun when its turn comes.
const HANDED_OVER: Duration = Duration::from_micros(20);

type Read = Result<ReadResult, GlommioError<()>>;

/// The pieces of one file that were asked for.
#[derive(Debug, Default)]
pub(super) struct ReadAhead {
    /// Where the caller is.
    offset: u64,
    /// The piece that the caller is in, and how many of its bytes were handed out.
    current: Option<(ReadResult, usize)>,
    /// The pieces behind it, in order. One that nobody waits for any more is read to its end.
    asked: VecDeque<JoinHandle<Read>>,
    /// Where the next piece to be asked for begins.
    next: u64,
}

impl ReadAhead {
    /// For a caller who has read up to `offset` and may read on there.
    pub(super) fn from(offset: u64) -> Self {
        Self { offset, next: offset, ..Self::default() }
    }
    /// Whether the caller goes on where it was.
    pub(super) fn goes_on_at(&self, offset: u64) -> bool {
        self.offset == offset
    }

    /// Reads on, and says how many bytes: fewer than wanted where a piece is not whole, near the end
    /// of the file. After that, as after an error, nothing ahead counts.
    pub(super) async fn read(
        &mut self,
        file: &Rc<DmaFile>,
        into: &mut [u8],
    ) -> Result<usize, GlommioError<()>> {
        let mut done = 0;
        while done < into.len() {
            let (piece, taken) = match self.current.take() {
                Some(current) => current,
                None => match self.next_piece(file).await? {
                    Some(piece) => (piece, 0),
                    None => break,
                },
            };
            let count = (into.len() - done).min(piece.len() - taken);
            into[done..done + count].copy_from_slice(&piece[taken..taken + count]);
            done += count;
            if taken + count < piece.len() {
                self.current = Some((piece, taken + count));
            }
        }
        self.offset += done as u64;
        Ok(done)
    }

    /// The next piece; `None` when it is not whole.
    async fn next_piece(
        &mut self,
        file: &Rc<DmaFile>,
    ) -> Result<Option<ReadResult>, GlommioError<()>> {
        while self.asked.len() < ASKED {
            let (file, from) = (Rc::clone(file), self.next);
            let read = async move { file.read_at_aligned(from, PIECE_BYTES).await };
            // It is never cancelled: the kernel may be writing to its memory.
            self.asked.push_back(spawn_local(read).detach());
            self.next += PIECE_BYTES as u64;
        }
        let mut asked = self.asked.pop_front().expect("some were asked for");
        let piece = match poll_once(&mut asked).await {
            Some(read) => {
                sleep(HANDED_OVER).await;
                read
            }
            None => asked.await,
        };
        let piece = piece.expect("a read runs as long as its executor")?;
        Ok((piece.len() == PIECE_BYTES).then_some(piece))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{File, GlommioDisk, Mode, Storage};
    use glommio::{LocalExecutorBuilder, Placement};

    const BLOCK_BYTES: usize = BLOCK as usize;

    /// Each block differs from every other.
    fn content(blocks: usize) -> Vec<u8> {
        (0..blocks * BLOCK_BYTES / 8).flat_map(|word| (word as u64).to_le_bytes()).collect()
    }

    async fn check<F: File>(file: &F, content: &[u8], block: usize, blocks: usize) {
        let from = (block * BLOCK_BYTES).min(content.len());
        let mut into = vec![0xEE; blocks * BLOCK_BYTES];
        let read =
            file.read_at((block * BLOCK_BYTES) as u64, &mut into).await.expect("a good disk");
        let expected = &content[from..content.len().min(from + into.len())];
        assert!(read == expected.len() && into[..read] == *expected, "{blocks} from {block}");
    }

    #[test]
    fn what_is_read_ahead_is_what_stands_there() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().to_owned();
        let mode = GlommioDisk::probe(&path);
        // Whole pieces and some; exactly whole pieces; less than one.
        let executor = LocalExecutorBuilder::new(Placement::Unbound).spawn(move || async move {
            let piece = PIECE_BYTES / BLOCK_BYTES;
            for blocks in [3 * piece + 5, 2 * piece, 3] {
                let mut content = content(blocks);
                std::fs::write(path.join("file"), &content).expect("a good disk");
                let disk = GlommioDisk::at(&path, mode);
                let file = disk.open("file", Mode::Write).await.expect("it is there");
                file.read_on();
                for step in [1, 100, piece, piece + 1, 3 * piece] {
                    for block in (0..blocks + step).step_by(step) {
                        check(&file, &content, block, step).await;
                    }
                }
                // Back to where it was: what has changed since shows.
                check(&file, &content, 0, 1).await;
                let mut changed = file.buffer(BLOCK_BYTES);
                changed.as_mut().fill(0x55);
                content[BLOCK_BYTES..2 * BLOCK_BYTES].fill(0x55);
                file.write_at(changed, BLOCK).await.expect("a good disk");
                check(&file, &content, 0, 3).await;
            }
        });
        executor.expect("an executor").join().expect("no panic");
    }
}
