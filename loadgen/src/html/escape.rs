//! Text from outside, made harmless: what stands in a page through this is text and nothing else.

use std::fmt::{self, Write};

/// Shows a text so that it can stand between tags and in quoted attributes.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                // What a page may not contain, even escaped.
                '\0'..='\x08' | '\x0b'..='\x1f' | '\x7f' => f.write_char('\u{fffd}')?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_a_tag_or_a_quote() {
        let text = Escaped("<a href=\"x\" id='y'>&amp;\0</a>").to_string();
        let want = "&lt;a href=&quot;x&quot; id=&#39;y&#39;&gt;&amp;amp;\u{fffd}&lt;/a&gt;";
        assert_eq!(text, want);
    }
}
