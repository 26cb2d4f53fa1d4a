//! Whatever comes over the line: frames that are whole, or faults, and no message that is not one.
#![no_main]

use eigenlet_shared::link::{Receiver, Request, Response, decode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut receiver = Receiver::new();
    for byte in bytes {
        if let Some(Ok(content)) = receiver.push(*byte) {
            let _ = decode::<Request>(content);
            let _ = decode::<Response>(content);
        }
    }
});
