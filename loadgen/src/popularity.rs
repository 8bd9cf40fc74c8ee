//! Which product an attempt wants, when some are wanted more than others: Zipf's law.
//!
//! The product of rank *k* is wanted in proportion to 1 / *k*^s. The law is kept as its cumulative
//! distribution, and one number in [0, 1) is looked up in it: no random state, so that attempt *n* of
//! a seed always wants the same product, and eight bytes for each of them.

/// How much each product is wanted.
#[derive(Clone, Debug)]
pub(crate) struct Popularity {
    /// Sums of the weights up to and with each product, the last of them the whole.
    sums: Vec<f64>,
}

impl Popularity {
    /// Zipf's law over so many products. With an exponent of 0 all are wanted equally.
    pub(crate) fn zipf(products: usize, exponent: f64) -> Self {
        assert!(products > 0, "there is something to buy");
        let mut sum = 0.0;
        let weights = (1..=products).map(|rank| (rank as f64).powf(-exponent));
        let sums = weights.map(|weight| {
            sum += weight;
            sum
        });
        Self { sums: sums.collect() }
    }

    /// The index of the product at this share of the distribution, in [0, 1).
    pub(crate) fn product(&self, share: f64) -> usize {
        let last = self.sums.len() - 1;
        let wanted = share * self.sums[last];
        // The product rounds, and may come out as the whole.
        self.sums.partition_point(|sum| *sum <= wanted).min(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pearson's statistic of what was drawn against what the law expects; ranks that are expected
    /// less than ten times are taken together.
    fn chi_square(drawn: &[u64], exponent: f64) -> (f64, usize) {
        let weights: Vec<f64> = (1..=drawn.len()).map(|k| (k as f64).powf(-exponent)).collect();
        let whole: f64 = weights.iter().sum();
        let all: u64 = drawn.iter().sum();
        let (mut statistic, mut cells) = (0.0, 0);
        let (mut seen, mut expected) = (0.0, 0.0);
        for (times, weight) in drawn.iter().zip(&weights) {
            seen += *times as f64;
            expected += all as f64 * weight / whole;
            if expected >= 10.0 {
                statistic += (seen - expected).powi(2) / expected;
                cells += 1;
                (seen, expected) = (0.0, 0.0);
            }
        }
        (statistic, cells - 1)
    }

    #[test]
    fn products_are_wanted_as_the_law_says() {
        for (products, exponent) in [(2, 1.0), (10, 0.0), (100, 0.8), (1_000, 1.1), (50, 3.0)] {
            let seed = fastrand::u64(..);
            let mut random = fastrand::Rng::with_seed(seed);
            let popularity = Popularity::zipf(products, exponent);
            let mut drawn = vec![0u64; products];
            for _ in 0..100_000 {
                drawn[popularity.product(random.f64())] += 1;
            }
            let (statistic, freedom) = chi_square(&drawn, exponent);
            // Six standard deviations above the mean of the distribution: never by chance.
            let most = freedom as f64 + 6.0 * (2.0 * freedom as f64).sqrt() + 12.0;
            assert!(statistic < most, "{products} {exponent}: {statistic} > {most}, seed {seed}");
        }
    }

    #[test]
    fn the_ends_of_the_distribution_are_products() {
        let popularity = Popularity::zipf(3, 1.0);
        assert_eq!(popularity.product(0.0), 0);
        assert_eq!(popularity.product(1.0 - f64::EPSILON / 2.0), 2);
        assert_eq!(popularity.product(1.0), 2);
        assert_eq!(Popularity::zipf(1, 1.0).product(0.5), 0);
    }
}
