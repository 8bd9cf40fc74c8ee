//! A body in chunks: `SIZE CRLF BYTES CRLF … 0 CRLF CRLF`, and nothing else.

use super::CHUNK_DIGITS_MAX;
use super::refusal::Refusal;

/// How far a body in chunks has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chunks {
    /// In the digits of a size.
    Size { size: u32, digits: u32 },
    /// After the CR of a size.
    SizeEnd { size: u32 },
    /// In a chunk that has so many bytes left.
    Data { left: u32 },
    /// After a chunk's bytes.
    DataCr,
    /// After the CR behind them.
    DataLf,
    /// After the last chunk's line.
    LastCr,
    /// After the CR behind it.
    LastLf,
    /// Over.
    Over,
}

impl Chunks {
    /// Before the first chunk.
    pub(super) const START: Self = Self::Size { size: 0, digits: 0 };

    /// Goes on over `bytes`: how many of them belong to the body and are as they must be, and what
    /// is wrong with the next one, if anything is. The body is over when it says so.
    pub(super) fn pass(&mut self, bytes: &[u8]) -> (usize, Option<Refusal>) {
        let mut at = 0;
        while at < bytes.len() && *self != Self::Over {
            if let Self::Data { left } = *self {
                let taken = (left as usize).min(bytes.len() - at);
                at += taken;
                let left = left - taken as u32;
                *self = if left > 0 { Self::Data { left } } else { Self::DataCr };
                continue;
            }
            match self.step(bytes[at]) {
                Ok(next) => *self = next,
                Err(refusal) => return (at, Some(refusal)),
            }
            at += 1;
        }
        (at, None)
    }

    fn step(self, byte: u8) -> Result<Self, Refusal> {
        match (self, byte) {
            (Self::Size { digits: 1.., size }, b'\r') => Ok(Self::SizeEnd { size }),
            (Self::Size { digits: 1.., .. }, b';' | b' ' | b'\t') => Err(Refusal::ChunkExtension),
            (Self::Size { size, digits: digits @ 0..CHUNK_DIGITS_MAX }, _) => {
                let digit = char::from(byte).to_digit(16).ok_or(Refusal::ChunkSize)?;
                Ok(Self::Size { size: size << 4 | digit, digits: digits + 1 })
            }
            (Self::SizeEnd { size: 0 }, b'\n') => Ok(Self::LastCr),
            (Self::SizeEnd { size }, b'\n') => Ok(Self::Data { left: size }),
            (Self::Size { .. } | Self::SizeEnd { .. }, _) => Err(Refusal::ChunkSize),
            (Self::DataCr, b'\r') => Ok(Self::DataLf),
            (Self::DataLf, b'\n') => Ok(Self::START),
            (Self::LastCr, b'\r') => Ok(Self::LastLf),
            (Self::LastLf, b'\n') => Ok(Self::Over),
            (Self::LastCr | Self::LastLf, _) => Err(Refusal::Trailers),
            (Self::Data { .. } | Self::DataCr | Self::DataLf | Self::Over, _) => {
                Err(Refusal::ChunkEnd)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_as_they_must_be() {
        // How many bytes pass, whether the body is over, what is wrong.
        let check = |text: &str, passed: usize, is_over: bool, wrong: Option<Refusal>| {
            for cut in 0..=text.len() {
                let mut chunks = Chunks::START;
                let (first, rest) = text.as_bytes().split_at(cut);
                let mut end = chunks.pass(first);
                if end == (cut, None) && chunks != Chunks::Over {
                    let (more, then) = chunks.pass(rest);
                    end = (cut + more, then);
                }
                assert_eq!(end, (passed, wrong), "{text:?} cut at {cut}");
                assert_eq!(chunks == Chunks::Over, is_over, "{text:?} cut at {cut}");
            }
        };
        check("0\r\n\r\n", 5, true, None);
        check("0\r\n\r\nGET", 5, true, None);
        check("3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n", 28, true, None);
        check("0000000f\r\n", 10, false, None);
        check("fFfFfFfF\r\nx", 11, false, None);
        check("000000000\r\n", 8, false, Some(Refusal::ChunkSize));
        check("\r\n", 0, false, Some(Refusal::ChunkSize));
        check("-1\r\n", 0, false, Some(Refusal::ChunkSize));
        check("0x3\r\n", 1, false, Some(Refusal::ChunkSize));
        check(" 3\r\n", 0, false, Some(Refusal::ChunkSize));
        check("3 \r\n", 1, false, Some(Refusal::ChunkExtension));
        check("3;a=b\r\n", 1, false, Some(Refusal::ChunkExtension));
        check("3\nabc", 1, false, Some(Refusal::ChunkSize));
        check("3\rabc", 2, false, Some(Refusal::ChunkSize));
        check("3\r\nabcd", 6, false, Some(Refusal::ChunkEnd));
        check("3\r\nabc\n", 6, false, Some(Refusal::ChunkEnd));
        check("3\r\nabc\rx", 7, false, Some(Refusal::ChunkEnd));
        check("0\r\nx: y\r\n\r\n", 3, false, Some(Refusal::Trailers));
        check("0\r\n\n", 3, false, Some(Refusal::Trailers));
        check("0\r\n\rx", 4, false, Some(Refusal::Trailers));
    }
}
