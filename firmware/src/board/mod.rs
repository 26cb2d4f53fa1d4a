//! The seam between the programs and the board: one file a board, all with the same items.
//!
//! * `NAME`, and `UNIT`: what `Counter` counts;
//! * `ARENA`: the bytes of RAM that the programs have for a model's activations; a model that needs more is refused with
//!   both numbers;
//! * `Counter`: `start()`, `elapsed() -> u32`;
//! * `exit(success) -> !`;
//! * the log's transport (a defmt global logger);
//! * with the feature `serial`, `Serial`: `open()`, `read() -> u8`, `write(&[u8])`, blocking.
//!
//! The memory map, with the model's region, stands in `boards/<board>.x`.

#[cfg(feature = "emulated")]
mod emulated;
#[cfg(any(feature = "mps2-an385", feature = "mps2-an386", feature = "mps2-an500", feature = "mps2-an505"))]
mod mps2;

#[cfg(feature = "microbit")]
mod microbit;
#[cfg(feature = "microbit")]
pub use microbit::*;

#[cfg(feature = "mps2-an385")]
mod mps2_an385;
#[cfg(feature = "mps2-an385")]
pub use mps2_an385::*;

#[cfg(feature = "mps2-an386")]
mod mps2_an386;
#[cfg(feature = "mps2-an386")]
pub use mps2_an386::*;

#[cfg(feature = "mps2-an500")]
mod mps2_an500;
#[cfg(feature = "mps2-an500")]
pub use mps2_an500::*;

#[cfg(feature = "mps2-an505")]
mod mps2_an505;
#[cfg(feature = "mps2-an505")]
pub use mps2_an505::*;

#[cfg(feature = "nrf52840")]
mod nrf52840;
#[cfg(feature = "nrf52840")]
pub use nrf52840::*;

#[cfg(feature = "virt-riscv32")]
mod virt_riscv32;
#[cfg(feature = "virt-riscv32")]
pub use virt_riscv32::*;
