//! The events of a partition are dense, their times never go back, and they speak of what is there.

use crate::books::Books;
use crate::books::partition::PartitionBook;
use crate::event::{Event, Fact};
use crate::verdict::{Findings, Kind};

pub(super) fn check(books: &Books, event: &Event, found: &mut Findings) {
    let position = event.position;
    let mut broken = |what: String, why: String| {
        found.in_log(Kind::BrokenLog, position, what, why);
    };
    let partition = books.partitions.get(&position.partition);
    let last = partition.map_or(0, PartitionBook::last);
    if position.sequence != last + 1 {
        let what = format!("event {position} follows event {}/{last}", position.partition);
        let why = if partition.is_none() {
            "a log is judged from its first event on, which is number 1; was it trimmed?"
        } else {
            "the events of a partition are numbered without a gap, each once"
        };
        broken(what, why.to_owned());
    }
    if let Some(partition) = partition
        && event.at_us < partition.last_us()
    {
        let back = partition.last_us() - event.at_us;
        let what = format!("the time of event {position} is {back} us before that of the last");
        broken(what, "the time of a partition does not go back".to_owned());
    }
    match &event.fact {
        Fact::Acknowledged { consumer, through } => {
            let before = partition.map_or(0, |partition| partition.acknowledged_by(*consumer));
            if *through >= position.sequence || *through < before {
                let what = format!(
                    "consumer {consumer} acknowledges event {through} in event {position}, after \
                     event {before}"
                );
                broken(what, "a consumer has what was there, and does not go back".to_owned());
            }
        }
        fact => {
            let Some(product) = fact.product() else { return };
            match books.product(product) {
                Some(book) if book.first.partition != position.partition => {
                    let what = format!("product {product} is in the log of two partitions");
                    broken(what, format!("event {} is about it, too", book.first));
                }
                None if !matches!(fact, Fact::Defined { .. }) => {
                    let what = format!("event {position} is about product {product}");
                    broken(what, "no event before it defined the product".to_owned());
                }
                _ => {}
            }
        }
    }
}
