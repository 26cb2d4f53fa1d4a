//! A model compiled into the program.

/// Bytes on a 16-byte boundary, as a model has to lie.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(16))]
pub struct Aligned<T: ?Sized>(
    /// The bytes.
    pub T,
);

/// Embeds a model file, aligned, in the program's constants, and gives it as `&'static [u8]`. The path is `include_bytes!`'s.
#[macro_export]
macro_rules! include_model {
    ($path:expr $(,)?) => {{
        static MODEL: &$crate::Aligned<[u8]> = &$crate::Aligned(*include_bytes!($path));
        &MODEL.0
    }};
}
