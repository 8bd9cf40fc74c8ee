//! More memory is needed than there is: the kernel ends the process, wherever it is. Started again,
//! it has everything that it had acknowledged.

use crate::support::control_group::ControlGroup;
use crate::support::{Server, doorbuster_after, wait_until};
use crate::trial::{Trial, times};
use std::os::unix::process::ExitStatusExt;
use std::time::Instant;

#[test]
fn the_kernel_ends_a_server_that_needs_too_much_memory() {
    let mut trial = Trial::of("memory limit");
    let data = trial.data();
    let Some(group) = trial.needs(ControlGroup::of_memory()) else { return };
    let start = |http: &str| {
        let flags = ["--cores", "1", "--edge-threads", "1"];
        Server::start_as(doorbuster_after(&group.join()), &data, http, &flags)
    };
    let mut server = start("127.0.0.1:0");
    let http = server.http.to_string();
    trial.open_sale(server.http, &data);
    let load = trial.load(server.http, &data, None);
    let witness = trial.witness(server.http, &data);
    for _ in 0..times(1, 20) {
        trial.until_sold(&load, Instant::now());
        group.limit_memory();
        let mut ended = None;
        wait_until("the server is ended", || {
            ended = server.try_wait();
            ended.is_some()
        });
        let signal = ended.and_then(|status| status.signal());
        assert_eq!(signal, Some(rustix::process::Signal::KILL.as_raw()), "{ended:?}");
        trial.fault();
        group.free_memory();
        let begun = Instant::now();
        server = start(&http);
        trial.until_sold(&load, begun);
    }
    trial.close(server, load, witness);
}
