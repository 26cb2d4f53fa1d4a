//! Makes any encoder's output ordered, decorrelated and truncatable, at no cost on the chip.

mod rayleigh_ritz;
mod symmetric_eigen;

pub use rayleigh_ritz::{Moments, Ordering};
pub use symmetric_eigen::{symmetric_eigen, symmetric_eigenvalues};
