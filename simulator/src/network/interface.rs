//! The network as one process sees it.

use super::listener::{Queue, SimListener};
use super::stream::SimStream;
use super::{DIALLER, Name, SimNetwork};
use crate::chance::Chance;
use crate::process::Life;
use doorbuster_client::Stream;
use doorbuster_client::network::{Dialling, Network};
use std::future::pending;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// Who is not answered asks again after this.
const ASKS_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What a process dials and listens with.
#[derive(Clone, Debug)]
pub struct Interface {
    pub(super) network: SimNetwork,
    pub(super) name: Name,
    pub(super) life: Life,
    pub(super) nonces: Chance,
}

/// What becomes of a try to dial.
enum Answer {
    Refused,
    None,
    Accepted(u64),
}

impl Interface {
    /// Listens at an address that is free.
    pub fn listen(&self, address: SocketAddr) -> io::Result<SimListener> {
        let shared = &self.network.0;
        let mut state = shared.state();
        if self.life.is_dead() || state.listeners.contains_key(&address) {
            return Err(ErrorKind::AddrInUse.into());
        }
        state.listeners.insert(address, Queue::new(Arc::clone(&self.name)));
        Ok(SimListener { shared: Arc::clone(shared), address, life: self.life.clone() })
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<SimStream> {
        let shared = &self.network.0;
        let dials = &shared.world.dials().network;
        let (is_refused, is_unheard) = (shared.fails(dials.refused), shared.fails(dials.unheard));
        let delay = shared.delay() + shared.delay();
        if !delay.is_zero() {
            sleep(delay).await;
        }
        if is_unheard {
            shared.world.count("dials unheard");
            shared.line(format_args!("{} dials {address}: unheard", self.name));
            return pending().await;
        }
        let id = loop {
            self.life.thawed().await;
            if self.life.is_dead() {
                return Err(ErrorKind::ConnectionAborted.into());
            }
            match self.knock(address) {
                Answer::Accepted(id) if !is_refused => break id,
                Answer::Accepted(id) => {
                    // Accepted, and reset at once.
                    shared.world.count("dials reset");
                    drop(self.stream(id, address));
                    return Err(ErrorKind::ConnectionReset.into());
                }
                Answer::Refused => {
                    shared.world.count("dials refused");
                    shared.line(format_args!("{} dials {address}: refused", self.name));
                    return Err(ErrorKind::ConnectionRefused.into());
                }
                Answer::None => sleep(ASKS_AGAIN_AFTER).await,
            }
        };
        shared.line(format_args!("{} dials {address}: connection {id}", self.name));
        Ok(self.stream(id, address))
    }

    fn knock(&self, address: SocketAddr) -> Answer {
        let mut guard = self.network.0.state();
        let state = &mut *guard;
        let Some(queue) = state.listeners.get(&address) else { return Answer::Refused };
        let (mine, theirs) = (Arc::clone(&self.name), Arc::clone(&queue.name));
        let parted = &state.partitions;
        let is_parted = parted.parted_since(&mine, &theirs).is_some()
            || parted.parted_since(&theirs, &mine).is_some();
        if is_parted || queue.is_full() {
            return Answer::None;
        }
        let id = state.open(mine, theirs);
        let acceptor = state.listeners.get_mut(&address).and_then(|queue| queue.push(id));
        drop(guard);
        if let Some(acceptor) = acceptor {
            acceptor.wake();
        }
        Answer::Accepted(id)
    }

    fn stream(&self, id: u64, peer: SocketAddr) -> SimStream {
        SimStream::new(&self.network.0, id, DIALLER, self.life.clone(), peer)
    }
}

impl Network for Interface {
    fn dial(&self, address: SocketAddr) -> Dialling<'_> {
        Box::pin(async move {
            let stream = self.connect(address).await?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }

    fn nonce(&self) -> io::Result<[u8; 32]> {
        let mut nonce = [0; 32];
        self.nonces.fill(&mut nonce);
        Ok(nonce)
    }
}
