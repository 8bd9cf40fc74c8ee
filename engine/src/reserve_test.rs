//! What is held for which sale, when it is given back, and when nothing is taken.

use super::*;

const PLENTY: u64 = 1 << 40;
/// Orders that take as much memory as a piece has.
const PIECE_ORDERS: u64 = PIECE_BYTES / ORDER_BYTES;

/// Looks again and again at a shop, in a time of its own; the pieces have no memory.
struct Shop {
    held: Held,
    at: Duration,
    orders: u64,
    units: u64,
    available: u64,
    /// Whether the system gives a piece when it is asked.
    gives: bool,
    asked: u64,
}

impl Shop {
    fn with(units: u64, max: u64) -> Self {
        Self {
            held: Held::new(max),
            at: Duration::ZERO,
            orders: 0,
            units,
            available: PLENTY,
            gives: true,
            asked: 0,
        }
    }

    fn look(&mut self) -> u64 {
        let (available, gives, asked) = (self.available, self.gives, &mut self.asked);
        self.held.look(
            self.at,
            self.orders,
            self.units,
            || available,
            || {
                *asked += 1;
                if gives { Taken::Piece(Vec::new()) } else { Taken::Nothing }
            },
        );
        self.at += LOOK_EVERY;
        self.held.pieces.len() as u64
    }

    /// Pieces that are held after a period.
    fn rest(&mut self) -> u64 {
        let until = self.at + PERIOD;
        while self.at < until {
            self.look();
        }
        self.look()
    }

    fn sell(&mut self, orders: u64) {
        self.orders += orders;
        self.units -= orders;
    }
}

#[test]
fn a_piece_a_look_is_taken_until_all_units_could_be_ordered() {
    let mut shop = Shop::with(5 * PIECE_ORDERS + 1, PLENTY);
    let taken: Vec<u64> = (0..7).map(|_| shop.look()).collect();
    assert_eq!(taken, [1, 2, 3, 4, 5, 5, 5]);
    assert_eq!(shop.held.wanted, 5 * PIECE_BYTES);
    assert_eq!(Shop::with(100, PLENTY).rest(), 0, "a hundred lamps need nothing");
}

#[test]
fn no_more_is_held_than_is_allowed() {
    assert_eq!(Shop::with(u64::MAX, 3 * PIECE_BYTES + 1).rest(), 3);

    let mut shop = Shop::with(u64::MAX, PLENTY);
    shop.available = AVAILABLE_PART * 4 * PIECE_BYTES;
    assert_eq!(shop.rest(), 4);
    // What is held is not available any more, and counts as if it were.
    shop.available -= 4 * PIECE_BYTES;
    assert_eq!(shop.rest(), 4);
    // Somebody else needs memory: it is let go within a period.
    shop.available = 0;
    assert_eq!(shop.rest(), 0);
}

#[test]
fn as_orders_come_memory_is_given_back_ahead_of_them() {
    let mut shop = Shop::with(100 * PIECE_ORDERS, 40 * PIECE_BYTES);
    assert_eq!(shop.rest(), 40);
    let lead = LEAD_BYTES.div_ceil(PIECE_BYTES);
    shop.sell(GIVING_BYTES / ORDER_BYTES);
    assert_eq!(shop.look(), 40 - lead);
    for given in 1..=10 {
        shop.sell(PIECE_ORDERS);
        assert_eq!(shop.look(), 40 - lead - given);
    }
    // In the next period what was given is at the system again, as far as nobody used it.
    shop.at += PERIOD;
    shop.look();
    assert!(!shop.held.is_quiet);
    shop.sell(PIECE_ORDERS);
    assert_eq!(shop.look(), 40 - 2 * lead - 10);
    // Calm: all of it is taken once more.
    shop.rest();
    shop.rest();
    assert_eq!(shop.rest(), 40);
}

#[test]
fn a_trickle_of_orders_takes_nothing_from_it() {
    let mut shop = Shop::with(40 * PIECE_ORDERS, PLENTY);
    assert_eq!(shop.rest(), 40);
    for _ in 0..10 {
        shop.sell(GIVING_BYTES / ORDER_BYTES - 1);
        shop.rest();
    }
    // Only what the units that are left do not need.
    assert_eq!(shop.look(), 38);
    // Orders that take the place of others need no memory.
    shop.orders -= PIECE_ORDERS;
    shop.look();
    shop.orders += PIECE_ORDERS;
    assert_eq!(shop.rest(), 38);
}

#[test]
fn nothing_is_taken_while_orders_come() {
    // Those that are read from the log count as such, too: they come all at once.
    let mut shop = Shop::with(10 * PIECE_ORDERS, PLENTY);
    shop.orders = 3_000_000;
    assert_eq!(shop.look(), 0);
    let quiet = QUIET_BYTES / ORDER_BYTES;
    shop.sell(quiet);
    assert_eq!(shop.look(), 0);
    for _ in 0..3 {
        shop.at = shop.held.period_ends;
        shop.look();
        shop.sell(quiet);
        assert_eq!(shop.look(), 0);
    }
    shop.at = shop.held.period_ends;
    assert_eq!(shop.look(), 0, "it was not calm");
    shop.at = shop.held.period_ends;
    assert_eq!(shop.look(), 1);
}

#[test]
fn a_system_that_refuses_is_asked_again_after_a_while() {
    let mut shop = Shop::with(10 * PIECE_ORDERS, PLENTY);
    assert_eq!((shop.look(), shop.look()), (1, 2));
    shop.gives = false;
    assert_eq!((shop.look(), shop.look()), (2, 2));
    assert_eq!((shop.asked, shop.held.wanted), (3, 2 * PIECE_BYTES));
    shop.gives = true;
    assert!(shop.rest() > 2);
}

#[test]
fn a_piece_is_touched_in_steps() {
    let mut begun = Begun::default();
    for step in 1..PIECE_BYTES.div_ceil(STEP_BYTES as u64) {
        assert!(matches!(begun.touch(), Taken::Part));
        assert_eq!(begun.touched, step as usize * STEP_BYTES);
    }
    let Taken::Piece(piece) = begun.touch() else { panic!("it is whole") };
    assert!(piece.capacity() >= PIECE_BYTES as usize);
    assert_eq!((begun.touched, begun.memory.capacity()), (0, 0), "the next one begins anew");
}

#[test]
fn the_thread_takes_memory_and_ends() {
    let metrics = Arc::new(EngineMetrics::new(1, 2));
    assert!(
        Reserve::start(PIECE_BYTES - 1, Arc::clone(&metrics)).is_none(),
        "told to hold nothing"
    );
    metrics.partitions[1].units.store(PIECE_ORDERS, Relaxed);
    let reserve = Reserve::start(PIECE_BYTES, Arc::clone(&metrics)).expect("a thread");
    if available::bytes() / AVAILABLE_PART > 2 * PIECE_BYTES {
        while metrics.reserve_bytes.load(Relaxed) != PIECE_BYTES {
            // The thread tells nobody but its metrics.
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    drop(reserve);
    assert_eq!(metrics.reserve_bytes.load(Relaxed), 0);
}
