//! A kernel's first eigenfunctions on some samples, learned by a network in batches: the check that any user can make of the
//! objective, against the exact ones where the samples are few enough.

use std::sync::Arc;

use burn::tensor::{Tensor, TensorData};
use ndarray::{Array2, ArrayView2, Axis};

use crate::augment::View;
use crate::backend::{self, BackendName, Work};
use crate::error::{Error, Result};
use crate::graph::{AdjacencySpec, Graph};
use crate::kernel::adjacency::Adjacency;
use crate::kernel::exact::Exact;
use crate::kernel::{Kernel, Pairs, Rows};
use crate::network::spec::LayerSpec;
use crate::network::{Encoder, Mode, NetworkSpec, Trainable, floats};
use crate::objective::neural_eigenmap::{NeuralEigenmap, NeuralEigenmapSpec};
use crate::order::Moments;
use crate::run::cluster::steps;
use crate::train::optimizer::OptimizerSpec;
use crate::train::source::{Source, shuffled};
use crate::train::{Epoch, TrainSpec, Trainee, Watch, fit};

/// Units in each of the two hidden layers.
const UNITS: usize = 128;
/// Training steps, where batches are small; larger ones take fewer.
const STEPS: usize = 12_000;
/// Functions learned beyond those that are asked for: what the last of these lack is in them, and Rayleigh-Ritz finds it there.
const SPARE: usize = 10;
/// Samples in a batch, where there are so many and a kernel joins them all.
const BATCH: usize = 256;
/// The same where a kernel joins few of them: a batch sees only what joins its own.
const SPARSE_BATCH: usize = 2048;
/// Rows and columns of the Gram matrix that are computed at a time for the eigenvalues.
const BLOCK: usize = 1024;
/// The most samples whose pairs all count for the eigenvalues, and of which exact eigenfunctions are computed, whose Gram matrix
/// then takes 200 MB; of more samples, pairs within blocks count, in several passes.
pub const EXACT_MOST: usize = 5000;
const PASSES: u64 = 8;

/// What is asked for.
#[derive(Clone)]
pub struct Question {
    /// The samples, `[n, values]`.
    pub samples: Array2<f32>,
    /// The kernel.
    pub kernel: Arc<dyn Kernel>,
    /// A kernel with the same eigenfunctions that tells them apart more easily, where training takes that instead.
    pub teacher: Option<Arc<dyn Kernel>>,
    /// Samples in a batch, where there are so many.
    pub batch: usize,
    /// How many functions.
    pub count: usize,
    /// Whether the exact ones are computed, too.
    pub exact: bool,
    /// The seed of the network and of the batches.
    pub seed: u64,
}

impl Question {
    /// On a kernel that joins all samples.
    pub fn new(samples: Array2<f32>, kernel: Arc<dyn Kernel>, count: usize) -> Self {
        Self { samples, kernel, teacher: None, batch: BATCH, count, exact: false, seed: 1 }
    }

    /// On the normalised adjacency of a graph, of which the samples are the nodes. Where a batch holds them all, and walks of more
    /// than two steps forget no function that is asked for, such a walk is the teacher: by single steps they differ too little.
    pub fn of_graph(samples: Array2<f32>, graph: Graph, count: usize) -> Self {
        let spec = AdjacencySpec::default();
        let first_too_many = match graph.len() <= SPARSE_BATCH {
            true => graph.leading(spec, count + 1, 1).eigenvalues.last().copied().unwrap_or(0.0),
            false => 0.0,
        };
        let kernel = Adjacency { graph, spec };
        let teacher: Option<Arc<dyn Kernel>> = match steps(first_too_many) {
            2 => None,
            steps => Some(Arc::new(kernel.walk(steps))),
        };
        Self { teacher, batch: SPARSE_BATCH, ..Self::new(samples, Arc::new(kernel), count) }
    }
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Learned eigenvalues of the kernel's operator under the samples' distribution, largest first.
    pub learned: Vec<f64>,
    /// The learned functions at the samples, `[n, count]`, of unit mean square.
    pub functions: Array2<f64>,
    /// The exact ones.
    pub exact: Option<Exact>,
}

/// Learns the functions.
///
/// # Errors
/// A kernel or a count that does not fit the samples, too many samples for exact ones, training that diverges.
pub fn answer(question: &Question, backend: BackendName) -> Result<Answer> {
    let (n, values) = question.samples.dim();
    let batch = question.batch.min(n);
    if question.count == 0 || question.count + SPARE >= batch {
        let expected =
            format!("1 to {}, with {SPARE} more below the samples in a batch", batch.saturating_sub(SPARE + 1));
        return Err(Error::input("--k", "so many functions cannot be told apart", expected, question.count));
    }
    if question.exact && n > EXACT_MOST {
        let what = "too many samples for an exact eigendecomposition";
        return Err(Error::input("--exact", what, format!("at most {EXACT_MOST}"), n));
    }
    question.kernel.fits(n, values)?;
    let (learned, functions) = backend::on(backend, Learn(question))?;
    let samples: Vec<u32> = (0..n as u32).collect();
    let rows = Rows { samples: &samples, values: question.samples.view() };
    let exact = question.exact.then(|| Exact::of(question.kernel.as_ref(), rows, question.count));
    Ok(Answer { learned, functions, exact })
}

struct Learn<'a>(&'a Question);

impl Work for Learn<'_> {
    type Output = (Vec<f64>, Array2<f64>);

    fn run<B: Trainable>(self, device: &B::Device) -> Result<Self::Output> {
        let Self(question) = self;
        let (samples, kernel) = (&question.samples, &question.kernel);
        let (n, values) = samples.dim();
        let network = NetworkSpec {
            layers: vec![LayerSpec::Dense { units: UNITS }],
            projector: UNITS,
            dims: question.count + SPARE,
        };
        let plan = network.plan([1, 1, values], network.dims)?;
        let batch = question.batch.min(n);
        let optimizer = OptimizerSpec::Adam { rate: 1e-2, weight_decay: 0.0 };
        let epochs = (STEPS * BATCH / question.batch).div_ceil(n / batch);
        let train = TrainSpec { epochs, batch, warmup: 1, final_rate: 1e-3, optimizer };
        let source = Table(samples.view());
        let encoder = Encoder::<B>::new(plan, question.seed, device);
        let objective = NeuralEigenmap::<B::InnerBackend>::with_kernel(
            NeuralEigenmapSpec::default(),
            question.teacher.as_ref().unwrap_or(kernel).clone(),
        );
        let trainee = Trainee::new(encoder, Box::new(objective), &train);
        let encoder = fit(trainee, &source, &train, question.seed, device, &mut Unwatched)?.encoder.valid();

        let outputs = |places: &[usize]| {
            let rows = samples.select(Axis(0), places);
            let images = TensorData::new(rows.iter().copied().collect::<Vec<f32>>(), [places.len(), 1, 1, values]);
            let outputs = encoder.forward(Tensor::from_data(images, device), Mode::Evaluate);
            let width = outputs.dims()[1];
            (rows, Array2::from_shape_vec((places.len(), width), floats(outputs)).expect("one row for each sample"))
        };
        let mut moments = Moments::new(network.dims);
        for pass in 0..if n <= EXACT_MOST { 1 } else { PASSES } {
            let order = shuffled(n, question.seed, u64::MAX / 2 + pass);
            let block = if n <= EXACT_MOST { n } else { BLOCK };
            for batch in order.chunks(block) {
                let places: Vec<usize> = batch.iter().map(|&sample| sample as usize).collect();
                let (rows, outputs) = outputs(&places);
                let rows = Rows { samples: batch, values: rows.view() };
                let gram = Pairs::of(batch.len(), n).weigh(kernel.gram(rows, rows));
                moments.add_gram(&outputs.view(), &gram.view());
            }
        }
        let ordering = moments.ordering(0.0).first(question.count);
        let all: Vec<usize> = (0..n).collect();
        let mut functions = Array2::zeros((n, ordering.kept()));
        for (places, mut part) in all.chunks(BLOCK).zip(functions.axis_chunks_iter_mut(Axis(0), BLOCK)) {
            part.assign(&ordering.apply(&outputs(places).1.view()).mapv(f64::from));
        }
        Ok((ordering.eigenvalues, functions))
    }
}

/// Samples that are no images, as they are.
struct Table<'a>(ArrayView2<'a, f32>);

impl Source for Table<'_> {
    fn len(&self) -> usize {
        self.0.nrows()
    }

    fn shape(&self) -> [usize; 3] {
        [1, 1, self.0.ncols()]
    }

    fn view(&self, _: View, _: u64, _: u64, samples: &[u32]) -> Vec<f32> {
        samples.iter().flat_map(|&sample| self.0.row(sample as usize).to_vec()).collect()
    }
}

struct Unwatched;

impl<B: Trainable> Watch<B> for Unwatched {
    fn epoch(&mut self, _: &Trainee<B>, _: &Epoch) -> Result<()> {
        Ok(())
    }
}
