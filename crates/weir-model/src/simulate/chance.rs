//! Distributions of what a request costs.

use crate::balance::Seed;

/// How the work of requests is distributed. Each has the mean 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Service {
    /// Memoryless: the textbook's.
    #[default]
    Exponential,
    /// Most requests are alike and a few take far longer, as answers of web services do (sigma 1).
    Lognormal,
    /// Every request is alike.
    Constant,
    /// A heavy tail: one of a thousand takes sixteen times the mean (alpha 2).
    Pareto,
}

impl Service {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Exponential, Self::Lognormal, Self::Constant, Self::Pareto];

    /// What it is called.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Exponential => "exponential",
            Self::Lognormal => "lognormal",
            Self::Constant => "constant",
            Self::Pareto => "pareto",
        }
    }

    /// One draw.
    pub(super) fn draw(self, seed: &mut Seed) -> f64 {
        match self {
            Self::Exponential => exponential(seed),
            Self::Lognormal => {
                // Box and Muller: two even draws make a normal one.
                let radius = (-2.0 * fraction(seed).ln()).sqrt();
                let normal = radius * (std::f64::consts::TAU * fraction(seed)).cos();
                (normal - 0.5).exp()
            }
            Self::Constant => 1.0,
            Self::Pareto => 0.5 / fraction(seed).sqrt(),
        }
    }
}

/// A draw from the exponential distribution of mean 1.
pub(super) fn exponential(seed: &mut Seed) -> f64 {
    -fraction(seed).ln()
}

/// Above 0, up to and including 1.
fn fraction(seed: &mut Seed) -> f64 {
    ((seed.next() >> 11) + 1) as f64 / (1u64 << 53) as f64
}
