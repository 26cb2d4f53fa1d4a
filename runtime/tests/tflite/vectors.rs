//! Reads the files that `tests/peers/tflite/generate.py` writes; the README beside it describes them.

use std::path::{Path, PathBuf};

const MAGIC: &[u8] = b"EIGTFL01";

/// What a case is a layer of, as TensorFlow Lite names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operator {
    Conv,
    Depthwise,
    FullyConnected,
    /// The layer of the case before, run as a `CONV_2D` of 1 by 1 over an image of 1 by 1.
    FullyConnectedAsConv,
    MaxPool,
    AveragePool,
    Add,
}

const OPERATORS: [Operator; 7] = [
    Operator::Conv,
    Operator::Depthwise,
    Operator::FullyConnected,
    Operator::FullyConnectedAsConv,
    Operator::MaxPool,
    Operator::AveragePool,
    Operator::Add,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    None,
    Relu,
    Relu6,
}

/// `real = scale * (value - zero_point)`.
#[derive(Clone, Copy, Debug)]
pub struct Grid {
    pub scale: f32,
    pub zero_point: i8,
}

/// One layer, what went in and what TensorFlow Lite gave.
#[derive(Clone, Debug)]
pub struct Case {
    pub operator: Operator,
    pub activation: Activation,
    /// Whether padding is `SAME`; else `VALID`.
    pub is_same: bool,
    /// Inputs, and outputs, one after another.
    pub samples: usize,
    /// Height, width and channels of one.
    pub input_shape: [usize; 3],
    pub output_shape: [usize; 3],
    /// Down, and across.
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub input_grid: Grid,
    /// The second operand's, where there is one.
    pub other_grid: Grid,
    pub output_grid: Grid,
    /// One for each channel, or one for all.
    pub weight_scales: Vec<f32>,
    /// `[outputs][height][width][inputs]`, or `[height][width][channels]` where each channel has its own.
    pub weights: Vec<i8>,
    /// TensorFlow Lite's: without anything for the input's zero point.
    pub biases: Vec<i32>,
    pub input: Vec<i8>,
    pub other: Vec<i8>,
    pub output: Vec<i8>,
}

/// A file.
pub struct Vectors {
    pub path: PathBuf,
    /// Which interpreter, and which seed.
    pub producer: String,
    /// Whether that interpreter's `FULLY_CONNECTED` is known to round once, in floating point; else twice, like all others.
    pub is_dense_float: bool,
    pub cases: Vec<Case>,
}

/// All `*.vectors` under a folder, by name.
///
/// # Panics
/// Where there are none, or one cannot be read.
pub fn read_all(folder: &Path) -> Vec<Vectors> {
    let mut paths = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "vectors") {
                paths.push(path);
            }
        }
    }
    assert!(!paths.is_empty(), "expected *.vectors under {}, found none", folder.display());
    paths.sort();
    paths.into_iter().map(read).collect()
}

fn read(path: PathBuf) -> Vectors {
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut reader = Reader { rest: &bytes, path: &path };
    assert_eq!(reader.take(MAGIC.len()), MAGIC, "{}: expected a file of vectors", path.display());
    let is_dense_float = reader.byte() == 1;
    let length = reader.short();
    let producer = String::from_utf8(reader.take(length).to_vec()).unwrap();
    let mut cases = Vec::new();
    while !reader.rest.is_empty() {
        cases.push(reader.case());
    }
    Vectors { producer, is_dense_float, cases, path }
}

/// Little-endian numbers, one after another.
struct Reader<'a> {
    rest: &'a [u8],
    path: &'a Path,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let Some((found, rest)) = self.rest.split_at_checked(count) else {
            panic!("{}: ends inside a case", self.path.display());
        };
        self.rest = rest;
        found
    }

    fn byte(&mut self) -> u8 {
        self.take(1)[0]
    }

    fn short(&mut self) -> usize {
        u16::from_le_bytes(self.word()).into()
    }

    fn shorts<const COUNT: usize>(&mut self) -> [usize; COUNT] {
        core::array::from_fn(|_| self.short())
    }

    fn word<const BYTES: usize>(&mut self) -> [u8; BYTES] {
        self.take(BYTES).try_into().unwrap()
    }

    fn grid(&mut self) -> Grid {
        Grid { scale: f32::from_le_bytes(self.word()), zero_point: self.byte() as i8 }
    }

    /// A count, and so many numbers.
    fn list<T, const BYTES: usize>(&mut self, number: impl Fn([u8; BYTES]) -> T) -> Vec<T> {
        let count = u32::from_le_bytes(self.word()) as usize;
        self.take(count * BYTES).chunks_exact(BYTES).map(|bytes| number(bytes.try_into().unwrap())).collect()
    }

    fn case(&mut self) -> Case {
        let operator = OPERATORS[usize::from(self.byte())];
        let activation = match self.byte() {
            0 => Activation::None,
            1 => Activation::Relu,
            3 => Activation::Relu6,
            other => panic!("{}: unknown activation {other}", self.path.display()),
        };
        let is_same = self.byte() == 0;
        self.byte();
        Case {
            operator,
            activation,
            is_same,
            samples: self.short(),
            input_shape: self.shorts(),
            output_shape: self.shorts(),
            kernel: self.shorts(),
            stride: self.shorts(),
            input_grid: self.grid(),
            other_grid: self.grid(),
            output_grid: self.grid(),
            weight_scales: self.list(f32::from_le_bytes),
            weights: self.list(i8::from_le_bytes),
            biases: self.list(i32::from_le_bytes),
            input: self.list(i8::from_le_bytes),
            other: self.list(i8::from_le_bytes),
            output: self.list(i8::from_le_bytes),
        }
    }
}
