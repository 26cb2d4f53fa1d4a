//! Gives the linker the board's memory map, and defmt's sections to the programs that log.

use std::{env, fs, path::PathBuf};

const BOARDS: [&str; 2] = ["mps2-an386", "nrf52840"];

fn main() {
    let feature = |board: &str| format!("CARGO_FEATURE_{}", board.to_uppercase().replace('-', "_"));
    let chosen: Vec<&str> = BOARDS.into_iter().filter(|board| env::var_os(feature(board)).is_some()).collect();
    let [board] = chosen[..] else {
        panic!("choose exactly one board of {BOARDS:?} (--no-default-features --features BOARD), found {chosen:?}");
    };
    // The Cortex-M0s have little memory.
    println!("cargo:rustc-check-cfg=cfg(small_ram)");
    if env::var("TARGET").is_ok_and(|target| target.starts_with("thumbv6m")) {
        println!("cargo:rustc-cfg=small_ram");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let map = format!("boards/{board}.x");
    fs::copy(&map, out.join("memory.x")).unwrap_or_else(|error| panic!("{map}: {error}"));
    println!("cargo:rerun-if-changed={map}");
    println!("cargo:rustc-link-search={}", out.display());
    for program in ["selftest", "serve", "kernels"] {
        println!("cargo:rustc-link-arg-bin={program}=-Tdefmt.x");
    }
}
