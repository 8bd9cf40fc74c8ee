//! The live screen on a terminal: it is drawn, `q` ends the run in good order, and the terminal is
//! left as it was found.

#![cfg(feature = "tui")]

mod support;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use support::http_server::HttpServer;
use support::{Shop, wait_until};

/// A terminal: the side of the person, the side of the program, and all that was shown.
struct Terminal {
    person: File,
    program: File,
    shown: Arc<Mutex<Vec<u8>>>,
}

/// A program that does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let shown = self.shown.lock().expect("no panic under the lock");
            eprintln!("the terminal showed {:?}", String::from_utf8_lossy(&shown));
        }
    }
}

impl Terminal {
    fn new() -> Self {
        let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&person).expect("it is ours");
        unlockpt(&person).expect("it is ours");
        let name = ptsname(&person, Vec::new()).expect("a name").into_string().expect("text");
        let mut options = File::options();
        options.read(true).write(true);
        let program = options.open(name).expect("its other side");
        let size = Winsize { ws_row: 40, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&program, size).expect("a size");
        let person = File::from(person);
        let mut reader = person.try_clone().expect("a second handle");
        let shown = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&shown);
        std::thread::spawn(move || {
            let mut part = [0; 4_096];
            while let Ok(length @ 1..) = reader.read(&mut part) {
                seen.lock().expect("no panic under the lock").extend_from_slice(&part[..length]);
            }
        });
        Self { person, program, shown }
    }

    fn side(&self) -> Stdio {
        Stdio::from(self.program.try_clone().expect("a second handle"))
    }

    fn shows(&self, text: &str) -> bool {
        let shown = self.shown.lock().expect("no panic under the lock");
        String::from_utf8_lossy(&shown).contains(text)
    }

    /// Whether lines are edited and echoed, as a shell wants it.
    fn is_cooked(&self) -> bool {
        let modes = tcgetattr(&self.program).expect("attributes").local_modes;
        modes.contains(LocalModes::ICANON | LocalModes::ECHO)
    }
}

#[test]
fn a_screen_is_drawn_and_put_away() {
    let data = tempfile::tempdir().expect("a directory");
    let secrets = data.path().join("secrets");
    std::fs::create_dir(&secrets).expect("a directory");
    std::fs::write(secrets.join("token.secret"), "5a".repeat(32) + "\n").expect("written");
    let server = HttpServer::start(Shop::new(1_000_000, 0));
    let mut terminal = Terminal::new();
    let child = Command::new(env!("CARGO_BIN_EXE_doorbuster-loadgen"))
        .arg(format!("http://{}", server.address()))
        .arg("--data")
        .arg(data.path())
        .args(["--rate", "200", "--duration", "60s", "--buyers", "1000"])
        .env("TERM", "xterm-256color")
        .env_remove("DOORBUSTER_TOKEN")
        .stdin(terminal.side())
        .stdout(terminal.side())
        .stderr(terminal.side())
        .spawn();
    let mut child = Running(child.expect("the binary runs"));
    wait_until("the screen", || terminal.shows("throughput") && terminal.shows("accepted"));
    assert!(terminal.shows("\x1b[?1049h"), "it has a screen of its own");
    assert!(!terminal.is_cooked(), "keys are read one by one");
    wait_until("some answers", || server.requests.load(std::sync::atomic::Ordering::SeqCst) > 10);
    terminal.person.write_all(b"q").expect("a key");
    let status = child.0.wait().expect("it ends");
    wait_until("the report", || terminal.shows("latency, from the intended send time"));
    assert!(terminal.shows("ended early: it was stopped by a key"));
    assert_eq!(status.code(), Some(1), "a part of a run is not the whole of it");
    assert!(terminal.shows("\x1b[?1049l"), "the screen is put away");
    assert!(terminal.is_cooked(), "the terminal is as it was");
}
