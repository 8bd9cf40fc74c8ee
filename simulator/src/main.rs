//! `doorbuster-sim`: runs seeds and says what they came to.

use doorbuster_simulator::chance::Chance;
use doorbuster_simulator::dials::Dials;

fn main() {
    println!("{:#?}", Dials::draw(&Chance::new(1)));
}
