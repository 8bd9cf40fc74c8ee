//! A lane by a clock of the test's own: calm, a burst that passes, overload, and the way back.

use super::*;
use std::task::{Context, Poll, Waker};

const MOST: Duration = Duration::from_secs(1);
const STEP: Duration = Duration::from_millis(10);
/// So many are in progress at a time, as nothing here ever says how long a request took.
const TURNS: usize = 16;

/// A server that ends some turns in each step, and remembers how its clients fared.
struct World {
    lane: Lane,
    now: Instant,
    waiting: Vec<(Instant, Place)>,
    /// How long those who were called had waited.
    called: Vec<Duration>,
    /// How long those who were sent away had waited.
    sent_away: Vec<Duration>,
}

impl World {
    fn new() -> Self {
        let limit = Limit::new(Duration::from_millis(25), TURNS);
        Self {
            lane: Lane::new(limit, Waits::new(MOST)),
            now: Instant::now(),
            waiting: Vec::new(),
            called: Vec::new(),
            sent_away: Vec::new(),
        }
    }

    /// Steps in each of which some arrive and at most some end.
    fn run(&mut self, steps: usize, arrive: usize, end: usize, may_hurry: bool) {
        for _ in 0..steps {
            for _ in 0..arrive {
                match self.lane.enter(self.now) {
                    Entry::Now => self.called.push(Duration::ZERO),
                    Entry::Waits(place) => self.waiting.push((self.now, place)),
                }
            }
            self.now += STEP;
            for _ in 0..end.min(self.lane.in_progress) {
                self.lane.end(self.now);
            }
            let told = self.lane.look(self.now, may_hurry);
            let before = self.sent_away.len();
            self.listen();
            assert_eq!(self.sent_away.len() - before, told);
            assert!(self.lane.in_progress <= TURNS);
            assert_eq!(self.lane.waiting(), self.waiting.len());
            assert!(
                self.waiting.is_empty() || self.lane.in_progress == TURNS,
                "nobody waits while there is a turn"
            );
        }
    }

    fn listen(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        let (lane, now) = (&mut self.lane, self.now);
        let (called, sent_away) = (&mut self.called, &mut self.sent_away);
        self.waiting.retain(|(since, place)| match lane.line().poll(place, &mut context) {
            Poll::Pending => true,
            Poll::Ready(Word::Called) => {
                called.push(now - *since);
                false
            }
            Poll::Ready(Word::SentAway) => {
                sent_away.push(now - *since);
                false
            }
        });
    }
}

#[test]
fn without_overload_everybody_has_a_turn_in_order() {
    let mut world = World::new();
    // A part of what can be served, and now and then what is served in 39 steps.
    for _ in 0..5 {
        world.run(100, 2, 10, true);
        for _ in 0..390 {
            let Entry::Waits(place) = world.lane.enter(world.now) else { continue };
            world.waiting.push((world.now, place));
        }
        let longest_before = world.called.len();
        world.run(300, 2, 10, true);
        assert!(world.waiting.is_empty());
        assert!(world.called[longest_before..].iter().max() > Some(&Duration::from_millis(300)));
    }
    assert!(world.sent_away.is_empty());
}

#[test]
fn a_line_that_never_ends_but_moves_is_no_overload() {
    let mut world = World::new();
    world.run(9, 20, 10, true);
    // 90 wait, each of them for less than a tenth of a second.
    world.run(1_000, 10, 10, true);
    assert!(world.sent_away.is_empty());
    assert!(world.called.iter().all(|waited| *waited <= Duration::from_millis(110)));
}

#[test]
fn overload_serves_whoever_came_last_and_tells_the_hopeless() {
    let mut world = World::new();
    world.run(200, 100, 10, true);
    assert!(world.lane.is_overloaded && world.lane.is_crowded());
    let (called, sent_away) = (world.called.len(), world.sent_away.len());
    world.run(1_000, 100, 10, true);
    assert_eq!(world.called.len() - called, 10_000, "every turn is used");
    let waits = &world.called[called..];
    assert!(waits.iter().all(|waited| *waited <= 2 * STEP), "{:?}", waits.iter().max());
    let refused = &world.sent_away[sent_away..];
    assert_eq!(refused.len(), 90_000);
    assert!(refused.iter().all(|waited| *waited <= Duration::from_millis(120)));
    // Half of what can be served comes: within a second nobody waits, and nobody is sent away.
    world.run(30, 5, 10, true);
    assert!(world.waiting.is_empty() && !world.lane.is_overloaded);
    let sent_away = world.sent_away.len();
    world.run(500, 5, 10, true);
    assert_eq!(world.sent_away.len(), sent_away);
}

#[test]
fn a_busy_thread_tells_no_more_than_its_turns_pay_for_until_nobody_may_wait_longer() {
    let mut world = World::new();
    world.run(300, 12, 8, false);
    let sent_away = world.sent_away.len();
    world.run(1_000, 12, 8, false);
    // 4 in each step get no turn. One in two steps is told early, for 16 that had one; the others wait
    // to the end.
    let refused = &world.sent_away[sent_away..];
    assert!((3_900..=4_100).contains(&refused.len()), "{}", refused.len());
    assert!(refused.iter().all(|waited| *waited <= MOST + STEP));
    assert!(refused.iter().any(|waited| *waited >= MOST));
    assert_eq!(world.lane.waiting(), world.waiting.len());
}

#[test]
fn who_leaves_the_line_gives_back_what_it_was_given() {
    let mut world = World::new();
    world.run(1, TURNS + 2, 0, true);
    assert_eq!(world.waiting.len(), 2);
    let (_, first) = world.waiting.remove(0);
    let (_, second) = world.waiting.remove(0);
    assert_eq!(world.lane.line().leave(&first), None);
    world.lane.end(world.now);
    assert_eq!(world.lane.line().leave(&second), Some(Word::Called));
    world.lane.end(world.now);
    assert_eq!((world.lane.in_progress, world.lane.waiting()), (TURNS - 1, 0));
}
