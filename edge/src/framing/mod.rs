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

pub use crate::limits::{CHUNK_DIGITS_MAX, HEAD_BYTES_MAX, HEADERS_MAX, TARGET_BYTES_MAX};
