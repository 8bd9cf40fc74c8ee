//! Clients that mean no good, beside buyers who do: every honest request is answered rightly, and
//! whoever only holds connections open, or sends what is no request, holds nobody up.
//!
//! | file | what it owns |
//! |---|---|
//! | `attack.rs` | many attackers of one kind at once, and what became of their connections |
//! | `attackers.rs` | what one attacker of each kind does |
//! | `beside_honest_buyers.rs` | each attack in turn beside the load generator and new buyers |
//! | `honest.rs` | buyers who do as they should |
//! | `shapes.rs` | requests that can be read in two ways, against a real engine |
//! | `few_descriptors.rs` | more connections than the server has descriptors for |
//! | `network.rs` | a network of its own, in which clients can vanish |
//! | `table.rs` | what the long form prints |
//!
//! Each is short here. `scripts/hostile` runs the attacks with thousands of connections on release
//! builds (`DOORBUSTER_HOSTILE=long`), and prints what honest buyers lose.

#[path = "../../edge/tests/edge/hostile_shapes.rs"]
mod hostile_shapes;
#[path = "../support/mod.rs"]
mod support;

mod attack;
mod attackers;
mod honest;
mod network;
mod table;

mod beside_honest_buyers;
mod few_descriptors;
mod shapes;
