//! What the tests of this package share.

pub mod chip;
pub mod random_model;
