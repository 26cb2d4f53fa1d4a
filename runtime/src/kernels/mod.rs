//! TEMPORARY
mod reference;
pub(crate) use reference::*;
