//! Which buyer, product, key and behaviour attempt number *n* has.
//!
//! Everything follows from the seed and the number, so attempts need no memory, workers need not
//! talk, and a run can be repeated: the same seed asks for the same orders under the same keys.

use crate::plan::Plan;
use crate::popularity::Popularity;
use doorbuster_protocol::{BuyerId, IdempotencyKey, ProductId};

/// Whether an attempt is sent twice on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Duplicate {
    No,
    /// Again at once, while the first is still on its way.
    Parallel,
    /// Again, as soon as the first is answered.
    After,
}

/// What the buyer does with a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Leave,
    Pay,
    Cancel,
}

/// One attempt to buy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) number: u64,
    pub(crate) buyer: u64,
    /// Index into the plan's products.
    pub(crate) product: usize,
    pub(crate) duplicate: Duplicate,
    pub(crate) then: Then,
}

/// All attempts of a run.
#[derive(Clone, Debug)]
pub(crate) struct Attempts {
    seed: u64,
    buyers: u64,
    products: Vec<(String, ProductId)>,
    /// `None`: all are wanted equally.
    popularity: Option<Popularity>,
    duplicates: f64,
    pay: f64,
    cancel: f64,
}

/// A good hash of 64 bits (the finalizer of splitmix64).
fn mix(mut bits: u64) -> u64 {
    bits = bits.wrapping_add(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

/// A number in [0, 1) from the upper 53 bits.
fn share(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

impl Attempts {
    /// The attempts of a plan that was checked.
    pub(crate) fn new(plan: &Plan) -> Self {
        let product =
            |name: &String| (name.clone(), ProductId::parse(name).expect("the plan was checked"));
        Self {
            seed: plan.seed,
            buyers: plan.buyers,
            products: plan.products.iter().map(product).collect(),
            popularity: plan.zipf.map(|s| Popularity::zipf(plan.products.len(), s)),
            duplicates: plan.duplicates,
            pay: plan.pay,
            cancel: plan.cancel,
        }
    }

    pub(crate) fn attempt(&self, number: u64) -> Attempt {
        let one = mix(self.seed ^ mix(number));
        let two = mix(one);
        let three = mix(two);
        let duplicate = match share(one) {
            roll if roll >= self.duplicates => Duplicate::No,
            roll if roll >= self.duplicates / 2.0 => Duplicate::Parallel,
            _ => Duplicate::After,
        };
        let then = match share(two) {
            roll if roll < self.pay => Then::Pay,
            roll if roll < self.pay + self.cancel => Then::Cancel,
            _ => Then::Leave,
        };
        Attempt {
            number,
            buyer: number % self.buyers,
            product: match &self.popularity {
                None => (three % self.products.len() as u64) as usize,
                Some(popularity) => popularity.product(share(three)),
            },
            duplicate,
            then,
        }
    }

    /// The name of a buyer; of one length, so that requests are.
    pub(crate) fn buyer_name(buyer: u64) -> String {
        format!("buyer-{buyer:08}")
    }

    pub(crate) fn buyer_id(buyer: u64) -> BuyerId {
        BuyerId::parse(&Self::buyer_name(buyer)).expect("the name is one")
    }

    pub(crate) fn product(&self, index: usize) -> (&str, ProductId) {
        let (name, id) = &self.products[index];
        (name, *id)
    }

    /// The `Idempotency-Key` of an attempt, as a buyer sends it.
    pub(crate) fn key(&self, number: u64) -> String {
        format!("{:016x}-{number:08}", self.seed)
    }

    /// The same as the engine sees it.
    pub(crate) fn key_hash(&self, attempt: &Attempt, buyer: BuyerId) -> IdempotencyKey {
        let (_, product) = self.product(attempt.product);
        IdempotencyKey::new(buyer, product, self.key(attempt.number).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Target;

    fn attempts(change: impl FnOnce(&mut Plan)) -> Attempts {
        let mut plan = Plan::new(Target::http("127.0.0.1:1".parse().expect("an address")));
        plan.seed = 42;
        change(&mut plan);
        Attempts::new(&plan)
    }

    #[test]
    fn a_seed_repeats_itself() {
        let make = || attempts(|plan| (plan.duplicates, plan.pay) = (0.3, 0.5));
        let (one, two) = (make(), make());
        for number in 0..1_000 {
            assert_eq!(one.attempt(number), two.attempt(number));
        }
        assert_eq!(one.key(7), two.key(7));
        assert_ne!(one.key(7), attempts(|plan| plan.seed = 43).key(7));
    }

    #[test]
    fn shares_are_met() {
        let all = attempts(|plan| {
            (plan.duplicates, plan.pay, plan.cancel) = (0.2, 0.5, 0.25);
            plan.products = (0..4).map(|index| format!("product-{index}")).collect();
        });
        let count = |is: &dyn Fn(Attempt) -> bool| {
            (0..100_000).filter(|number| is(all.attempt(*number))).count() as f64 / 100_000.0
        };
        let check = |what: &str, got: f64, want: f64| {
            assert!((got - want).abs() < 0.01, "{what}: {got} is not about {want}");
        };
        check("parallel", count(&|a| a.duplicate == Duplicate::Parallel), 0.1);
        check("after", count(&|a| a.duplicate == Duplicate::After), 0.1);
        check("pay", count(&|a| a.then == Then::Pay), 0.5);
        check("cancel", count(&|a| a.then == Then::Cancel), 0.25);
        check("product", count(&|a| a.product == 3), 0.25);
    }

    #[test]
    fn some_products_are_wanted_more_than_others() {
        let make = || {
            attempts(|plan| {
                plan.products = (1..=100).map(|number| format!("product-{number}")).collect();
                plan.zipf = Some(1.0);
            })
        };
        let (one, two) = (make(), make());
        let mut wanted = [0u32; 100];
        for number in 0..100_000 {
            let product = one.attempt(number).product;
            assert_eq!(product, two.attempt(number).product, "a seed repeats itself");
            wanted[product] += 1;
        }
        // One in 5.19 for the first of a hundred, half of that for the second.
        assert!((18_700..19_900).contains(&wanted[0]), "{wanted:?}");
        assert!((9_200..10_100).contains(&wanted[1]), "{wanted:?}");
        assert!(wanted[99] < 400, "{wanted:?}");
    }

    #[test]
    fn every_buyer_comes_once_a_round() {
        let all = attempts(|plan| plan.buyers = 10);
        let buyers: Vec<u64> = (0..20).map(|number| all.attempt(number).buyer).collect();
        assert_eq!(buyers[..10], buyers[10..]);
        assert_eq!(buyers[..10], (0..10).collect::<Vec<u64>>());
    }
}
