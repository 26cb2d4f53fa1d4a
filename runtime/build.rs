//! Chooses the kernels. Whether a chip has the DSP extension is no `cfg` on stable Rust, so the target's name decides, and where
//! that leaves it open (Armv8-M), the feature `dsp`.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-check-cfg=cfg(eigenlet_dsp, eigenlet_armv7m, eigenlet_armv8m, eigenlet_thumb1)");
    let target = env::var("TARGET").expect("cargo sets TARGET");
    let is_armv8m = target.starts_with("thumbv8m.main");
    if target.starts_with("thumbv7em") || is_armv8m && env::var_os("CARGO_FEATURE_DSP").is_some() {
        println!("cargo:rustc-cfg=eigenlet_dsp");
    } else if target.starts_with("thumbv7m") || is_armv8m {
        println!("cargo:rustc-cfg=eigenlet_armv7m");
    }
    if target.starts_with("thumbv6m") {
        println!("cargo:rustc-cfg=eigenlet_thumb1");
    }
    if is_armv8m {
        println!("cargo:rustc-cfg=eigenlet_armv8m");
    }
}
