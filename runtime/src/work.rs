//! What the kernels do for a model, counted: what estimates of instructions are made of. For tools on a host.

use eigenlet_shared::description::Raw;
use eigenlet_shared::packed::{EXACT_COLUMNS, SIDE, groups};
use eigenlet_shared::reader::kind;

use crate::heads::EMBEDDING;
use crate::kernels::window::{Seen, Walk};
use crate::kernels::{Range, Slide};
use crate::model::Model;
use crate::step::Steps;

/// Which kernels run a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernels {
    /// Those of cores with the DSP extension.
    Dsp,
    /// Those of all others.
    Portable,
}

/// The structure, and the names of its fields.
macro_rules! work {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// How often a model makes the kernels do what. A quad is four rows of packed weights, a group four columns.
        #[derive(Clone, Copy, Debug, Default, PartialEq)]
        pub struct Work {
            $($(#[doc = $doc])+ pub $name: f64,)+
        }

        impl Work {
            /// The names of all counts.
            pub const NAMES: &[&str] = &[$(stringify!($name)),+];

            /// All counts, each with its name.
            pub fn counts(&self) -> [(&'static str, f64); Self::NAMES.len()] {
                [$((stringify!($name), self.$name)),+]
            }
        }
    };
}

work! {
    /// Runs of the model: one.
    run,
    /// Heads that the model has.
    head,
    /// Layers.
    layer,
    /// Those of them with a window.
    window,
    /// Those of them with weights.
    weights,
    /// Bytes of a sample that are put in the arena.
    sample_byte,
    /// Groups of a sample that are widened as they are put.
    raw_group,
    /// Groups that are widened, of one pixel or of a vector.
    group,
    /// Quads of rows by one pixel or a vector.
    quad,
    /// Their groups.
    quad_group,
    /// Quads of which not all outputs are wanted.
    rest,
    /// Parts of columns after the first, of all quads.
    part,
    /// Pairs of pixels.
    pair,
    /// Quads of rows by two pixels.
    pair_quad,
    /// Their groups.
    pair_quad_group,
    /// Quads of which not all outputs are wanted.
    pair_rest,
    /// Groups that are widened, of two pixels.
    pair_group,
    /// Rows of windows in which they are widened.
    pair_row,
    /// Those of them that are no whole groups.
    pair_odd_row,
    /// Last pixels without a second.
    single,
    /// Stretches of a line: of windows that lie inside, or of one or two of others.
    stretch,
    /// Those of them that are read in the image.
    read_stretch,
    /// Windows that are gathered first.
    gathered,
    /// Rows that are copied then.
    gathered_row,
    /// Groups that are copied then, of rows that have one at least.
    gathered_group,
    /// Values that are copied then, of shorter rows.
    gathered_value,
    /// Groups of padding that is filled in then.
    filled_group,
    /// Outputs that are clamped to a range.
    clamped,
    /// Depthwise: pixels.
    filtered,
    /// Quads of channels there.
    filtered_quad,
    /// Rows of their windows.
    filtered_row,
    /// Weights of their windows, four channels' each.
    filtered_weight,
    /// Quads of which not all outputs are wanted.
    filtered_rest,
    /// Pooling: pixels.
    pooled,
    /// Largest values: outputs.
    largest_output,
    /// Rows of windows,
    largest_row,
    /// ... their pixels,
    largest_pixel,
    /// ... and values.
    largest_value,
    /// Means: outputs.
    mean_output,
    /// Rows of their windows,
    mean_row,
    /// ... and values.
    mean_value,
    /// Values that are added up by two.
    added,
    /// Indices of a sample's ones.
    index,
    /// Quads of rows by them.
    ones_quad,
    /// Ones, of all those quads.
    one,
}

impl Model<'_> {
    /// What the kernels do for the layers and the first `dims` dimensions; where samples are indices, for one of so many ones.
    pub fn work(&self, kernels: Kernels, ones: usize, dims: u16) -> Work {
        let mut work = Work { run: 1.0, ..Work::default() };
        let mut is_first = true;
        for () in self.steps().map(|step| {
            let sample = core::mem::take(&mut is_first).then(|| (self.raw(), ones));
            work.layer(step, kernels, sample);
        }) {}
        if is_first {
            work.sample_byte += self.input_len() as f64;
        }
        work.head = [self.dims(), self.bits(), self.clusters(), self.experts()]
            .map(|count| f64::from(count.min(1)))
            .iter()
            .sum();
        work.group += groups(self.features()) as f64;
        work.rows(self.features(), dims.min(self.dims()).into(), EMBEDDING);
        work
    }
}

impl Work {
    /// `sample` where the layer is the first: its form, and how many ones it has.
    fn layer(&mut self, step: &Steps, kernels: Kernels, sample: Option<(Raw, usize)>) {
        self.layer += 1.0;
        let input = step.input.shape;
        let outputs = step.output.shape.len();
        let rows = step.rows.rows();
        if matches!(step.record.kind, kind::DENSE | kind::CONV_2D | kind::DEPTHWISE_CONV_2D) {
            self.weights += 1.0;
        }
        if step.record.kind == kind::DENSE {
            let of_input = groups(input.len()) as f64;
            match sample {
                Some((Raw::Indices, ones)) => {
                    let quads = rows.div_ceil(SIDE) as f64;
                    let ones = ones.min(input.len()) as f64;
                    self.index += ones;
                    self.ones_quad += quads;
                    self.one += quads * ones;
                    self.clamp(outputs, step.range());
                    return;
                }
                Some((Raw::U8, _)) => self.raw_group += of_input,
                None => self.group += of_input,
            }
            self.rows(input.len(), rows, step.range());
            return;
        }
        if sample.is_some() {
            self.sample_byte += input.len() as f64;
        }
        if step.window().is_some() {
            self.window += 1.0;
        }
        match step.record.kind {
            kind::ADD => self.added += outputs as f64,
            kind::RECALL => {}
            kind::CONV_2D => {
                self.conv(&step.slide(), kernels, rows);
                self.clamp(outputs, step.range());
            }
            kind::DEPTHWISE_CONV_2D => {
                self.depthwise(&step.slide());
                self.clamp(outputs, step.range());
            }
            pool => self.pool(&step.slide(), pool == kind::AVERAGE_POOL_2D),
        }
    }

    fn clamp(&mut self, outputs: usize, range: Range) {
        if range != Range::WHOLE {
            self.clamped += outputs as f64;
        }
    }

    /// So many rows over a vector.
    fn rows(&mut self, columns: usize, rows: usize, range: Range) {
        let quads = rows.div_ceil(SIDE) as f64;
        self.quad += quads;
        self.quad_group += quads * groups(columns) as f64;
        self.rest += f64::from(!rows.is_multiple_of(SIDE));
        self.part += quads * parts(columns);
        self.clamp(rows, range);
    }

    /// The rows of a convolution over two pixels, which are widened from `height` rows of windows, each `row` values.
    fn pair(&mut self, columns: usize, rows: usize, [height, row]: [usize; 2]) {
        let quads = rows.div_ceil(SIDE) as f64;
        self.pair += 1.0;
        self.pair_quad += quads;
        self.pair_quad_group += quads * groups(columns) as f64;
        self.pair_rest += f64::from(!rows.is_multiple_of(SIDE));
        self.part += 2.0 * quads * parts(columns);
        self.pair_group += groups(columns) as f64;
        self.pair_row += height as f64;
        if !row.is_multiple_of(SIDE) {
            self.pair_odd_row += height as f64;
        }
    }

    fn conv(&mut self, slide: &Slide, kernels: Kernels, rows: usize) {
        let [height, width] = slide.window.kernel.map(usize::from);
        let row = width.saturating_mul(slide.input.channels);
        let columns = height.saturating_mul(row);
        let whole = groups(columns).saturating_mul(SIDE);
        let reads_rows = match kernels {
            Kernels::Dsp => row >= SIDE,
            Kernels::Portable => row.is_multiple_of(SIDE),
        };
        let mut walk = Walk::new(slide, &(0..slide.output.height), &[]);
        let mut left = pixels(slide);
        while left > 0 {
            let pairs = walk.inside().0 / 2;
            self.stretch += 1.0;
            if pairs > 0 && reads_rows {
                self.read_stretch += 1.0;
                for _ in 0..pairs {
                    self.pair(columns, rows, [height, row]);
                }
                walk.pass(pairs.saturating_mul(2));
                left = left.saturating_sub(pairs.saturating_mul(2));
                continue;
            }
            for _ in 0..pairs.max(1) {
                self.gather(&Seen::new(slide, walk.next()), slide, whole);
                if left > 1 {
                    self.gather(&Seen::new(slide, walk.next()), slide, whole);
                    self.pair(columns, rows, [1, whole]);
                } else {
                    self.single += 1.0;
                    self.group += groups(columns) as f64;
                    self.rows(columns, rows, Range::WHOLE);
                }
                left = left.saturating_sub(2);
            }
        }
    }

    /// A window is gathered into a patch of so many values.
    fn gather(&mut self, seen: &Seen, slide: &Slide, patch: usize) {
        self.gathered += 1.0;
        self.gathered_row += seen.rows as f64;
        match seen.columns.saturating_mul(slide.input.channels) {
            row @ ..SIDE => self.gathered_value += seen.rows as f64 * row as f64,
            row => self.gathered_group += seen.rows as f64 * groups(row) as f64,
        }
        if [seen.rows, seen.columns] != slide.window.kernel.map(usize::from) {
            self.filled_group += groups(patch) as f64;
        }
    }

    fn depthwise(&mut self, slide: &Slide) {
        let [height, width] = slide.window.kernel.map(usize::from);
        let channels = slide.output.channels;
        let quads = channels.div_ceil(SIDE) as f64;
        let is_whole = channels.is_multiple_of(SIDE);
        let patch = height.saturating_mul(width).saturating_mul(channels).saturating_add(SIDE - 1);
        let mut walk = Walk::new(slide, &(0..slide.output.height), &[]);
        let mut left = pixels(slide);
        while left > 0 {
            let (count, _) = walk.inside();
            // Whole words are read at every tap: of a last quad that is not full, they may reach beyond the image.
            let is_there = count > 0 && (is_whole || !ends(slide, &walk, count));
            self.stretch += 1.0;
            self.read_stretch += f64::from(is_there);
            for _ in 0..count.max(1) {
                let seen = Seen::new(slide, walk.next());
                if !is_there {
                    self.gather(&seen, slide, patch);
                }
                self.filtered += 1.0;
                self.filtered_quad += quads;
                self.filtered_row += quads * height as f64;
                self.filtered_weight += quads * height as f64 * width as f64;
                self.filtered_rest += f64::from(!is_whole);
                left = left.saturating_sub(1);
            }
        }
    }

    fn pool(&mut self, slide: &Slide, is_mean: bool) {
        let channels = slide.output.channels as f64;
        let mut walk = Walk::new(slide, &(0..slide.output.height), &[]);
        for _ in 0..pixels(slide) {
            let seen = Seen::new(slide, walk.next());
            let (rows, columns) = (seen.rows as f64, seen.columns as f64);
            self.pooled += 1.0;
            if is_mean {
                self.mean_output += channels;
                self.mean_row += channels * rows;
                self.mean_value += channels * rows * columns;
            } else {
                self.largest_output += channels;
                self.largest_row += rows;
                self.largest_pixel += rows * columns;
                self.largest_value += channels * rows * columns;
            }
        }
    }
}

/// Parts of columns after the first.
fn parts(columns: usize) -> f64 {
    columns.div_ceil(EXACT_COLUMNS).saturating_sub(1) as f64
}

/// Positions of the window.
fn pixels(slide: &Slide) -> usize {
    slide.output.height.saturating_mul(slide.output.width)
}

/// Whether the last of so many windows in a line ends where the image does.
fn ends(slide: &Slide, walk: &Walk, count: usize) -> bool {
    let mut last = walk.clone();
    last.pass(count.saturating_sub(1));
    let (top, left) = last.next().place();
    let [height, width] = slide.window.kernel.map(i32::from);
    let (bottom, right) = (top.saturating_add(height), left.saturating_add(width));
    bottom as usize >= slide.input.height && right as usize >= slide.input.width
}
