//! Gives the linker the board's memory map, and defmt's sections to the programs that log.

use std::{env, ffi::OsStr, fs, path::PathBuf};

const BOARDS: [&str; 7] =
    ["microbit", "mps2-an385", "mps2-an386", "mps2-an500", "mps2-an505", "nrf52840", "virt-riscv32"];

fn main() {
    let feature = |board: &str| format!("CARGO_FEATURE_{}", board.to_uppercase().replace('-', "_"));
    let chosen: Vec<&str> = BOARDS.into_iter().filter(|board| env::var_os(feature(board)).is_some()).collect();
    let map = match chosen[..] {
        [board] => format!("boards/{board}.x"),
        [] if env::var_os(feature("sizes")).is_some() => "boards/none.x".to_string(),
        _ => {
            panic!("choose exactly one board of {BOARDS:?} (--no-default-features --features BOARD), found {chosen:?}")
        }
    };
    // The Cortex-M0s have little memory.
    println!("cargo:rustc-check-cfg=cfg(small_ram)");
    if env::var("TARGET").is_ok_and(|target| target.starts_with("thumbv6m")) {
        println!("cargo:rustc-cfg=small_ram");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    fs::copy(&map, out.join("memory.x")).unwrap_or_else(|error| panic!("{map}: {error}"));
    println!("cargo:rerun-if-changed={map}");
    println!("cargo:rustc-link-search={}", out.display());
    for program in logging_programs() {
        println!("cargo:rustc-link-arg-bin={program}=-Tdefmt.x");
    }
}

/// All but those that measure sizes.
fn logging_programs() -> Vec<String> {
    println!("cargo:rerun-if-changed=src/bin");
    let files = fs::read_dir("src/bin").expect("the programs lie in src/bin");
    let paths = files.map(|file| file.expect("src/bin is readable").path());
    let sources = paths.filter(|path| path.extension() == Some(OsStr::new("rs")));
    let names = sources.filter_map(|path| Some(path.file_stem()?.to_str()?.to_string()));
    names.filter(|name| !name.starts_with("size_")).collect()
}
