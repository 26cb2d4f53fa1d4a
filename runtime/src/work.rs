//! What the kernels do for a model, counted: what estimates of instructions are made of. For tools on a host.

use eigenlet_shared::description::{Raw, Window};
use eigenlet_shared::packed::{EXACT_COLUMNS, SIDE, groups};
use eigenlet_shared::reader::kind;

use crate::heads::EMBEDDING;
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
        /// How often a model makes the kernels do what. A block is four rows of packed weights, or the two to three that are left; a group,
        /// four columns; a window is whole where no part of it lies on padding.
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
    /// Runs: one.
    run,
    /// Layers.
    layer,
    /// Those of them with a window.
    window,
    /// Bytes of a sample that are put in the arena.
    sample_byte,
    /// Groups of a sample that are widened as they are put.
    raw_group,
    /// Groups that are widened, of one pixel or of a vector.
    group,
    /// Blocks of rows by one pixel or a vector.
    block,
    /// Groups of four rows there.
    quad_group,
    /// Groups of two rows there.
    pair_group,
    /// Blocks of less than four rows there.
    rest,
    /// Parts of columns after the first, of all blocks.
    part,
    /// Pairs of pixels.
    pixels,
    /// Blocks of rows by two pixels.
    pixels_block,
    /// Groups of four rows there.
    pixels_quad_group,
    /// Groups of two rows there.
    pixels_pair_group,
    /// Blocks of less than four rows there.
    pixels_rest,
    /// Groups that are widened, of two pixels.
    pixels_group,
    /// Rows of windows in which they are widened.
    pixels_row,
    /// Those of them that are no whole groups.
    pixels_odd_row,
    /// Windows that are gathered first.
    gathered,
    /// Rows that are copied then.
    gathered_row,
    /// Groups that are copied then.
    gathered_group,
    /// Groups of the padding that is filled in then.
    filled_group,
    /// Last pixels without a second.
    single,
    /// Outputs that are clamped to a range.
    clamped,
    /// Depthwise: regions of windows that see the same, for four channels each.
    region,
    /// Weights that are looked at for regions.
    region_weight,
    /// Lines of regions.
    region_line,
    /// Depthwise: outputs of four channels each.
    depthwise_output,
    /// Rows of their windows.
    depthwise_row,
    /// Weights of their windows, four channels' each.
    depthwise_weight,
    /// Depthwise by single channels: outputs.
    channel_output,
    /// ... and weights.
    channel_weight,
    /// Those of them that do not lie on padding.
    channel_seen,
    /// Pooling: pixels.
    pool_pixel,
    /// Outputs.
    pool_output,
    /// Rows of their windows.
    pool_row,
    /// Values of their windows.
    pool_value,
    /// Outputs that are means.
    pool_mean,
    /// Values that are added up by two.
    added,
    /// Blocks of rows by a sample's ones.
    ones_block,
    /// Ones, of all those blocks.
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
        work.group += groups(self.features()) as f64;
        work.rows(self.features(), self.dims().into(), dims.min(self.dims()).into(), EMBEDDING);
        work
    }
}

impl Work {
    /// `sample` where the layer is the first: its form, and how many ones it has.
    fn layer(&mut self, step: &Steps, kernels: Kernels, sample: Option<(Raw, usize)>) {
        self.layer += 1.0;
        let input = step.input.shape;
        let outputs = step.output.shape.len();
        let columns = step.rows.columns;
        if step.record.kind == kind::DENSE {
            match sample {
                Some((Raw::Indices, ones)) => {
                    let blocks = outputs.div_ceil(SIDE) as f64;
                    self.ones_block += blocks;
                    self.one += blocks * ones.min(input.len()) as f64;
                    self.clamp(outputs, step.range());
                    return;
                }
                Some((Raw::U8, _)) => self.raw_group += groups(columns) as f64,
                None => self.group += groups(columns) as f64,
            }
            self.rows(columns, step.rows.rows, outputs, step.range());
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
                self.conv(&step.slide(), kernels, columns, step.rows.rows);
                self.clamp(outputs, step.range());
            }
            kind::DEPTHWISE_CONV_2D => {
                self.depthwise(&step.slide(), kernels);
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

    /// The first `wanted` of `rows` rows over a vector.
    fn rows(&mut self, columns: usize, rows: usize, wanted: usize, range: Range) {
        let Blocks { quads, pairs, rest } = Blocks::new(rows, wanted);
        let of_one = groups(columns) as f64;
        self.block += quads + pairs;
        self.quad_group += quads * of_one;
        self.pair_group += pairs * of_one;
        self.rest += rest;
        self.part += (quads + pairs) * parts(columns);
        self.clamp(wanted, range);
    }

    /// The rows of a convolution over two pixels.
    fn rows_by_two(&mut self, columns: usize, rows: usize) {
        let Blocks { quads, pairs, rest } = Blocks::new(rows, rows);
        let of_one = groups(columns) as f64;
        self.pixels += 1.0;
        self.pixels_block += quads + pairs;
        self.pixels_quad_group += quads * of_one;
        self.pixels_pair_group += pairs * of_one;
        self.pixels_rest += rest;
        self.part += 2.0 * (quads + pairs) * parts(columns);
    }

    /// Two pixels are widened from windows of so many rows.
    fn widen_two(&mut self, rows: usize, row: usize) {
        self.pixels_group += groups(rows.saturating_mul(row)) as f64;
        self.pixels_row += rows as f64;
        if !row.is_multiple_of(SIDE) {
            self.pixels_odd_row += rows as f64;
        }
    }

    fn conv(&mut self, slide: &Slide, kernels: Kernels, columns: usize, rows: usize) {
        let window = slide.window;
        let is_pointwise = window.kernel == [1, 1] && window.stride == [1, 1];
        let [height, width] = window.kernel.map(usize::from);
        let row = width.saturating_mul(slide.input.channels);
        let reads_rows = match kernels {
            Kernels::Dsp => row >= SIDE,
            Kernels::Portable => row.is_multiple_of(SIDE),
        };
        let [lines, pixels] = axes(slide);
        let mut seen = lines.flat_map(|line| pixels.clone().map(move |pixel| [line, pixel]));
        while let Some(first) = seen.next() {
            let second = seen.next();
            if is_pointwise {
                match second {
                    Some(_) => self.widen_two(1, columns),
                    None => self.group += groups(columns) as f64,
                }
            } else {
                let is_whole = |sides: &[Seen; 2]| sides.iter().all(|side| side.is_whole);
                if reads_rows && is_whole(&first) && second.as_ref().is_some_and(is_whole) {
                    self.widen_two(height, row);
                } else {
                    for sides in [Some(first), second].into_iter().flatten() {
                        self.gather(&sides, slide.input.channels, columns);
                    }
                    match second {
                        Some(_) => self.widen_two(1, columns),
                        None => self.group += groups(columns) as f64,
                    }
                }
            }
            match second {
                Some(_) => self.rows_by_two(columns, rows),
                None => {
                    self.single += 1.0;
                    self.rows(columns, rows, rows, Range::WHOLE);
                }
            }
        }
    }

    fn gather(&mut self, sides: &[Seen; 2], channels: usize, columns: usize) {
        let [rows, row] = sides;
        self.gathered += 1.0;
        self.gathered_row += rows.count as f64;
        self.gathered_group += rows.count as f64 * groups(row.count.saturating_mul(channels)) as f64;
        if !(rows.is_whole && row.is_whole) {
            self.filled_group += groups(columns) as f64;
        }
    }

    fn depthwise(&mut self, slide: &Slide, kernels: Kernels) {
        let [height, width] = slide.window.kernel.map(f64::from);
        let channels = slide.output.channels;
        let pixels = slide.output.height as f64 * slide.output.width as f64;
        let widest = match kernels {
            Kernels::Dsp => 5.0,
            Kernels::Portable => 25.0,
        };
        let [lines, columns] = axes(slide);
        if channels < SIDE || height * width > 25.0 || width > widest {
            self.channel_output += pixels * channels as f64;
            self.channel_weight += pixels * channels as f64 * height * width;
            let seen = |axis: Axis| axis.map(|side| side.count as f64).sum::<f64>();
            self.channel_seen += channels as f64 * seen(lines) * seen(columns);
            return;
        }
        let blocks = channels.div_ceil(SIDE) as f64;
        // Windows that are whole are one region, each of the others along an axis is one of its own.
        let regions = |axis: Axis| {
            let mut whole = Seen { count: 0, is_whole: true };
            let mut wholes = 0.0;
            for side in axis.clone().filter(|side| side.is_whole) {
                whole = side;
                wholes += 1.0;
            }
            let others = axis.filter(|side| !side.is_whole).map(|side| (side.count as f64, 1.0));
            others.chain((wholes > 0.0).then_some((whole.count as f64, wholes)))
        };
        for (rows, tall) in regions(lines) {
            for (row, wide) in regions(columns.clone()) {
                self.region += blocks;
                self.region_weight += blocks * height * width;
                self.region_line += blocks * f64::min(tall, wide);
                self.depthwise_output += blocks * tall * wide;
                self.depthwise_row += blocks * tall * wide * rows;
                self.depthwise_weight += blocks * tall * wide * rows * row;
            }
        }
    }

    fn pool(&mut self, slide: &Slide, is_mean: bool) {
        let channels = slide.output.channels as f64;
        let [lines, columns] = axes(slide);
        for line in lines {
            for column in columns.clone() {
                let (rows, row) = (line.count as f64, column.count as f64);
                self.pool_pixel += 1.0;
                self.pool_output += channels;
                self.pool_row += channels * rows;
                self.pool_value += channels * rows * row;
                self.pool_mean += if is_mean { channels } else { 0.0 };
            }
        }
    }
}

/// The blocks of packed rows that are multiplied for the first `wanted` of `rows`.
struct Blocks {
    /// Of four rows, and of three.
    quads: f64,
    pairs: f64,
    /// Whether the last one is less than four rows.
    rest: f64,
}

impl Blocks {
    fn new(rows: usize, wanted: usize) -> Self {
        let whole = wanted / SIDE;
        let is_rest = !wanted.is_multiple_of(SIDE);
        let is_pair = is_rest && rows.saturating_sub(whole.saturating_mul(SIDE)) <= 2;
        Self {
            quads: whole as f64 + if is_rest && !is_pair { 1.0 } else { 0.0 },
            pairs: f64::from(is_pair),
            rest: f64::from(is_rest),
        }
    }
}

/// Parts of columns after the first.
fn parts(columns: usize) -> f64 {
    columns.div_ceil(EXACT_COLUMNS).saturating_sub(1) as f64
}

/// How much of a window a position along one axis sees.
#[derive(Clone, Copy)]
struct Seen {
    count: usize,
    is_whole: bool,
}

/// The positions of a window along an axis.
#[derive(Clone)]
struct Axis {
    next: i64,
    left: usize,
    stride: i64,
    kernel: i64,
    size: i64,
}

impl Iterator for Axis {
    type Item = Seen;

    fn next(&mut self) -> Option<Seen> {
        self.left = self.left.checked_sub(1)?;
        let before = self.next.saturating_neg().clamp(0, self.kernel);
        let end = self.size.saturating_sub(self.next).clamp(before, self.kernel);
        self.next = self.next.saturating_add(self.stride);
        let count = end.saturating_sub(before);
        Some(Seen { count: count as usize, is_whole: count == self.kernel })
    }
}

/// The positions down and across.
fn axes(slide: &Slide) -> [Axis; 2] {
    let Window { kernel: [height, width], stride: [down, across], padding: [top, left, ..] } = *slide.window;
    let axis = |kernel: u8, stride: u8, before: u8, size: usize, left| Axis {
        next: i64::from(before).saturating_neg(),
        left,
        stride: stride.into(),
        kernel: kernel.into(),
        size: size as i64,
    };
    [
        axis(height, down, top, slide.input.height, slide.output.height),
        axis(width, across, left, slide.input.width, slide.output.width),
    ]
}
