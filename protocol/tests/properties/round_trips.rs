//! What is written is read back.

use crate::arbitrary::{event, reply, request};
use doorbuster_protocol::event::Events;
use doorbuster_protocol::record::{Malformed, Reader};
use doorbuster_protocol::{
    BuyerId, OrderId, PartitionId, Request, Sequence, Timestamp, limits, outcome::Reply, routing,
};
use proptest::collection::vec;
use proptest::prelude::*;

proptest! {
    #[test]
    fn requests(requests in vec(request(), 1..20)) {
        let mut bytes = Vec::new();
        for request in &requests {
            prop_assert_eq!(request.check(), Ok(()));
            request.encode(&mut bytes);
        }
        let mut from = Reader::new(&bytes);
        for request in requests {
            prop_assert_eq!(Request::decode(&mut from), Ok(request));
        }
        prop_assert!(from.is_empty());
    }

    #[test]
    fn replies(replies in vec(reply(), 1..20)) {
        let mut bytes = Vec::new();
        for reply in &replies {
            reply.encode(&mut bytes);
        }
        let mut from = Reader::new(&bytes);
        for reply in replies {
            prop_assert_eq!(Reply::decode(&mut from), Ok(reply));
        }
        prop_assert!(from.is_empty());
    }

    #[test]
    fn events(events in vec(event(), 1..20), first in 1..u64::MAX / 2) {
        let mut bytes = Vec::new();
        for event in &events {
            event.encode(&mut bytes);
        }
        let count = events.len() as u32;
        let read = Events::new(&bytes, Sequence::new(first), count);
        let expected = (first..).map(Sequence::new).zip(events).map(Ok);
        prop_assert!(read.eq(expected));
        // One more than there are, and one fewer.
        let errors = |count| Events::new(&bytes, Sequence::new(1), count).last().expect("events");
        prop_assert_eq!(errors(count + 1), Err(Malformed::Truncated));
        prop_assert_eq!(errors(count - 1), Err(Malformed::Oversized));
    }

    #[test]
    fn records_cut_short_are_truncated(request in request(), reply in reply(), cut in 0.0..1.0) {
        let mut bytes = Vec::new();
        request.encode(&mut bytes);
        let short = &bytes[..(bytes.len() as f64 * cut) as usize];
        prop_assert_eq!(Request::decode(&mut Reader::new(short)), Err(Malformed::Truncated));
        bytes.clear();
        reply.encode(&mut bytes);
        let short = &bytes[..(bytes.len() as f64 * cut) as usize];
        prop_assert_eq!(Reply::decode(&mut Reader::new(short)), Err(Malformed::Truncated));
    }

    #[test]
    fn order_ids(
        millis in 0..1u64 << 48,
        partition in 0..limits::PARTITIONS_MAX,
        buyer: [u8; 16],
        sequence in 1..1u64 << 40,
        bit in 0..128usize,
    ) {
        let at = Timestamp::from_micros(millis * 1000);
        let partition = PartitionId::new(partition).expect("in range");
        let buyer = BuyerId::from_bytes(buyer);
        let order = OrderId::new(at, partition, buyer, Sequence::new(sequence));
        prop_assert!(order.is_sound());
        prop_assert_eq!(order.partition(), partition);
        prop_assert_eq!(order.bucket(), routing::bucket_of(buyer));
        prop_assert_eq!(order.sequence_bits(), sequence);
        prop_assert_eq!(order.created_ms(), at);
        prop_assert_eq!(order.to_string().parse(), Ok(order));
        let mut bytes = *order.as_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(!OrderId::from_bytes(bytes).is_sound());
    }
}
