//! Writes small JSON documents by hand: fields in the order in which they are given, ids and times
//! without a text in between.

use crate::time::write_rfc3339;
use doorbuster_protocol::Timestamp;
use std::fmt::Display;
use std::io::Write;

/// An object that is being written.
#[derive(Debug)]
pub(crate) struct Object {
    out: Vec<u8>,
    empty: bool,
}

impl Object {
    /// An object without fields; `capacity` bytes are reserved.
    pub(crate) fn new(capacity: usize) -> Self {
        Self::within(Vec::with_capacity(capacity))
    }

    /// An object that goes on at the end of `out`.
    pub(crate) fn within(mut out: Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, empty: true }
    }

    /// An object that goes on after fields that are written already, its opening brace included.
    pub(crate) fn after(fields: &str, capacity: usize) -> Self {
        let mut out = Vec::with_capacity(fields.len() + capacity);
        out.extend_from_slice(fields.as_bytes());
        Self { out, empty: false }
    }

    fn name(&mut self, name: &str) {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    /// A text, escaped.
    pub(crate) fn text(&mut self, name: &str, value: &str) -> &mut Self {
        self.name(name);
        write_text(value, &mut self.out);
        self
    }

    /// A word that needs no escapes: an id, a code, a currency.
    pub(crate) fn word(&mut self, name: &str, value: impl Display) -> &mut Self {
        self.name(name);
        write!(self.out, "\"{value}\"").expect("a vector takes all bytes");
        self
    }

    /// A whole number.
    pub(crate) fn number(&mut self, name: &str, value: impl Into<i128>) -> &mut Self {
        self.name(name);
        let value: i128 = value.into();
        // 128-bit formatting is slow, and nearly every number here is small and not negative.
        match u64::try_from(value) {
            Ok(small) => write!(self.out, "{small}"),
            Err(_) => write!(self.out, "{value}"),
        }
        .expect("a vector takes all bytes");
        self
    }

    /// A time, or `null` for none.
    pub(crate) fn time(&mut self, name: &str, at: Timestamp) -> &mut Self {
        self.name(name);
        if at.is_none() {
            self.out.extend_from_slice(b"null");
        } else {
            self.out.push(b'"');
            write_rfc3339(at, &mut self.out);
            self.out.push(b'"');
        }
        self
    }

    /// `null`.
    pub(crate) fn null(&mut self, name: &str) -> &mut Self {
        self.name(name);
        self.out.extend_from_slice(b"null");
        self
    }

    /// An array of objects, each written by `write` into an object of its own.
    pub(crate) fn objects<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) -> &mut Self {
        self.name(name);
        self.out.push(b'[');
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            let mut object = Self::within(std::mem::take(&mut self.out));
            write(&mut object, item);
            self.out = object.finish();
        }
        self.out.push(b']');
        self
    }

    /// The bytes of the whole object.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.out.push(b'}');
        self.out
    }
}

fn write_text(value: &str, out: &mut Vec<u8>) {
    // Without a way out in the middle this takes many bytes at a time, and nearly every text passes.
    let is_plain = value
        .bytes()
        .fold(true, |is_plain, byte| is_plain & (byte >= b' ') & (byte != b'"') & (byte != b'\\'));
    if is_plain {
        out.push(b'"');
        out.extend_from_slice(value.as_bytes());
        out.push(b'"');
        return;
    }
    serde_json::to_writer(&mut *out, value).expect("a text is JSON and a vector takes all bytes");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_out_in_order_and_escaped() {
        let mut object = Object::new(0);
        object
            .text("text", "a \"b\"\n\u{7}é")
            .word("word", "USD")
            .number("number", u64::MAX)
            .number("negative", -5_i64)
            .time("time", Timestamp::from_micros(1_000_000))
            .time("never", Timestamp::NONE)
            .null("null")
            .objects("list", [1_u32, 2], |item, value| {
                item.number("n", value);
            })
            .objects("empty", [0_u32; 0], |_, _| {});
        let expected = concat!(
            r#"{"text":"a \"b\"\n\u0007é","word":"USD","number":18446744073709551615,"#,
            r#""negative":-5,"time":"1970-01-01T00:00:01Z","never":null,"null":null,"#,
            r#""list":[{"n":1},{"n":2}],"empty":[]}"#
        );
        let written = object.finish();
        assert_eq!(String::from_utf8(written.clone()).unwrap(), expected);
        serde_json::from_slice::<serde_json::Value>(&written).unwrap();
    }

    #[test]
    fn an_empty_object_is_json() {
        assert_eq!(Object::new(0).finish(), b"{}");
    }
}
