//! The seam between the programs and the board: one file a board, all with the same items.
//!
//! * `NAME`, and `UNIT`: what `Counter` counts;
//! * `Counter`: `start()`, `elapsed() -> u32`;
//! * `Serial`: `open()`, `read() -> u8`, `write(&[u8])`, blocking;
//! * `exit(success) -> !`;
//! * the log's transport (a defmt global logger).
//!
//! The memory map, with the model's region, stands in `boards/<board>.x`.

#[cfg(feature = "mps2-an386")]
mod mps2_an386;
#[cfg(feature = "mps2-an386")]
pub use mps2_an386::*;

#[cfg(all(feature = "nrf52840", not(feature = "mps2-an386")))]
mod nrf52840;
#[cfg(all(feature = "nrf52840", not(feature = "mps2-an386")))]
pub use nrf52840::*;
