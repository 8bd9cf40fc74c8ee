//! A disk that takes a few writes in a second: answers become slow, what would take too long is
//! refused, and none is false. When the disk is itself again, so is the sale.

use crate::support::control_group::ControlGroup;
use crate::support::disk::Disk;
use crate::support::stored::Stored;
use crate::support::{Server, doorbuster_after, wait_until};
use crate::trial::{Trial, dial, times};
use crate::witness::{Came, Sighting};
use std::thread;
use std::time::{Duration, Instant};

/// Writes per second: so many that a sale goes on slowly, and so few that most has to be refused.
const SLOW: [u32; 2] = [40, 4];
/// Requests that may be under way, and so the most that one write makes durable.
const IN_FLIGHT: u64 = 64;
/// What is slow: without a limit most answers take a few milliseconds.
const SLOW_ANSWER: Duration = Duration::from_millis(20);

#[test]
fn a_slow_disk_makes_answers_slow_and_none_false() {
    let mut trial = Trial::of("slow disk");
    let image = trial.path("image");
    let Some(group) = trial.needs(ControlGroup::of_disks()) else { return };
    let Some(disk) = trial.needs(Disk::ext4(&image, 128, &[])) else { return };
    let data = disk.path().join("data");
    let store = Stored::Sqlite(trial.path("store.sqlite"));
    let place = format!("sqlite:{}", trial.path("store.sqlite").display());
    let flags = ["--cores", "1", "--edge-threads", "1", "--partitions", "4", "--store", &place];
    let in_flight = IN_FLIGHT.to_string();
    let flags = [&flags[..], &["--order-timeout", "500ms", "--in-flight", &in_flight]].concat();
    let command = doorbuster_after(&group.join());
    let server = Server::start_as(command, &data, "127.0.0.1:0", &flags);
    trial.open_sale(server.http, &data);
    let load = trial.load(server.http, &data, None);
    let witness = trial.witness(server.http, &data);
    for writes in (0..times(1, 5)).flat_map(|_| SLOW) {
        trial.until_sold(&load, Instant::now());
        group.limit_writes(&disk.device(), Some(writes));
        let (begun, before) = (Instant::now(), load.progress.accepted());
        thread::sleep(dial(Duration::from_millis(1_500), Duration::from_secs(10)));
        wait_until("it is slow", || witness.seen().since(begun).any(|it| it.took > SLOW_ANSWER));
        let sold = load.progress.accepted() - before;
        // A second's writes may be saved up.
        let most = u64::from(writes) * (begun.elapsed().as_secs() + 2) * IN_FLIGHT;
        assert!(sold <= most, "{sold} sold with {writes} writes/s in {:?}", begun.elapsed());
        group.limit_writes(&disk.device(), None);
        trial.fault();
        trial.until_sold(&load, Instant::now());

        let seen = witness.seen();
        let is_true = |it: &Sighting| matches!(it.came, Came::Order | Came::Refusal(503, _));
        assert_eq!(seen.since(begun).find(|it| !is_true(it)), None);
        let slow = seen.since(begun).filter(|it| it.took > SLOW_ANSWER).count();
        let refused = seen.since(begun).filter(|it| it.came != Came::Order).count();
        eprintln!("{writes} writes/s: {sold} sold, {refused} refused, {slow} slow");
    }
    let (acknowledged, _) = trial.end_load(load, witness);
    trial.settle(server, &store, &acknowledged);
}
