//! One hot product, next to ten thousand on the same partition: a sale that everybody wants must
//! not be slower than any other.

use crate::durable::{self, Columns};
use crate::figures::{Figures, figure, ratios};
use crate::goals;
use crate::machine::{self, Seats};
use crate::options::Options;
use crate::pipeline;
use doorbuster_protocol::routing::PartitionCount;
use doorbuster_protocol::{ProductId, limits};

const SECONDS: u32 = 3;
const PRODUCTS: usize = 10_000;

pub(crate) fn measure(options: &Options) -> anyhow::Result<Figures> {
    let program = options.program()?;
    let seats = Seats::choose();
    let seconds = options.seconds.unwrap_or(SECONDS);
    let many = on_one_partition(PRODUCTS)?;
    let (mut of_one, mut of_many) = (Columns::default(), Columns::default());
    for _ in 0..options.rounds {
        of_one.push(&durable::round(options, &program, seats, &many[..1], seconds)?);
        of_many.push(&durable::round(options, &program, seats, &many, seconds)?);
    }
    let mut figures = Figures::new("One hot product, next to many on the same partition");
    figures.note(machine::describe());
    figures.note(format!(
        "durable orders over the binary protocol, {}; one core, {} in flight; {} rounds of \
         {seconds} s each, in turns",
        seats.describe(),
        figure(f64::from(options.in_flight)),
        options.rounds,
    ));
    of_one.write("one product", &mut figures);
    of_many.write(&format!("{} products", figure(PRODUCTS as f64)), &mut figures);
    let ratio = ratios(&of_one.rate, &of_many.rate);
    figures.row("one product, to many", "×", &ratio);
    figures.judge_with(&goals::HOT_TO_MANY, &ratio, Some((&of_one.rate, "/s")));
    Ok(figures)
}

/// So many products that a partition of a default data directory owns.
fn on_one_partition(count: usize) -> anyhow::Result<Vec<ProductId>> {
    let partitions = PartitionCount::new(limits::PARTITIONS_DEFAULT).expect("it is in range");
    // Twice as many as are needed on average.
    let mut products = pipeline::products(2 * count * usize::from(limits::PARTITIONS_DEFAULT))?;
    let owner = partitions.partition_of(products[0]);
    products.retain(|product| partitions.partition_of(*product) == owner);
    products.truncate(count);
    anyhow::ensure!(products.len() == count, "the products are not spread over the partitions");
    Ok(products)
}
