//! Damage to a log is refused with file, offset and sequence; what a crash leaves is repaired.

mod support;

use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use support::{Server, run, run_well, verify_and_audit};

/// The unit in which the log is written.
const BLOCK: usize = 4096;
const ORDERS: usize = 40;

/// A data directory with one partition, and in it a product and some orders, one frame each; the
/// server was killed, so nothing was tidied up.
fn killed_shop(home: &Path) -> (PathBuf, Vec<String>) {
    let data = home.join("data");
    let server = Server::start_with(&data, "127.0.0.1:0", &["--partitions", "1"]);
    server.define("lamp", &json!({ "price": 1, "currency": "USD", "stock": 1000 }));
    let ann = server.token("ann");
    let mut client = server.client();
    let orders =
        (0..ORDERS).map(|_| client.buy("lamp", &ann, None, false).order()).collect::<Vec<_>>();
    server.kill();
    (data, orders)
}

fn segment(data: &Path) -> PathBuf {
    let folder = data.join("partitions/0000");
    let mut logs: Vec<_> = fs::read_dir(folder)
        .expect("a partition")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    logs.sort();
    logs.pop().expect("a segment")
}

/// The last block that holds anything.
fn last_block(bytes: &[u8]) -> usize {
    let blocks = bytes.chunks(BLOCK).collect::<Vec<_>>();
    blocks.iter().rposition(|block| block.iter().any(|byte| *byte != 0)).expect("a frame")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn a_bit_flipped_in_the_middle_is_refused_with_its_place() {
    let home = tempfile::tempdir().expect("a directory");
    let (data, _) = killed_shop(home.path());
    let log = segment(&data);
    let sound = fs::read(&log).expect("a segment");
    let middle = last_block(&sound) / 2 * BLOCK;
    let mut damaged = sound.clone();
    damaged[middle + 100] ^= 0x10;
    fs::write(&log, &damaged).expect("written");

    let serve = ["serve", "--data", text(&data), "--http", "127.0.0.1:0", "--admin", "off"];
    let [verify, stats, dump] =
        ["verify", "stats", "dump"].map(|tool| ["log", tool, "--data", text(&data)]);
    for arguments in [&serve[..], &verify, &stats, &dump] {
        let output = run(arguments);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(!said.contains(": sound\n"), "{arguments:?} calls it sound: {said}");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{errors}");
        let offset = format!("offset {middle}");
        for part in ["error[damaged-log]", text(&log), &offset, "event ", "next: "] {
            assert!(errors.contains(part), "no `{part}` in: {errors}");
        }
    }
    let output = run(&["log", "verify", "--json", "--data", text(&data)]);
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(found["sound"], false);
    assert_eq!(found["damages"][0]["offset"], middle);
    assert!(found["damages"][0]["sequence"].as_u64() > Some(1), "{found:#}");
    assert_eq!(fs::read(&log).expect("a segment"), damaged, "nothing was changed");

    fs::write(&log, &sound).expect("restored");
    verify_and_audit(&data);
    assert!(Server::start(&data).stop().success(), "the restored log is fine");
}

#[test]
fn a_torn_last_frame_is_cut_off_and_the_rest_stands() {
    let home = tempfile::tempdir().expect("a directory");
    let (data, orders) = killed_shop(home.path());
    let log = segment(&data);
    let whole = fs::read(&log).expect("a segment");
    let last = last_block(&whole) * BLOCK;
    let used = whole[last..last + BLOCK].iter().rposition(|byte| *byte != 0).expect("a frame");
    for torn in [1, 17, 63, 64, 65, 100, used] {
        let copy = home.path().join(format!("torn-{torn}"));
        copy_directory(&data, &copy);
        let log = segment(&copy);
        let mut bytes = whole.clone();
        bytes[last + torn..last + BLOCK].fill(0);
        fs::write(&log, &bytes).expect("written");
        // The store may have had the torn event's row before the cut: a crash cannot do that.
        for file in ["store.sqlite", "store.sqlite-wal", "store.sqlite-shm"] {
            let _ = fs::remove_file(copy.join(file));
        }
        let noted = run_well(&["log", "verify", "--data", text(&copy)]);
        assert!(noted.contains("cut off"), "{noted}");
        let server = Server::start(&copy);
        let admin = server.admin_token();
        let mut client = server.client();
        let mut kept = 0;
        for order in &orders {
            let path = format!("/orders/{order}");
            kept += usize::from(client.call("GET", &path, Some(&admin), None).status == 200);
        }
        // The last frame holds the last order, or the store's acknowledgement after it.
        assert!(kept >= ORDERS - 1, "{kept} of {ORDERS} after a cut at byte {torn}");
        let ann = server.token("ann");
        assert_eq!(client.buy("lamp", &ann, None, false).status, 201, "and it goes on");
        drop(client);
        assert!(server.stop().success());
        verify_and_audit(&copy);
    }
}

#[test]
fn replaying_twice_and_after_a_restart_gives_one_digest() {
    let home = tempfile::tempdir().expect("a directory");
    let (data, _) = killed_shop(home.path());
    let digest = || {
        let report = run_well(&["log", "verify", "--json", "--data", text(&data)]);
        let report: Value = serde_json::from_str(&report).expect("JSON");
        (report["partitions"][0]["digest"].clone(), report["partitions"][0]["lastSequence"].clone())
    };
    let first = digest();
    assert_eq!(first, digest());
    let audit = verify_and_audit(&data);
    assert_eq!(audit["ends"][0]["digest"], first.0, "the audit replays to the same state");
}

fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir(to).expect("made");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy_directory(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copied");
        }
    }
}
