//! What a request may look like as bytes, looked at before hyper sees any of them.
//!
//! hyper reads HTTP as generously as it is written in the wild: lines may end with a bare LF, a
//! `Content-Length` beside `Transfer-Encoding` is dropped, chunks may carry extensions and
//! trailers. Somebody in front of this server may read the same bytes differently, and what is one
//! request there may be two here. So only bytes that can be read in one way get past this module
//! (RFC 9112 §11.2), and everything else is refused before a request comes of it.
//!
//! It does no I/O, keeps no more than a few words per connection, and allocates nothing.
//!
//! | file | what it looks at |
//! |---|---|
//! | `head` | one request line and its headers: what follows them |
//! | `chunks` | a body in chunks |
//! | `stream` | the requests of a connection, one after the other |
//! | `refusal` | why bytes are refused |

mod chunks;
mod head;
mod refusal;
mod stream;

pub use head::{Content, Head, HeadCheck};
pub use refusal::Refusal;
pub use stream::{Passed, RequestStream};

/// Bytes of a request line and its headers, past which a request is answered 431.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a path with its query, past which a request is answered 414. The shortest bound that
/// RFC 9112 §3 recommends.
pub const TARGET_BYTES_MAX: usize = 8_000;
/// Headers of one request, past which it is answered 431.
pub const HEADERS_MAX: usize = 64;
/// Digits of a chunk's size.
pub const CHUNK_DIGITS_MAX: u32 = 8;

const _: () = assert!(TARGET_BYTES_MAX < HEAD_BYTES_MAX);
