//! A small engine core for tests: the protocol's server session on a tokio socket, with answers
//! that the test decides on.

use doorbuster_protocol::handshake::{PartitionMap, PreSharedKey};
use doorbuster_protocol::outcome::Reply;
use doorbuster_protocol::routing::PartitionCount;
use doorbuster_protocol::session::{ClientMessage, ServerSession, SessionError, StockLevel};
use doorbuster_protocol::{Epoch, Outcome, PartitionId, Request, Sequence};
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

pub(crate) const KEY: PreSharedKey = PreSharedKey::new([7; 32]);

/// What a test makes of a request: an answer, or silence until [`Core::say`].
pub(crate) type Answer = Box<dyn Fn(&Request) -> Option<Outcome>>;

/// One core. Everything that happens to it can be read, everything that it does be told.
pub(crate) struct Core {
    pub(crate) address: SocketAddr,
    pub(crate) map: RefCell<PartitionMap>,
    pub(crate) answer: RefCell<Answer>,
    /// Requests per frame, in order of arrival.
    pub(crate) frames: RefCell<Vec<usize>>,
    pub(crate) unanswered: RefCell<Vec<(u64, Request)>>,
    pub(crate) subscribed: RefCell<Vec<(PartitionId, u8, Sequence)>>,
    pub(crate) acknowledged: RefCell<Vec<(PartitionId, u8, Epoch, Sequence)>>,
    pub(crate) connections: Cell<usize>,
    pub(crate) levels: RefCell<Vec<StockLevel>>,
    accepts: RefCell<Option<tokio::task::JoinHandle<()>>>,
    say: RefCell<Vec<Say>>,
    told: Notify,
}

/// Something for a connection to put out.
pub(crate) type Say = Box<dyn FnOnce(&mut ServerSession)>;

impl Core {
    /// Listens on a free port; the map is of this one core until the test sets another.
    pub(crate) async fn start(partitions: u16) -> Rc<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let core = Rc::new(Self {
            address,
            map: RefCell::new(map(&[address], partitions, |_| 0)),
            answer: RefCell::new(Box::new(|_| Some(Outcome::SoldOut))),
            frames: RefCell::default(),
            unanswered: RefCell::default(),
            subscribed: RefCell::default(),
            acknowledged: RefCell::default(),
            connections: Cell::new(0),
            levels: RefCell::default(),
            accepts: RefCell::default(),
            say: RefCell::default(),
            told: Notify::new(),
        });
        core.accept(listener);
        core
    }

    fn accept(self: &Rc<Self>, listener: TcpListener) {
        let core = Rc::clone(self);
        let task = tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let core = Rc::clone(&core);
                tokio::task::spawn_local(async move {
                    core.connections.set(core.connections.get() + 1);
                    let _ = core.serve(stream).await;
                    core.connections.set(core.connections.get() - 1);
                });
            }
        });
        *self.accepts.borrow_mut() = Some(task);
    }

    /// Stops listening; connections stay.
    pub(crate) fn stop_listening(&self) {
        self.accepts.take().expect("it listens").abort();
    }

    /// Listens again on the same port.
    pub(crate) async fn listen_again(self: &Rc<Self>) {
        let listener = TcpListener::bind(self.address).await.expect("the port is still ours");
        self.accept(listener);
    }

    /// Lets the one connection put something out.
    pub(crate) fn say(&self, what: impl FnOnce(&mut ServerSession) + 'static) {
        self.say.borrow_mut().push(Box::new(what));
        self.told.notify_one();
    }

    /// Closes the one connection.
    pub(crate) fn hang_up(&self) {
        self.say(|session| session.refuse(doorbuster_protocol::handshake::Refusal::Unavailable));
    }

    async fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut nonce = [0; 32];
        getrandom::fill(&mut nonce).expect("random bytes");
        let mut session = ServerSession::new(&KEY, nonce, self.map.borrow().clone());
        let mut buffer = vec![0; 64 << 10];
        loop {
            let failed = self.take(&mut session).is_err();
            stream.write_all(session.output()).await?;
            session.output().clear();
            if failed {
                return Ok(());
            }
            tokio::select! {
                biased;
                () = self.told.notified() => {
                    for say in self.say.take() {
                        say(&mut session);
                    }
                }
                read = stream.read(&mut buffer) => match read? {
                    0 => return Ok(()),
                    read => session.receive(&buffer[..read]),
                },
            }
        }
    }

    fn take(&self, session: &mut ServerSession) -> Result<(), SessionError> {
        loop {
            let mut replies = Vec::new();
            let mut levels = Vec::new();
            match session.poll()? {
                None => return Ok(()),
                Some(ClientMessage::Welcomed) => {}
                Some(ClientMessage::Requests(requests)) => {
                    self.frames.borrow_mut().push(requests.records_left());
                    for (correlation, request) in requests {
                        let request = request?;
                        match (self.answer.borrow())(&request) {
                            Some(outcome) => replies.push(Reply { correlation, outcome }),
                            None => self.unanswered.borrow_mut().push((correlation, request)),
                        }
                    }
                }
                Some(ClientMessage::Subscribe { partition, consumer, from }) => {
                    self.subscribed.borrow_mut().push((partition, consumer, from));
                }
                Some(ClientMessage::Acknowledge { partition, consumer, epoch, through }) => {
                    self.acknowledged.borrow_mut().push((partition, consumer, epoch, through));
                }
                Some(ClientMessage::WatchStock) => levels.clone_from(&self.levels.borrow()),
            }
            for reply in &replies {
                session.reply(reply);
            }
            session.levels(&levels);
        }
    }
}

/// A map of some cores; `owner` says whose each partition is.
pub(crate) fn map(
    cores: &[SocketAddr],
    partitions: u16,
    owner: impl Fn(u16) -> u16,
) -> PartitionMap {
    PartitionMap {
        directory: 0xD00B,
        epoch: Epoch::FIRST,
        partitions: PartitionCount::new(partitions).expect("in range"),
        self_core: 0,
        cores: cores.to_vec(),
        owners: (0..partitions).map(owner).collect(),
    }
}

/// Waits until `condition` holds; fails after a time that no healthy machine needs.
pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap_or_else(|_| panic!("{what}"));
}

/// Runs a test on a thread of its own, as the edge runs its clients.
pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    tokio::task::LocalSet::new().block_on(&runtime.expect("a runtime"), test);
}
