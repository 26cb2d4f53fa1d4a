//! What the tests of this package share.

pub mod chip;
pub mod cli;
pub mod random_bag;
pub mod random_model;
