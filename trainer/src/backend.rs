//! The one place that names burn's backends. Everything else is generic over `AutodiffBackend`.

#![cfg_attr(feature = "candle", allow(deprecated, reason = "burn 0.21 is the last release that has burn-candle"))]

use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, PoisonError};

use burn::backend::Autodiff;
use burn::tensor::Tensor;
use clap::ValueEnum;

use crate::error::{Error, Result};
use crate::network::host;
use crate::network::kernels::{Kernels, NormRelu, NormReluInputs, Trainable};
use crate::network::spec::Window;

/// A backend that `--backend` can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BackendName {
    /// burn-flex: the CPU default.
    Flex,
    /// burn-ndarray: CPU.
    Ndarray,
    /// burn-candle: CPU.
    Candle,
    /// burn-cuda: NVIDIA GPUs.
    Cuda,
    /// burn-wgpu: any GPU with Vulkan, Metal, DirectX 12 or WebGPU.
    Wgpu,
}

impl BackendName {
    /// The name, as the command line writes it; also the cargo feature that builds it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flex => "flex",
            Self::Ndarray => "ndarray",
            Self::Candle => "candle",
            Self::Cuda => "cuda",
            Self::Wgpu => "wgpu",
        }
    }

    /// What a machine must have to run it.
    fn needs(self) -> &'static str {
        match self {
            Self::Cuda => "an NVIDIA GPU with its driver and the CUDA libraries",
            Self::Wgpu => "a GPU with Vulkan, Metal, DirectX 12 or WebGPU",
            Self::Flex | Self::Ndarray | Self::Candle => "any CPU",
        }
    }

    /// The error for a backend that this build does not hold.
    pub fn missing(self) -> Error {
        Error::input(
            "--backend",
            "this build does not hold the backend",
            format!("a build with `cargo build --release --features {}`", self.name()),
            self.name(),
        )
    }
}

#[cfg(feature = "flex")]
/// burn-flex with gradients.
pub type Flex = Autodiff<burn::backend::Flex>;
#[cfg(feature = "ndarray")]
/// burn-ndarray with gradients.
pub type NdArray = Autodiff<burn_ndarray::NdArray<f32>>;
#[cfg(feature = "candle")]
/// burn-candle with gradients.
pub type Candle = Autodiff<burn_candle::Candle<f32>>;
#[cfg(feature = "cuda")]
/// burn-cuda with gradients.
pub type Cuda = Autodiff<burn::backend::Cuda<f32>>;
#[cfg(feature = "wgpu")]
/// burn-wgpu with gradients.
pub type Wgpu = Autodiff<burn::backend::Wgpu<f32>>;

macro_rules! on_host {
    ($backend:ty) => {
        impl Kernels for $backend {
            fn gather(images: Tensor<Self, 4>, window: &Window) -> Tensor<Self, 2> {
                host::gather(images, window)
            }
            fn scatter(patches: Tensor<Self, 2>, shape: [usize; 4], window: &Window) -> Tensor<Self, 4> {
                host::scatter(patches, shape, window)
            }
            fn norm_relu(x: Tensor<Self, 2>, gamma: Tensor<Self, 1>, beta: Tensor<Self, 1>) -> NormRelu<Self> {
                host::norm_relu(x, gamma, beta)
            }
            fn norm_relu_backward(saved: NormReluInputs<Self>, gradient: Tensor<Self, 2>) -> NormReluInputs<Self> {
                host::norm_relu_backward(saved, gradient)
            }
        }
    };
}

#[cfg(feature = "flex")]
on_host!(burn::backend::Flex);
#[cfg(feature = "ndarray")]
on_host!(burn_ndarray::NdArray<f32>);
#[cfg(feature = "candle")]
on_host!(burn_candle::Candle<f32>);
#[cfg(feature = "cuda")]
impl Kernels for burn::backend::Cuda<f32> {}
#[cfg(feature = "wgpu")]
impl Kernels for burn::backend::Wgpu<f32> {}

/// Work that is generic over the backend.
pub trait Work {
    /// What comes out.
    type Output;
    /// Does the work on a backend.
    ///
    /// # Errors
    /// Whatever the work's errors are.
    fn run<B: Trainable>(self, device: &B::Device) -> Result<Self::Output>;
}

/// Does the work on the backend that `name` says.
///
/// # Errors
/// A backend that this build does not hold, or the work's own errors.
pub fn on<W: Work>(name: BackendName, work: W) -> Result<W::Output> {
    match name {
        #[cfg(feature = "flex")]
        BackendName::Flex => work.run::<Flex>(&Default::default()),
        #[cfg(feature = "ndarray")]
        BackendName::Ndarray => work.run::<NdArray>(&Default::default()),
        #[cfg(feature = "candle")]
        BackendName::Candle => work.run::<Candle>(&Default::default()),
        #[cfg(feature = "cuda")]
        BackendName::Cuda => work.run::<Cuda>(&Default::default()),
        #[cfg(feature = "wgpu")]
        BackendName::Wgpu => work.run::<Wgpu>(&Default::default()),
        #[allow(unreachable_patterns, reason = "reachable where a feature is off")]
        other => Err(other.missing()),
    }
}

/// Whether this build holds the backend that `name` says, and this machine can run it.
///
/// # Errors
/// It does not, or cannot.
pub fn check(name: BackendName) -> Result<()> {
    struct Nothing;
    impl Work for Nothing {
        type Output = ();
        fn run<B: Trainable>(self, device: &B::Device) -> Result<()> {
            Tensor::<B, 1>::ones([1], device).into_data();
            Ok(())
        }
    }
    starts(name, || on(name, Nothing))
}

/// GPU backends panic where there is no GPU, some on a thread of their own: makes one error of it.
fn starts(name: BackendName, attempt: impl FnOnce() -> Result<()>) -> Result<()> {
    let first = Arc::new(Mutex::new(None));
    let said = Arc::clone(&first);
    let hook = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let message = panic.payload_as_str().unwrap_or("a panic without words");
        said.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| message.to_string());
    }));
    let done = panic::catch_unwind(AssertUnwindSafe(attempt));
    panic::set_hook(hook);
    done.unwrap_or_else(|_| {
        let said = first.lock().unwrap_or_else(PoisonError::into_inner).take();
        let said = said.unwrap_or_else(|| "a panic".into());
        let line = said.lines().next().unwrap_or_default();
        let line = line.split(" - ").next().unwrap_or(line);
        Err(Error::input("--backend", "this machine cannot run it", name.needs(), format!("{}: {line}", name.name())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The panic hook is the whole process's: beside other tests that panic, the first words could be theirs.
    #[test]
    fn a_backend_that_panics_is_one_error_with_its_first_words() {
        const NAME: &str = "backend::tests::a_backend_that_panics_is_one_error_with_its_first_words";
        const ALONE: &str = "EIGENLET_TEST_ALONE";
        if std::env::var_os(ALONE).is_none() {
            let tests = std::env::current_exe().unwrap();
            let alone = std::process::Command::new(tests).args(["--exact", NAME]).env(ALONE, "").output().unwrap();
            let said = String::from_utf8_lossy(&alone.stdout);
            assert!(alone.status.success() && said.contains("1 passed"), "{said}");
            return;
        }
        let error = starts(BackendName::Cuda, || {
            let thread = std::thread::spawn(|| panic!("no library - searched for many\nand more"));
            thread.join().expect("a device");
            Ok(())
        });
        let error = error.expect_err("it panics");
        assert_eq!(error.exit_status(), 2);
        let message = error.to_string();
        assert!(message.starts_with("--backend: this machine cannot run it: expected an NVIDIA GPU"), "{message}");
        assert!(message.ends_with("found cuda: no library"), "{message}");
    }

    #[cfg(feature = "flex")]
    #[test]
    fn the_default_backend_starts_everywhere() {
        check(BackendName::Flex).unwrap();
    }
}
