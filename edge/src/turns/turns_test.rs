//! Turns as tasks of a runtime take them.

use super::*;
use crate::metrics::EdgeMetrics;
use std::future::pending;
use tokio::task::LocalSet;

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    LocalSet::new().block_on(&runtime.expect("a runtime"), test)
}

/// As many turns as there are at first.
async fn take_all(turns: &Turns, entrant: Entrant) -> Vec<Turn> {
    let mut taken = Vec::new();
    let most = 512;
    for _ in 0..most {
        taken.push(turns.turn(entrant).await.expect("there are turns"));
    }
    taken
}

const ORDER: Entrant = Entrant::Order { core: 1 };

#[test]
fn a_turn_that_ends_is_the_next_ones() {
    run(async {
        let turns = Rc::new(Turns::new(Some(Duration::from_secs(60)), 4_096));
        turns.start(EdgeMetrics::new(1).thread(0));
        let mut taken = take_all(&turns, ORDER).await;
        let waiting = tokio::task::spawn_local({
            let turns = Rc::clone(&turns);
            async move { turns.turn(ORDER).await }
        });
        tokio::task::yield_now().await;
        assert_eq!(turns.look(Instant::now()), 1);
        // Neither another core nor the other lane has to wait for these.
        assert!(turns.turn(Entrant::Order { core: 0 }).await.is_some());
        assert!(turns.turn(Entrant::Anonymous).await.is_some());
        taken.pop();
        assert!(waiting.await.expect("no panic").is_some());
        assert_eq!((turns.look(Instant::now()), turns.turns_of_orders()), (0, 1_024));
    });
}

#[test]
fn nobody_waits_for_ever_and_who_gives_up_is_forgotten() {
    run(async {
        let turns = Rc::new(Turns::new(Some(Duration::from_millis(50)), 4_096));
        turns.start(EdgeMetrics::new(1).thread(0));
        let taken = take_all(&turns, ORDER).await;
        let gives_up = turns.turn(ORDER);
        tokio::select! {
            biased;
            _ = gives_up => panic!("there is no turn"),
            () = tokio::task::yield_now() => {}
        }
        assert_eq!(turns.look(Instant::now()), 0);
        assert!(turns.turn(ORDER).await.is_none());
        let first = turns.sent_away();
        assert_eq!(first.code(), Code::Overloaded);
        assert_ne!(first, turns.sent_away(), "they are to come back at different times");
        drop(taken);
        assert!(turns.turn(ORDER).await.is_some());
    });
}

#[test]
fn a_turn_is_lent_out_while_its_owner_waits_for_a_client() {
    run(async {
        let turns = Rc::new(Turns::new(Some(Duration::from_secs(60)), 4_096));
        turns.start(EdgeMetrics::new(1).thread(0));
        let mut taken = take_all(&turns, ORDER).await;
        let mut slow = taken.pop().expect("one of many");
        assert_eq!(slow.aside(async { 7 }).await, 7);
        let (tell, told) = tokio::sync::oneshot::channel::<()>();
        let dawdling = tokio::task::spawn_local(async move {
            slow.aside(told).await.expect("it is told");
            slow
        });
        let next = turns.turn(ORDER).await;
        assert!(next.is_some());
        tell.send(()).expect("it listens");
        let slow = dawdling.await.expect("no panic");
        // Now there is one more than there may be, and whoever comes has to wait for two to end.
        let (third, fourth) = (turns.turn(ORDER), async {
            drop(slow);
            tokio::task::yield_now().await;
            assert_eq!(turns.look(Instant::now()), 1);
            drop(next);
        });
        let (third, ()) = tokio::join!(third, fourth);
        assert!(third.is_some());
    });
}

#[test]
fn without_a_longest_wait_everybody_begins_at_once() {
    run(async {
        let turns = Turns::new(None, 4_096);
        let mut taken = Vec::new();
        for _ in 0..5_000 {
            taken.push(turns.turn(ORDER).await.expect("always"));
        }
        let mut dawdles = taken.pop().expect("one of many");
        tokio::select! {
            biased;
            () = dawdles.aside(pending::<()>()) => unreachable!("it never ends"),
            () = tokio::task::yield_now() => {}
        }
    });
}
