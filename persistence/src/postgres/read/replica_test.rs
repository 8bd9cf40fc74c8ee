//! When a replica may answer, told by what was seen of it and of the primary.

use super::*;

const LAG_MAX: Duration = Duration::from_secs(5);

fn witness(is_replica: bool, position: u64, database: &str) -> Witness {
    let position = format!("{:X}/{:X}", position >> 32, position & 0xFFFF_FFFF);
    Witness { is_replica, position: position.parse().ok(), database: database.into(), name: None }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// The primary, at a second, stands at a position.
    Primary(u64, u64),
    /// Another database answers as the primary.
    OtherPrimary(u64, u64),
    /// What is configured as the primary is a replica now.
    Demoted(u64, u64),
    /// The replica has replayed up to a position; what changes with that.
    Replica(u64, Option<Fitness>),
    /// It does not answer.
    Silent(Option<Fitness>),
    /// It is a primary.
    Promoted(u64, Option<Fitness>),
    /// It is another shard's.
    Foreign(u64, Option<Fitness>),
    /// Whether it is fresh at a second.
    Fresh(u64, bool),
    /// Whether an answer from a replica at a position counts at a second.
    Proves(u64, u64, bool),
}
use Step::{Demoted, Foreign, Fresh, OtherPrimary, Primary, Promoted, Proves, Replica, Silent};

fn check(what: &str, steps: &[Step]) {
    let start = Instant::now();
    let second = |second| start + Duration::from_secs(second);
    let mut sight = Sight::default();
    for (index, step) in steps.iter().enumerate() {
        let place = format!("{what}, step {index}: {step:?}");
        match *step {
            Primary(at, position) => sight.saw_primary(&witness(false, position, "a"), second(at)),
            OtherPrimary(at, position) => {
                sight.saw_primary(&witness(false, position, "b"), second(at));
            }
            Demoted(at, position) => sight.saw_primary(&witness(true, position, "a"), second(at)),
            Replica(position, change) => {
                assert_eq!(
                    sight.saw_replica(Some(witness(true, position, "a"))),
                    change,
                    "{place}"
                );
            }
            Silent(change) => assert_eq!(sight.saw_replica(None), change, "{place}"),
            Promoted(position, change) => {
                let seen = sight.saw_replica(Some(witness(false, position, "a")));
                assert_eq!(seen, change, "{place}");
            }
            Foreign(position, change) => {
                assert_eq!(
                    sight.saw_replica(Some(witness(true, position, "z"))),
                    change,
                    "{place}"
                );
            }
            Fresh(at, fresh) => assert_eq!(sight.is_fresh(LAG_MAX, second(at)), fresh, "{place}"),
            Proves(at, position, proves) => {
                let proven = sight.proves(&witness(true, position, "a"), LAG_MAX, second(at));
                assert_eq!(proven, proves, "{place}");
            }
        }
    }
}

#[test]
fn it_is_fresh_only_while_that_is_proven() {
    let follows = Some(Fitness::Follows);
    check("nothing is known", &[Fresh(0, false), Proves(0, 10, false)]);
    check("the primary was never seen", &[Replica(10, None), Fresh(1, false)]);
    check("it keeps up", &[Primary(10, 100), Replica(100, follows), Fresh(11, true)]);
    let bounds = [Primary(10, 100), Replica(100, follows), Fresh(15, true), Fresh(16, false)];
    check("it is fresh up to the bound, and not after", &bounds);
    let behind = [Primary(10, 100), Primary(20, 200), Replica(150, follows), Fresh(20, false)];
    check("it is behind", &behind);
    check("it catches up", &[&behind[..], &[Replica(200, None), Fresh(20, true)]].concat());
    let away = [Primary(10, 100), Replica(100, follows), Silent(Some(Fitness::Away))];
    check("it does not answer", &[&away[..], &[Fresh(10, false), Silent(None)]].concat());
    check("it is back", &[&away[..], &[Replica(100, follows), Fresh(10, true)]].concat());
}

#[test]
fn an_answer_counts_by_its_own_proof() {
    let follows = Some(Fitness::Follows);
    let seen = [Primary(10, 100), Primary(14, 200), Replica(200, follows), Fresh(15, true)];
    let from_one_behind = [Proves(15, 99, false), Proves(15, 100, true), Proves(16, 100, false)];
    check("another replica of the URL is behind", &[&seen[..], &from_one_behind].concat());
}

#[test]
fn what_is_no_replica_of_the_shard_is_not_asked() {
    let promoted = Some(Fitness::NoReplica);
    let seen = [Primary(10, 100), Promoted(100, promoted), Fresh(10, false), Promoted(101, None)];
    check("it is a primary, which is told once", &seen);
    check("also before the primary is seen", &[Promoted(100, promoted), Fresh(0, false)]);
    let foreign = Some(Fitness::Foreign);
    check(
        "another shard's",
        &[Primary(10, 1), Foreign(9, foreign), Fresh(10, false), Foreign(9, None)],
    );
    let follows = Some(Fitness::Follows);
    let replaced = [Primary(10, 100), Replica(100, follows), OtherPrimary(11, 5)];
    check("the primary is another one", &[&replaced[..], &[Fresh(11, false)]].concat());
    let demoted = [Primary(10, 100), Demoted(19, 100), Replica(100, follows), Fresh(19, false)];
    check("a primary that became a replica proves nothing", &demoted);
}
