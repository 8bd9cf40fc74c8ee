//! What a client did, as lines of JSON: one when a request is sent, one when it is answered.
//!
//! ```text
//! {"begun":{"version":1}}
//! {"sent":{"operation":0,"client":3,"atUs":1700000000000000,"ask":{"place":{…}}}}
//! {"answered":{"operation":0,"atUs":1700000000000412,"answer":{"refused":"sold-out"}}}
//! ```
//!
//! A request without an answer has no second line, or one that says `"unknown"`. The last line may
//! be cut short: its writer was killed.

use crate::answer::Answer;
use crate::operation::{Ask, Operation};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io::{self, BufRead};

/// The version of this form.
pub const VERSION: u32 = 1;

/// One line of a journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Line {
    /// The first line.
    Begun(Begun),
    /// A request leaves.
    Sent(Sent),
    /// An answer is there, or there will be none.
    Answered(Answered),
}

/// How a journal begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Begun {
    /// The form of what follows.
    pub version: u32,
    /// Whether the engine itself was asked, and no edge.
    #[serde(default)]
    pub asks_engine: bool,
}

/// A request as it leaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sent {
    /// Its number in this journal.
    pub operation: u64,
    /// Who sent it.
    pub client: u32,
    /// When, in microseconds since the epoch.
    pub at_us: u64,
    /// What was asked.
    pub ask: Ask,
    /// How people call what was asked. The checker does not look at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub called: Option<Box<Called>>,
}

/// Names for what are ids to the checker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Called {
    /// The number of the attempt that this request is part of.
    pub attempt: u64,
    /// The buyer's name.
    pub buyer: String,
    /// The product's name.
    pub product: String,
    /// The idempotency key, as it was sent.
    pub key: String,
}

/// The end of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answered {
    /// The number of the request.
    pub operation: u64,
    /// When, in microseconds since the epoch.
    pub at_us: u64,
    /// What was told.
    pub answer: Answer,
}

/// Why a journal cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file cannot be read.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// A line is none of a journal's.
    #[error("line {line} is no line of a journal: {source}")]
    Line {
        /// The number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The journal has another form.
    #[error("it is of version {0}, and version {VERSION} is understood")]
    Version(u32),
    /// An answer to nothing.
    #[error("operation {0} is answered, and was not sent before")]
    AnsweredUnsent(u64),
}

/// Every line, in order. A last line that was cut short is left out.
pub fn read_lines(from: impl BufRead) -> Result<Vec<Line>, JournalError> {
    let mut lines = Vec::new();
    for (index, line) in from.split(b'\n').enumerate() {
        let line = line?;
        match serde_json::from_slice(&line) {
            Ok(Line::Begun(Begun { version, .. })) if version != VERSION => {
                return Err(JournalError::Version(version));
            }
            Ok(line) => lines.push(line),
            Err(error) if error.is_eof() => {}
            Err(source) => return Err(JournalError::Line { line: index + 1, source }),
        }
    }
    Ok(lines)
}

/// What the lines of one journal come to. Numbers of operations are raised by `base`, so that those
/// of several journals differ.
pub fn operations(
    lines: impl IntoIterator<Item = Line>,
    base: u64,
) -> Result<Vec<Operation>, JournalError> {
    let mut operations: Vec<Operation> = Vec::new();
    let mut open: HashMap<u64, usize> = HashMap::new();
    for line in lines {
        match line {
            Line::Begun(_) => {}
            Line::Sent(Sent { operation, client, at_us, ask, .. }) => {
                open.insert(operation, operations.len());
                operations.push(Operation {
                    number: base + operation,
                    client,
                    sent_us: at_us,
                    ask,
                    answered_us: None,
                    answer: Answer::Unknown,
                });
            }
            Line::Answered(Answered { operation, at_us, answer }) => {
                let index = open.remove(&operation);
                let index = index.ok_or(JournalError::AnsweredUnsent(operation))?;
                operations[index].answered_us = Some(at_us);
                operations[index].answer = answer;
            }
        }
    }
    Ok(operations)
}

/// A journal in memory, for clients that are simulated.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    operations: Vec<Operation>,
}

impl Recorder {
    /// A request leaves; its number.
    pub fn sent(&mut self, client: u32, at_us: u64, ask: Ask) -> u64 {
        let number = self.operations.len() as u64;
        self.operations.push(Operation {
            number,
            client,
            sent_us: at_us,
            ask,
            answered_us: None,
            answer: Answer::Unknown,
        });
        number
    }

    /// A request was answered. One that never is has an unknown fate.
    pub fn answered(&mut self, number: u64, at_us: u64, answer: Answer) {
        let operation = &mut self.operations[number as usize];
        operation.answered_us = Some(at_us);
        operation.answer = answer;
    }

    /// All operations so far.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::{OrderSeen, Refusal};
    use crate::ids::{BuyerId, KeyId, OrderId, ProductId};
    use crate::terms::Status;

    fn place() -> Ask {
        Ask::Place {
            product: ProductId::new(1),
            buyer: BuyerId::new(2),
            key: Some(KeyId::new(3)),
            quantity: 4,
            waitlist: true,
        }
    }

    #[test]
    fn lines_are_read_back_and_a_cut_one_is_left_out() {
        let seen = OrderSeen::new(OrderId::new(9), Status::Pending);
        let answer = |operation, answer| Line::Answered(Answered { operation, at_us: 11, answer });
        let sent = |operation| {
            let called = Some(Box::new(Called { buyer: "ann".to_owned(), ..Called::default() }));
            Line::Sent(Sent { operation, client: 1, at_us: 10, ask: place(), called })
        };
        let lines = vec![
            Line::Begun(Begun { version: VERSION, asks_engine: true }),
            sent(0),
            sent(1),
            sent(2),
            answer(1, Answer::Refused(Refusal::OrderFinal(Some(Status::Paid)))),
            answer(0, Answer::Order { seen: Box::new(seen), replayed: true }),
            answer(2, Answer::Refused(Refusal::SoldOut)),
        ];
        let text: Vec<String> =
            lines.iter().map(|line| serde_json::to_string(line).expect("JSON") + "\n").collect();
        let text = text.concat();
        assert!(text.contains(r#""answer":{"refused":"sold-out"}"#), "{text}");
        assert!(text.contains(r#""ask":{"place":{"product":"#), "{text}");
        let read = read_lines(text.as_bytes()).expect("a journal");
        assert_eq!(read, lines);
        let cut = read_lines(&text.as_bytes()[..text.len() - 9]).expect("a journal");
        assert_eq!(cut, lines[..6]);

        let found = operations(cut, 100).expect("operations");
        assert_eq!(found.len(), 3);
        assert_eq!((found[2].number, found[2].answered_us), (102, None));
        assert_eq!((&found[2].answer, found[0].answered_us), (&Answer::Unknown, Some(11)));
        assert!(read_lines(&b"nonsense\n{}\n"[..]).is_err());
        assert!(read_lines(&b"{\"begun\":{\"version\":2}}\n"[..]).is_err());
        assert!(operations(lines[4..].to_vec(), 0).is_err());
    }
}
