//! Who gets a connection, who has to go for it, and who is turned away.
//!
//! A thread has room for so many connections. When they are all taken, those go that have waited
//! longest without a request to be answered, first of all who had time to ask and did not: whoever
//! only holds connections open holds nothing up.

use crate::connection::{self, ConnectionState};
use crate::limits::TURNED_AWAY_SHARE;
use crate::metrics::Rejected;
use crate::problem::Problem;
use crate::wire::Wire;
use crate::worker::Worker;
use crate::{descriptors, farewell, refusal};
use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

/// The pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
/// The least time between two log lines about it.
const WARN_EVERY: Duration = Duration::from_secs(1);
/// Turns of the thread until a new connection whose request is there has read it: in the first its
/// task asks for what has come, in the second it gets it.
const TURNS_TO_BE_HEARD: usize = 2;
/// How long writing a refusal may take.
const REFUSAL_TIME_MAX: Duration = Duration::from_secs(1);

/// Accepts a connection as soon as there is a descriptor for it: who was let go has one until its
/// task has come to its turn, and nothing else bounds how many those are.
pub(crate) async fn accept(
    worker: &Worker,
    listener: &TcpListener,
) -> io::Result<(TcpStream, SocketAddr)> {
    let most = worker.connections_max + descriptors::leaving(worker.connections_max);
    worker.connections.fewer_than(most).await;
    listener.accept().await
}

/// Serves a connection, or turns it away.
pub(crate) async fn admit(worker: &Rc<Worker>, stream: TcpStream, peer: IpAddr) {
    let is_full = || worker.connections.staying() >= worker.connections_max;
    if is_full() {
        // Somebody goes for it. Who came before it is heard first.
        for _ in 0..TURNS_TO_BE_HEARD {
            tokio::task::yield_now().await;
        }
    }
    if is_full() && make_room(worker) == 0 {
        worker.metrics.rejected(Rejected::Connections);
        return turn_away(worker, stream, refusal::too_many_connections());
    }
    let seat = match worker.addresses.enter(peer) {
        Ok(seat) => seat,
        Err(crowded) => {
            worker.metrics.rejected(Rejected::AddressConnections);
            return turn_away(worker, stream, refusal::too_many_of_address(crowded.most));
        }
    };
    let state = Rc::new(ConnectionState::new(worker, stream, peer, seat));
    let number = worker.connections.add(Rc::clone(&state));
    worker.metrics.set_connections(worker.connections.len());
    let worker = Rc::clone(worker);
    tokio::task::spawn_local(async move {
        connection::serve(state, Rc::clone(&worker)).await;
        worker.connections.remove(number);
        worker.metrics.set_connections(worker.connections.len());
    });
}

/// Waits until it is worth trying again.
pub(crate) async fn not_accepted(worker: &Worker, error: &io::Error) {
    // The client may have gone meanwhile, which says nothing about the next one.
    if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
        return;
    }
    // Descriptors or memory, mostly: the connection stays in the queue, and trying again at once
    // would only keep the thread from what could free some.
    let let_go = make_room(worker);
    let now = Instant::now();
    if worker.warned.get().is_none_or(|last| now.duration_since(last) > WARN_EVERY) {
        worker.warned.set(Some(now));
        tracing::warn!(%error, let_go, "connections cannot be accepted");
    }
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

fn make_room(worker: &Worker) -> usize {
    let let_go = worker.connections.make_room(worker.config.time_to_ask);
    worker.metrics.rejected_many(Rejected::LetGo, let_go);
    let_go
}

/// Says why there is no connection.
fn turn_away(worker: &Rc<Worker>, stream: TcpStream, problem: Problem) {
    if worker.turned_away.get() > worker.connections_max / TURNED_AWAY_SHARE {
        return;
    }
    worker.turned_away.set(worker.turned_away.get() + 1);
    let worker = Rc::clone(worker);
    tokio::task::spawn_local(async move {
        let answer = farewell::answer(problem, &worker.request_ids.fresh());
        let wire = RefCell::new(Wire::new(stream));
        farewell::say(&wire, &answer, REFUSAL_TIME_MAX, || false).await;
        worker.turned_away.set(worker.turned_away.get() - 1);
    });
}
