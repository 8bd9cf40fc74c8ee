//! Every bound of an edge that cannot be set, compared with its neighbours at compile time.
//!
//! A collection that clients can make grow has its bound here, and so has every length that they
//! send, unless it stands in [`EdgeConfig`](crate::EdgeConfig) and can be set, or in
//! [`doorbuster_protocol::limits`]. Times stand where they are watched.

use doorbuster_protocol::limits::{KEY_BYTES_MAX, NAME_BYTES_MAX};

/// Bytes of a request line and its headers, past which a request is answered 431.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a path with its query, past which a request is answered 414. The shortest bound that
/// RFC 9112 §3 recommends.
pub const TARGET_BYTES_MAX: usize = 8_000;
/// Headers of one request, past which it is answered 431.
pub const HEADERS_MAX: usize = 64;
/// Digits of a chunk's size.
pub const CHUNK_DIGITS_MAX: u32 = 8;
/// Bytes of a token, past which it is not even looked at.
pub(crate) const TOKEN_BYTES_MAX: usize = 4_096;
/// Bytes of an `x-request-id` that is kept.
pub(crate) const REQUEST_ID_BYTES_MAX: usize = 64;

/// Bytes of a body, unless it is set.
pub(crate) const BODY_BYTES_DEFAULT: usize = 64 * 1024;
/// Lines that one order may list. They are summed by product.
pub(crate) const ORDER_LINES_MAX: usize = 100;
/// Bytes of what a product is called.
pub(crate) const PRODUCT_NAME_BYTES_MAX: usize = 200;
/// Bytes of what is said about it.
pub(crate) const DESCRIPTION_BYTES_MAX: usize = 8_192;
/// Fields of a body; those past this are not read: no body here has so many.
pub(crate) const FIELDS_MAX: usize = 64;
/// The most rows of a page.
pub(crate) const PAGE_ROWS_MAX: u32 = 100;
/// Pages of the catalog that one list of sales looks through, so that a long tail of sales that are
/// over costs a request no more than this.
pub(crate) const FLASH_SALE_PAGES_MAX: usize = 8;

/// Connections that wait to be accepted, per listener.
pub(crate) const BACKLOG: i32 = 4_096;
/// Bytes that are read at once while no buffer of hyper's is there.
pub(crate) const ROOM_BYTES: usize = 4_096;
/// Bytes that the kernel keeps of answers that a client does not take. It doubles the number, and
/// keeps a fixed buffer from growing to megabytes.
pub(crate) const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// Bytes that are taken from a client that has had its last answer.
pub(crate) const LINGER_BYTES_MAX: usize = 256 * 1024;
/// For so many connections of a thread, one more that was turned away is given time to hear it;
/// past it they are closed at once.
pub(crate) const TURNED_AWAY_SHARE: usize = 64;
/// When room is made, one in so many connections goes. So looking through all of them, which finds
/// those that waited longest, comes to a few steps for each that is accepted.
pub(crate) const LET_GO_SHARE: usize = 16;
/// Connections of the administrators' address at a time; more wait.
pub(crate) const ADMIN_CONNECTIONS_MAX: usize = 64;

/// Verified tokens of one generation; a thread remembers two.
pub(crate) const GENERATION_TOKENS_MAX: usize = 8_192;
/// Slots of a rate limit among which a source is looked for.
pub(crate) const RATE_WAYS: usize = 8;
/// Groups of them.
pub(crate) const RATE_LINES: usize = 1 << 15;
/// Turns that are remembered to tell how many may be sent away.
pub(crate) const TURNS_REMEMBERED_MAX: usize = 4_096;

// What a request may carry fits into its head, all at once.
const _: () = assert!(
    TARGET_BYTES_MAX + TOKEN_BYTES_MAX + KEY_BYTES_MAX + REQUEST_ID_BYTES_MAX < HEAD_BYTES_MAX
);
// A chunk's size fits the 32 bits that it is kept in.
const _: () = assert!(CHUNK_DIGITS_MAX * 4 <= u32::BITS);
// The longest definition and the longest order are no longer than a body, also when every byte is
// written as an escape of six.
const _: () = assert!((PRODUCT_NAME_BYTES_MAX + DESCRIPTION_BYTES_MAX) * 6 < BODY_BYTES_DEFAULT);
const _: () = assert!(ORDER_LINES_MAX * (NAME_BYTES_MAX + 64) < BODY_BYTES_DEFAULT);
// Who is refused in the middle of a request that is not far too long still hears it.
const _: () = assert!(HEAD_BYTES_MAX + BODY_BYTES_DEFAULT <= LINGER_BYTES_MAX);
// A piece that is read at once is no more than a head may have.
const _: () = assert!(ROOM_BYTES <= HEAD_BYTES_MAX);
