//! Requests that can be read in two ways, or in none, each with the one answer that it gets.
//!
//! Every shape is an order that would be good but for what is wrong with it: token, product and
//! body are right, and most have another good order behind them. So a shape that is let through
//! shows as an order.
//!
//! In the bytes stand `@O` for the head of an order up to its framing, `@A` for its other headers,
//! `@B` for its body of 15 bytes, `@N` for a whole order, and `@8k` for 8 000 letters.

/// The name of a shape, its bytes, the status it is answered with, and the field that is named.
type Row = (&'static str, &'static [u8], u16, &'static str);

/// What is refused. The connection is closed after the one answer.
#[rustfmt::skip]
pub(crate) const REFUSED: &[Row] = &[
    // Two framings of one body.
    ("cl-te", b"@O@Acontent-length: 15\r\ntransfer-encoding: chunked\r\n\r\nf\r\n@B\r\n0\r\n\r\n@N", 400, CL),
    ("te-cl", b"@O@Atransfer-encoding: chunked\r\ncontent-length: 25\r\n\r\nf\r\n@B\r\n0\r\n\r\n@N", 400, CL),
    ("cl-te-hides-a-request", b"@O@Acontent-length: 6\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n@N", 400, CL),
    ("cl-0-te", b"@O@Acontent-length: 0\r\ntransfer-encoding: chunked\r\n\r\nf\r\n@B\r\n0\r\n\r\n@N", 400, CL),
    ("cl-te-gzip", b"@O@Acontent-length: 15\r\ntransfer-encoding: gzip\r\n\r\n@B@N", 400, TE),
    ("get-with-cl-hides-a-request", b"GET /health HTTP/1.1\r\nhost: shop\r\ncontent-length: 500\r\n\r\n@N", 400, "body"),
    ("get-with-te", b"GET /health HTTP/1.1\r\nhost: shop\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n@N", 400, "body"),
    ("head-with-cl", b"HEAD /health HTTP/1.1\r\nhost: shop\r\ncontent-length: 3\r\n\r\nabc@N", 400, "body"),
    // Lengths.
    ("cl-two-differ", b"@O@Acontent-length: 15\r\ncontent-length: 16\r\n\r\n@B@N", 400, CL),
    ("cl-two-agree", b"@O@Acontent-length: 15\r\ncontent-length: 15\r\n\r\n@B@N", 400, CL),
    ("cl-list", b"@O@Acontent-length: 15, 15\r\n\r\n@B@N", 400, CL),
    ("cl-plus", b"@O@Acontent-length: +15\r\n\r\n@B@N", 400, CL),
    ("cl-minus", b"@O@Acontent-length: -1\r\n\r\n@B@N", 400, CL),
    ("cl-hex", b"@O@Acontent-length: 0xf\r\n\r\n@B@N", 400, CL),
    ("cl-empty", b"@O@Acontent-length:\r\n\r\n@B@N", 400, CL),
    ("cl-space-inside", b"@O@Acontent-length: 1 5\r\n\r\n@B@N", 400, CL),
    ("cl-fraction", b"@O@Acontent-length: 15.0\r\n\r\n@B@N", 400, CL),
    ("cl-past-64-bits", b"@O@Acontent-length: 18446744073709551631\r\n\r\n@B@N", 400, CL),
    ("cl-vertical-tab", b"@O@Acontent-length: \x0B15\r\n\r\n@B@N", 400, HEADERS),
    ("cl-other-digits", b"@O@Acontent-length: \xD9\xA1\xD9\xA5\r\n\r\n@B@N", 400, CL),
    // Codings.
    ("te-identity", b"@O@Atransfer-encoding: identity\r\n\r\n@N", 400, TE),
    ("te-gzip-chunked", b"@O@Atransfer-encoding: gzip, chunked\r\n\r\nf\r\n@B\r\n0\r\n\r\n@N", 400, TE),
    ("te-chunked-gzip", b"@O@Atransfer-encoding: chunked, gzip\r\n\r\nf\r\n@B\r\n0\r\n\r\n@N", 400, TE),
    ("te-chunked-chunked", b"@O@Atransfer-encoding: chunked, chunked\r\n\r\nf\r\n@B\r\n0\r\n\r\n@N", 400, TE),
    ("te-twice", b"@O@Atransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\nf\r\n@B\r\n0\r\n\r\n@N", 400, TE),
    ("te-chunked-then-identity", b"@O@Atransfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\nf\r\n@B\r\n0\r\n\r\n@N", 400, TE),
    ("te-quoted", b"@O@Atransfer-encoding: \"chunked\"\r\n\r\nf\r\n@B\r\n0\r\n\r\n@N", 400, TE),
    ("te-parameter", b"@O@Atransfer-encoding: chunked;q=1\r\n\r\nf\r\n@B\r\n0\r\n\r\n@N", 400, TE),
    ("te-xchunked", b"@O@Atransfer-encoding: xchunked\r\n\r\nf\r\n@B\r\n0\r\n\r\n@N", 400, TE),
    ("te-comma-before", b"@O@Atransfer-encoding: , chunked\r\n\r\nf\r\n@B\r\n0\r\n\r\n@N", 400, TE),
    ("te-comma-after", b"@O@Atransfer-encoding: chunked,\r\n\r\nf\r\n@B\r\n0\r\n\r\n@N", 400, TE),
    ("te-empty", b"@O@Atransfer-encoding:\r\n\r\nf\r\n@B\r\n0\r\n\r\n@N", 400, TE),
    ("te-vertical-tab", b"@O@Atransfer-encoding: \x0Bchunked\r\n\r\nf\r\n@B\r\n0\r\n\r\n@N", 400, HEADERS),
    ("te-nul", b"@O@Atransfer-encoding: chunked\0\r\n\r\nf\r\n@B\r\n0\r\n\r\n@N", 400, HEADERS),
    ("te-space-before-colon", b"@O@Atransfer-encoding : chunked\r\ncontent-length: 15\r\n\r\n@B@N", 400, HEADERS),
    ("te-tab-before-colon", b"@O@Atransfer-encoding\t: chunked\r\ncontent-length: 15\r\n\r\n@B@N", 400, HEADERS),
    ("te-folded", b"@O@Atransfer-encoding:\r\n chunked\r\n\r\nf\r\n@B\r\n0\r\n\r\n@N", 400, TE),
    ("te-behind-bare-cr", b"@O@Ax: y\rtransfer-encoding: chunked\r\ncontent-length: 15\r\n\r\n@B@N", 400, HEADERS),
    ("te-behind-bare-lf", b"@O@Ax: y\ntransfer-encoding: chunked\r\ncontent-length: 15\r\n\r\n@B@N", 400, HEADERS),
    ("te-in-old-http", b"POST @P HTTP/1.0\r\n@Atransfer-encoding: chunked\r\n\r\nf\r\n@B\r\n0\r\n\r\n@N", 400, TE),
    // Lines.
    ("folded-with-space", b"@O@Ax: y\r\n z\r\ncontent-length: 15\r\n\r\n@B@N", 400, HEADERS),
    ("folded-with-tab", b"@O@Ax: y\r\n\tz\r\ncontent-length: 15\r\n\r\n@B@N", 400, HEADERS),
    ("folded-first", b"POST @P HTTP/1.1\r\n host: shop\r\n@Acontent-length: 15\r\n\r\n@B@N", 400, HEADERS),
    ("bare-lf-everywhere", b"POST @P HTTP/1.1\nhost: shop\ncontent-length: 0\n\n@N", 400, HEADERS),
    ("bare-lf-at-the-end", b"@O@Acontent-length: 15\r\n\n@B@N", 400, HEADERS),
    ("bare-cr-in-value", b"@O@Ax: a\rb\r\ncontent-length: 15\r\n\r\n@B@N", 400, HEADERS),
    ("two-cr", b"@O@Ax: a\r\r\ncontent-length: 15\r\n\r\n@B@N", 400, HEADERS),
    ("space-before-colon", b"@O@Acontent-length : 15\r\n\r\n@B@N", 400, HEADERS),
    ("space-in-name", b"@O@Acontent length: 15\r\n\r\n@B@N", 400, HEADERS),
    ("no-name", b"@O@A: x\r\ncontent-length: 15\r\n\r\n@B@N", 400, HEADERS),
    ("no-colon", b"@O@Ax\r\ncontent-length: 15\r\n\r\n@B@N", 400, HEADERS),
    ("nul-in-name", b"@O@Acontent\0-length: 15\r\n\r\n@B@N", 400, HEADERS),
    ("nul-in-value", b"@O@Ax: a\0b\r\ncontent-length: 15\r\n\r\n@B@N", 400, HEADERS),
    ("escape-in-value", b"@O@Ax: \x1B[2J\r\ncontent-length: 15\r\n\r\n@B@N", 400, HEADERS),
    ("delete-in-value", b"@O@Ax: a\x7Fb\r\ncontent-length: 15\r\n\r\n@B@N", 400, HEADERS),
    ("latin-in-name", b"@O@Ax\xE9: a\r\ncontent-length: 15\r\n\r\n@B@N", 400, HEADERS),
    // Headers of which there is one.
    ("host-twice", b"@Ohost: shop\r\n@Acontent-length: 15\r\n\r\n@B@N", 400, "Host"),
    ("host-none", b"POST @P HTTP/1.1\r\n@Acontent-length: 15\r\n\r\n@B@N", 400, "Host"),
    ("host-empty", b"POST @P HTTP/1.1\r\nhost:\r\n@Acontent-length: 15\r\n\r\n@B@N", 400, "Host"),
    ("host-list", b"POST @P HTTP/1.1\r\nhost: shop, evil\r\n@Acontent-length: 15\r\n\r\n@B@N", 400, "Host"),
    ("host-with-user", b"POST @P HTTP/1.1\r\nhost: shop@evil\r\n@Acontent-length: 15\r\n\r\n@B@N", 400, "Host"),
    ("host-with-path", b"POST @P HTTP/1.1\r\nhost: shop/x\r\n@Acontent-length: 15\r\n\r\n@B@N", 400, "Host"),
    ("authorization-twice", b"@O@Aauthorization: Bearer x.y.z\r\ncontent-length: 15\r\n\r\n@B@N", 400, "Authorization"),
    ("type-twice", b"@O@Acontent-type: text/plain\r\ncontent-length: 15\r\n\r\n@B@N", 400, "Content-Type"),
    // Request lines.
    ("http-0.9", b"GET @P\r\n", 400, "version"),
    ("http-0.9-with-headers", b"POST @P\r\nhost: shop\r\n@Acontent-length: 15\r\n\r\n@B@N", 400, "version"),
    ("http-1.0-keep-alive", b"POST @P HTTP/1.0\r\nconnection: keep-alive\r\n@Acontent-length: 15\r\n\r\n@B@N", 400, "Connection"),
    ("http-1.2", b"POST @P HTTP/1.2\r\nhost: shop\r\n@Acontent-length: 15\r\n\r\n@B@N", 505, "version"),
    ("http-9.9", b"POST @P HTTP/9.9\r\nhost: shop\r\n@Acontent-length: 15\r\n\r\n@B@N", 505, "version"),
    ("http-1.10", b"POST @P HTTP/1.10\r\nhost: shop\r\n@Acontent-length: 15\r\n\r\n@B@N", 400, LINE),
    ("http-lower-case", b"POST @P http/1.1\r\nhost: shop\r\n@Acontent-length: 15\r\n\r\n@B@N", 400, LINE),
    ("space-behind-version", b"POST @P HTTP/1.1 \r\nhost: shop\r\n@Acontent-length: 15\r\n\r\n@B@N", 400, LINE),
    ("two-spaces", b"POST  @P HTTP/1.1\r\nhost: shop\r\n@Acontent-length: 15\r\n\r\n@B@N", 400, LINE),
    ("tabs-for-spaces", b"POST\t@P\tHTTP/1.1\r\nhost: shop\r\n@Acontent-length: 15\r\n\r\n@B@N", 400, LINE),
    ("space-in-path", b"POST @P /x HTTP/1.1\r\nhost: shop\r\n@Acontent-length: 15\r\n\r\n@B@N", 400, "path"),
    ("space-first", b" POST @P HTTP/1.1\r\nhost: shop\r\n@Acontent-length: 15\r\n\r\n@B@N", 400, LINE),
    ("empty-lines-first", b"\r\n\r\n@O@Acontent-length: 15\r\n\r\n@B@N", 400, LINE),
    ("no-path", b"POST HTTP/1.1\r\nhost: shop\r\n@Acontent-length: 15\r\n\r\n@B@N", 400, "version"),
    ("whole-url", b"POST http://shop@P HTTP/1.1\r\nhost: shop\r\n@Acontent-length: 15\r\n\r\n@B@N", 400, "path"),
    ("whole-url-of-another", b"POST http://evil@P HTTP/1.1\r\nhost: shop\r\n@Acontent-length: 15\r\n\r\n@B@N", 400, "path"),
    ("authority", b"CONNECT shop:80 HTTP/1.1\r\nhost: shop\r\n\r\n@N", 400, "path"),
    ("connect-to-a-path", b"CONNECT @P HTTP/1.1\r\nhost: shop\r\n@A\r\n@N", 400, "path"),
    ("asterisk", b"OPTIONS * HTTP/1.1\r\nhost: shop\r\n\r\n@N", 400, "path"),
    ("fragment", b"POST @P#x HTTP/1.1\r\nhost: shop\r\n@Acontent-length: 15\r\n\r\n@B@N", 400, "path"),
    ("backslash", b"POST @P\\x HTTP/1.1\r\nhost: shop\r\n@Acontent-length: 15\r\n\r\n@B@N", 400, "path"),
    ("nul-in-path", b"POST @P\0 HTTP/1.1\r\nhost: shop\r\n@Acontent-length: 15\r\n\r\n@B@N", 400, "path"),
    ("latin-in-path", b"POST @P\xE9 HTTP/1.1\r\nhost: shop\r\n@Acontent-length: 15\r\n\r\n@B@N", 400, "path"),
    ("cr-in-path", b"POST @P\rx HTTP/1.1\r\nhost: shop\r\n@Acontent-length: 15\r\n\r\n@B@N", 400, "path"),
    // Other protocols.
    ("http-2-preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", 505, "version"),
    ("tls", b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", 400, LINE),
    ("proxy-protocol-2", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C@N", 400, LINE),
    ("nonsense", b"nonsense\r\n\r\n@N", 400, LINE),
    ("binary", b"\0\x01\x02\xFF\xFE\r\n\r\n@N", 400, LINE),
    ("binary-behind-a-letter", b"G\0\x01\x02\xFF\xFE", 400, LINE),
    ("binary-in-a-path", b"GET /\0\0\0", 400, "path"),
    // Ends of connections.
    ("connection-with-latin", b"@O@Aconnection: close, \xE9\r\ncontent-length: 15\r\n\r\n@B@N", 400, "Connection"),
    ("connection-with-quotes", b"@O@Aconnection: \"close\"\r\ncontent-length: 15\r\n\r\n@B@N", 400, "Connection"),
    ("connection-with-spaces", b"@O@Aconnection: keep-alive close\r\ncontent-length: 15\r\n\r\n@B@N", 400, "Connection"),
    // Chunks.
    ("chunk-size-word", b"@O@Atransfer-encoding: chunked\r\n\r\nxyz\r\n@B\r\n0\r\n\r\n@N", 400, "body"),
    ("chunk-size-0x", b"@O@Atransfer-encoding: chunked\r\n\r\n0xf\r\n@B\r\n0\r\n\r\n@N", 400, "body"),
    ("chunk-size-minus", b"@O@Atransfer-encoding: chunked\r\n\r\n-f\r\n@B\r\n0\r\n\r\n@N", 400, "body"),
    ("chunk-size-plus", b"@O@Atransfer-encoding: chunked\r\n\r\n+f\r\n@B\r\n0\r\n\r\n@N", 400, "body"),
    ("chunk-size-empty", b"@O@Atransfer-encoding: chunked\r\n\r\n\r\n@B\r\n0\r\n\r\n@N", 400, "body"),
    ("chunk-size-space-before", b"@O@Atransfer-encoding: chunked\r\n\r\n f\r\n@B\r\n0\r\n\r\n@N", 400, "body"),
    ("chunk-size-space-after", b"@O@Atransfer-encoding: chunked\r\n\r\nf \r\n@B\r\n0\r\n\r\n@N", 400, "body"),
    ("chunk-size-underscore", b"@O@Atransfer-encoding: chunked\r\n\r\n0_f\r\n@B\r\n0\r\n\r\n@N", 400, "body"),
    ("chunk-size-past-32-bits", b"@O@Atransfer-encoding: chunked\r\n\r\n10000000f\r\n@B\r\n0\r\n\r\n@N", 400, "body"),
    ("chunk-size-past-64-bits", b"@O@Atransfer-encoding: chunked\r\n\r\n1000000000000000f\r\n@B\r\n0\r\n\r\n@N", 400, "body"),
    ("chunk-size-many-zeros", b"@O@Atransfer-encoding: chunked\r\n\r\n00000000f\r\n@B\r\n0\r\n\r\n@N", 400, "body"),
    ("chunk-extension", b"@O@Atransfer-encoding: chunked\r\n\r\nf;a=b\r\n@B\r\n0\r\n\r\n@N", 400, "body"),
    ("chunk-extension-long", b"@O@Atransfer-encoding: chunked\r\n\r\nf;@8k@8k@8k\r\n@B\r\n0\r\n\r\n@N", 400, "body"),
    ("chunk-extension-with-lf", b"@O@Atransfer-encoding: chunked\r\n\r\nf;\n@B\r\n0\r\n\r\n@N", 400, "body"),
    ("chunk-extension-at-the-end", b"@O@Atransfer-encoding: chunked\r\n\r\nf\r\n@B\r\n0;a\r\n\r\n@N", 400, "body"),
    ("chunk-line-bare-lf", b"@O@Atransfer-encoding: chunked\r\n\r\nf\n@B\r\n0\r\n\r\n@N", 400, "body"),
    ("chunk-line-bare-cr", b"@O@Atransfer-encoding: chunked\r\n\r\nf\r@B\r\n0\r\n\r\n@N", 400, "body"),
    ("chunk-too-short", b"@O@Atransfer-encoding: chunked\r\n\r\ne\r\n@B\r\n0\r\n\r\n@N", 400, "body"),
    ("chunk-too-long", b"@O@Atransfer-encoding: chunked\r\n\r\n10\r\n@B\r\n0\r\n\r\n@N", 400, "body"),
    ("chunk-end-bare-lf", b"@O@Atransfer-encoding: chunked\r\n\r\nf\r\n@B\n0\r\n\r\n@N", 400, "body"),
    ("trailer", b"@O@Atransfer-encoding: chunked\r\n\r\nf\r\n@B\r\n0\r\nx: y\r\n\r\n@N", 400, "body"),
    ("trailer-with-length", b"@O@Atransfer-encoding: chunked\r\n\r\nf\r\n@B\r\n0\r\ncontent-length: 5\r\n\r\n@N", 400, "body"),
    ("trailer-that-is-a-request", b"@O@Atransfer-encoding: chunked\r\n\r\nf\r\n@B\r\n0\r\n@N", 400, "body"),
    ("last-chunk-bare-lf", b"@O@Atransfer-encoding: chunked\r\n\r\nf\r\n@B\r\n0\r\n\n@N", 400, "body"),
    // Too much.
    ("path-of-9-kb", b"POST @P/@8k/xxxxxxxx HTTP/1.1\r\nhost: shop\r\n@Acontent-length: 15\r\n\r\n@B@N", 414, "path"),
    ("path-without-end", b"POST @P/@8k@8k@8k", 414, "path"),
    ("header-of-24-kb", b"@O@Ax: @8k@8k@8k\r\ncontent-length: 15\r\n\r\n@B@N", 431, HEADERS),
    ("header-without-end", b"@O@Ax: @8k@8k@8k", 431, HEADERS),
    ("headers-of-24-kb", b"@O@Aa: @8k\r\nb: @8k\r\nc: @8k\r\ncontent-length: 15\r\n\r\n@B@N", 431, HEADERS),
    ("65-headers", b"@O@A@Xcontent-length: 15\r\n\r\n@B@N", 431, HEADERS),
    ("body-announced-too-long", b"@O@Acontent-length: 1000000000000\r\n\r\n@B@N", 413, ""),
    ("body-announced-too-long-politely", b"@O@Aexpect: 100-continue\r\ncontent-length: 1000000000000\r\n\r\n", 413, ""),
    ("chunk-too-long-for-a-body", b"@O@Atransfer-encoding: chunked\r\n\r\nffffff\r\n@8k@8k@8k@8k@8k@8k@8k@8k@8k", 413, ""),
];

/// What is good although it may look odd, and how many orders it is.
#[rustfmt::skip]
pub(crate) const TAKEN: &[(&str, &[u8], usize)] = &[
    ("plain", b"@N", 1),
    ("three-in-a-row", b"@N@N@N", 3),
    ("chunked", b"@O@Atransfer-encoding: chunked\r\n\r\nf\r\n@B\r\n0\r\n\r\n", 1),
    ("chunked-in-pieces", b"@O@ATRANSFER-ENCODING:Chunked\r\n\r\n2\r\n{\"\r\n0000000D\r\nquantity\": 1}\r\n000\r\n\r\n@N", 2),
    ("empty-line-first", b"\r\n@N\r\n@N", 2),
    ("other-cases", b"POST @P HTTP/1.1\r\nHOST: shop\r\n@AContent-LENGTH:15\r\n\r\n@B", 1),
    ("spaces-around-values", b"POST @P HTTP/1.1\r\nhost: \t shop \t \r\n@Acontent-length: \t15 \r\nx:\r\n\r\n@B", 1),
    ("host-with-port", b"POST @P HTTP/1.1\r\nhost: [::1]:8080\r\n@Acontent-length: 15\r\n\r\n@B", 1),
    ("other-languages", b"@O@Ax-name: Zo\xC3\xAB \xE4\r\ncontent-length: 15\r\n\r\n@B", 1),
    ("old-http", b"POST @P HTTP/1.0\r\n@Acontent-length: 15\r\n\r\n@B", 1),
    ("old-http-has-one-request", b"POST @P HTTP/1.0\r\n@Acontent-length: 15\r\n\r\n@B@N@N", 1),
    ("last-request", b"@N@Oconnection: close\r\n@Acontent-length: 15\r\n\r\n@B@N@N", 2),
    ("last-request-in-other-words", b"@N@Oconnection: keep-alive\r\nconnection: x, CLOSE ,\r\n@Acontent-length: 15\r\n\r\n@B@N", 2),
    ("last-request-all-the-same", b"@Oconnection: close\r\nconnection: keep-alive\r\n@Acontent-length: 15\r\n\r\n@B@N", 1),
    ("kept-on-every-line", b"@Oconnection: keep-alive\r\nconnection: Keep-Alive\r\n@Acontent-length: 15\r\n\r\n@B@N", 2),
    ("upgrade-to-http-2", b"@Oconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n@Acontent-length: 15\r\n\r\n@B@N", 2),
    ("upgrade-to-websocket", b"@Oconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n@Acontent-length: 15\r\n\r\n@B@N", 2),
    ("with-a-query", b"POST @P?utm=a%20b&x=/?:@! HTTP/1.1\r\nhost: shop\r\n@Acontent-length: 15\r\n\r\n@B", 1),
    ("header-of-8-kb", b"@O@Ax: @8k\r\ncontent-length: 15\r\n\r\n@B", 1),
];

const CL: &str = "Content-Length";
const TE: &str = "Transfer-Encoding";
const HEADERS: &str = "headers";
const LINE: &str = "request line";

/// The bytes of a shape, for an order of `product` by whom `bearer` names.
pub(crate) fn bytes(text: &[u8], product: &str, bearer: &str) -> Vec<u8> {
    let path = format!("/orders/flash-sale/{product}");
    let line = format!("POST {path} HTTP/1.1\r\nhost: shop\r\n");
    let headers = format!("authorization: {bearer}\r\ncontent-type: application/json\r\n");
    let body = r#"{"quantity": 1}"#;
    let whole = format!("{line}{headers}content-length: {}\r\n\r\n{body}", body.len());
    let letters = "x".repeat(8_000);
    let many: String = (0..64).map(|number| format!("x-{number}: y\r\n")).collect();
    let parts = [
        (&b"@O"[..], line),
        (b"@A", headers),
        (b"@B", body.to_owned()),
        (b"@N", whole),
        (b"@P", path),
        (b"@X", many),
        (b"@8k", letters),
    ];
    let (mut rest, mut bytes) = (text, Vec::new());
    while let Some(first) = rest.first() {
        match parts.iter().find(|(name, _)| rest.starts_with(name)) {
            Some((name, part)) => {
                bytes.extend_from_slice(part.as_bytes());
                rest = &rest[name.len()..];
            }
            None => {
                bytes.push(*first);
                rest = &rest[1..];
            }
        }
    }
    bytes
}
