//! What a consumer of the feed can rely on.

#[allow(dead_code, reason = "the other test binary uses the rest")]
mod server;

use doorbuster_client::{ClientError, FeedClient, FeedItem};
use doorbuster_protocol::event::{Event, Fact};
use doorbuster_protocol::session::FeedBatch;
use doorbuster_protocol::{Epoch, PartitionId, Sequence, Timestamp};
use server::{Core, KEY, eventually, run};

fn partition(number: u16) -> PartitionId {
    PartitionId::new(number).expect("in range")
}

fn events(count: u64) -> (Vec<Event>, Vec<u8>) {
    let event = |number| Event {
        at: Timestamp::from_micros(number),
        fact: Fact::Acknowledged { consumer: 1, through: Sequence::new(number) },
    };
    let events: Vec<_> = (1..=count).map(event).collect();
    let mut bytes = Vec::new();
    for event in &events {
        event.encode(&mut bytes);
    }
    (events, bytes)
}

#[test]
fn a_consumer_reads_what_it_subscribed_to_and_says_what_it_has() {
    run(async {
        let core = Core::start(4).await;
        let mut feed = FeedClient::connect(core.address, &KEY).await.expect("the core is there");
        assert_eq!(feed.map().partitions.get(), 4);
        feed.subscribe(partition(3), 0, Sequence::new(11));
        feed.flush().await.expect("written");
        eventually("subscribed", || {
            *core.subscribed.borrow() == [(partition(3), 0, Sequence::new(11))]
        })
        .await;

        let (sent, bytes) = events(20_000);
        core.say(move |session| {
            session.batch(&FeedBatch {
                partition: partition(3),
                epoch: Epoch::FIRST,
                first: Sequence::new(11),
                count: 20_000,
                durable: Sequence::new(20_010),
                durable_at: Timestamp::from_micros(5),
                events: &bytes,
            });
            session.goodbye();
            session.feed_gone(partition(2), Sequence::new(77));
        });
        // Dropped many times while the batch arrives in pieces: nothing of it gets lost.
        let item = loop {
            tokio::select! {
                biased;
                item = feed.next() => break item.expect("a batch"),
                () = tokio::task::yield_now() => {}
            }
        };
        let read: Vec<_> = item.events().map(|event| event.expect("sound")).collect();
        assert_eq!(read.len(), sent.len());
        for (index, (sequence, event)) in read.iter().enumerate() {
            assert_eq!(sequence.get(), 11 + index as u64);
            assert_eq!(*event, sent[index]);
        }
        let FeedItem::Batch { partition: of, durable, epoch, .. } = item else {
            panic!("expected a batch: {item:?}")
        };
        assert_eq!((of, durable), (partition(3), Sequence::new(20_010)));

        feed.acknowledge(of, 0, epoch, durable);
        let gone = feed.next().await.expect("an item");
        let expected = FeedItem::Gone { partition: partition(2), first: Sequence::new(77) };
        assert_eq!(gone, expected);
        assert_eq!(gone.events().count(), 0);
        eventually("acknowledged", || {
            *core.acknowledged.borrow() == [(partition(3), 0, Epoch::FIRST, durable)]
        })
        .await;
    });
}

#[test]
fn a_feed_that_ends_says_so() {
    run(async {
        let core = Core::start(1).await;
        let mut feed = FeedClient::connect(core.address, &KEY).await.expect("the core is there");
        core.say(doorbuster_protocol::session::ServerSession::goodbye);
        core.hang_up();
        let ended = feed.next().await;
        assert!(
            matches!(ended, Err(ClientError::Lost | ClientError::Io(_) | ClientError::Protocol(_))),
            "{ended:?}"
        );
    });
}

#[test]
fn a_feed_client_can_be_sent_to_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<FeedClient>();
}
