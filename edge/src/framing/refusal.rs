//! Why bytes are refused: each shape by a name, with what is said about it.

/// What is wrong with the bytes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The first bytes cannot begin a request.
    NotHttp,
    /// The request line is not a method, a target and a version, with one space between each.
    RequestLine,
    /// There is no version, as in HTTP/0.9.
    NoVersion,
    /// A version of HTTP that is not spoken here.
    Version,
    /// The target is not a path: a whole URL, an authority, or an asterisk.
    TargetForm,
    /// The target has characters that no path may have.
    TargetCharacter,
    /// The target is too long.
    TargetTooLong,
    /// A line ends with a bare LF.
    BareLineFeed,
    /// Empty lines before a request line.
    EmptyLines,
    /// A header goes on in the next line.
    Folded,
    /// A line of the head has no colon.
    NoColon,
    /// What stands before the colon is no name: empty, or with a space.
    HeaderName,
    /// A control byte in a value: NUL, a bare CR, DEL.
    ControlByte,
    /// Too many bytes of headers.
    HeadTooLarge,
    /// Too many headers.
    TooManyHeaders,
    /// No `Host`, or more than one, or one that names none.
    Host,
    /// More than one header of a kind of which there is one.
    Twice(&'static str),
    /// A `Content-Length` that is no number.
    Length,
    /// `Content-Length` beside `Transfer-Encoding`.
    TwoFramings,
    /// A `Transfer-Encoding` other than `chunked`, or in HTTP/1.0.
    Coding,
    /// A body with a method that takes none.
    ContentOfRead,
    /// `Connection: keep-alive` in HTTP/1.0.
    OldKeepAlive,
    /// An option of `Connection` that is no plain name.
    ConnectionOption,
    /// The size of a chunk is no hexadecimal number, or too long.
    ChunkSize,
    /// A chunk with an extension.
    ChunkExtension,
    /// A chunk does not end where its size says.
    ChunkEnd,
    /// Something stands behind the last chunk.
    Trailers,
}

impl Refusal {
    /// The status that goes with it.
    pub const fn status(self) -> u16 {
        match self {
            Self::TargetTooLong => 414,
            Self::HeadTooLarge | Self::TooManyHeaders => 431,
            Self::Version => 505,
            _ => 400,
        }
    }

    /// The header, or the part of the request, that is wrong.
    pub const fn field(self) -> &'static str {
        match self {
            Self::NotHttp | Self::RequestLine | Self::EmptyLines => "request line",
            Self::NoVersion | Self::Version => "version",
            Self::TargetForm | Self::TargetCharacter | Self::TargetTooLong => "path",
            Self::BareLineFeed
            | Self::Folded
            | Self::NoColon
            | Self::HeaderName
            | Self::ControlByte
            | Self::HeadTooLarge
            | Self::TooManyHeaders => "headers",
            Self::Host => "Host",
            Self::Twice(name) => name,
            Self::Length | Self::TwoFramings => "Content-Length",
            Self::Coding => "Transfer-Encoding",
            Self::OldKeepAlive | Self::ConnectionOption => "Connection",
            Self::ContentOfRead
            | Self::ChunkSize
            | Self::ChunkExtension
            | Self::ChunkEnd
            | Self::Trailers => "body",
        }
    }

    /// What is wrong, and what would be right.
    pub const fn detail(self) -> &'static str {
        match self {
            Self::NotHttp => {
                "This is no HTTP. The port speaks HTTP/1.1 without TLS: use an http:// address"
            }
            Self::RequestLine => {
                "A request begins with a method, a path and HTTP/1.1, with one space between each"
            }
            Self::NoVersion => "The request line has no version. Send HTTP/1.1",
            Self::Version => {
                "This version of HTTP is not spoken here. Send HTTP/1.1, and no HTTP/2 without \
                 asking (curl: --http1.1)"
            }
            Self::TargetForm => {
                "The request's target must be a path that begins with `/`. This is the server \
                 itself, not a proxy"
            }
            Self::TargetCharacter => {
                "The path has characters that must be percent-encoded (RFC 3986 §2.1)"
            }
            Self::TargetTooLong => "A path with its query has 8000 bytes at the most here",
            Self::BareLineFeed => "Every line of a head ends with CR LF, not with LF alone",
            Self::EmptyLines => "Empty lines stand before the request line",
            Self::Folded => "A header stands on one line and is not folded (RFC 9112 §5.2)",
            Self::NoColon => "A line of the head is no `Name: value`",
            Self::HeaderName => {
                "A header's name has no spaces and no separators, also not before the colon"
            }
            Self::ControlByte => "A header's value has a control byte, such as NUL or a bare CR",
            Self::HeadTooLarge => "A request line and its headers have 16 KiB at the most here",
            Self::TooManyHeaders => "A request has 64 headers at the most here",
            Self::Host => "A request needs exactly one Host header (RFC 9112 §3.2)",
            Self::Twice(_) => "A request has one header of this name at the most",
            Self::Length => "Content-Length is one plain decimal number of bytes",
            Self::TwoFramings => {
                "A body has a Content-Length or `Transfer-Encoding: chunked`, never both"
            }
            Self::Coding => {
                "A body comes with a Content-Length or, in HTTP/1.1, as `Transfer-Encoding: \
                 chunked`, no other way"
            }
            Self::ContentOfRead => "GET and HEAD take no body. Send none",
            Self::OldKeepAlive => {
                "HTTP/1.0 has one request per connection here. Send HTTP/1.1, or leave out \
                 `Connection: keep-alive`"
            }
            Self::ConnectionOption => {
                "Connection lists plain names such as `close`, with commas between them"
            }
            Self::ChunkSize => "A chunk begins with its size: 1 to 8 hexadecimal digits and CR LF",
            Self::ChunkExtension => "Chunks carry no extensions here: send CR LF after the size",
            Self::ChunkEnd => "A chunk does not end where its size says, with CR LF",
            Self::Trailers => "Nothing but CR LF stands behind the last chunk: no trailers",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CHUNK_DIGITS_MAX, HEAD_BYTES_MAX, HEADERS_MAX, TARGET_BYTES_MAX};
    use super::*;

    #[test]
    fn what_is_said_is_what_holds() {
        let says = |refusal: Refusal, number: usize, unit: &str| {
            let detail = refusal.detail();
            assert!(detail.contains(&format!("{number} {unit}")), "{detail}");
        };
        says(Refusal::TargetTooLong, TARGET_BYTES_MAX, "bytes");
        says(Refusal::HeadTooLarge, HEAD_BYTES_MAX / 1024, "KiB");
        says(Refusal::TooManyHeaders, HEADERS_MAX, "headers");
        says(Refusal::ChunkSize, CHUNK_DIGITS_MAX as usize, "hexadecimal digits");
    }
}
