//! The store as lines of JSON, one row to a line.
//!
//! ```text
//! {"order":{"order":"…","product":"…","buyer":"…","quantity":1,…}}
//! {"product":{"product":"…","terms":{…},"state":"open",…}}
//! ```

use crate::row::{Row, Rows};
use std::io::{self, BufRead};

/// Why rows cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RowLineError {
    /// The file cannot be read.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// A line is no row.
    #[error("line {line} is no row: {source}")]
    Line {
        /// The number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// Every row.
pub fn read(from: impl BufRead) -> Result<Rows, RowLineError> {
    let mut rows = Rows::default();
    for (index, line) in from.split(b'\n').enumerate() {
        let line = line?;
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let row = serde_json::from_slice(&line)
            .map_err(|source| RowLineError::Line { line: index + 1, source })?;
        match row {
            Row::Order(row) => rows.orders.push(row),
            Row::Product(row) => rows.products.push(row),
        }
    }
    Ok(rows)
}
