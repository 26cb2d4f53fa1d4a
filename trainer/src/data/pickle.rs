//! Reader of the few things that the files of Planetoid hold: numpy arrays, scipy's sparse matrices and a dictionary of
//! lists, pickled by Python 2 with protocol 2.
//!
//! A pickle is a program for a machine with a stack. This one knows the instructions that such things consist of and
//! six names, to which it gives meanings of its own; it calls nothing, and whatever else a pickle asks for is an error.
//! Lists hold whole numbers alone and things nest three deep at most, so that no pickle can exhaust memory or stack.

use std::collections::HashMap;
use std::path::Path;

use super::gzip;
use crate::error::{Error, Result};

/// The longest file, in bytes.
const MAX_BYTES: usize = 1 << 30;

/// Numbers `[rows, columns]`, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Integers {
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub columns: usize,
    /// The numbers.
    pub values: Vec<i32>,
}

/// A sparse matrix, unchecked but for the lengths: rows may overlap and indices be out of range.
#[derive(Debug, Clone, PartialEq)]
pub struct Csr {
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub columns: usize,
    /// Where each row begins in `indices`; one more for the end.
    pub offsets: Vec<i32>,
    /// The column of each value.
    pub indices: Vec<i32>,
    /// The values.
    pub values: Vec<f32>,
}

/// Reads a numpy array of `int32` with two dimensions.
///
/// # Errors
/// The file cannot be read, or is no such pickle.
pub fn integers(path: &Path) -> Result<Integers> {
    read(path, "a pickled numpy array of int32 with two dimensions", take_integers)
}

/// Reads a sparse matrix of scipy with values of `float32`.
///
/// # Errors
/// The file cannot be read, or is no such pickle.
pub fn csr(path: &Path) -> Result<Csr> {
    read(path, "a pickled scipy.sparse.csr_matrix of float32", take_csr)
}

/// Reads a dictionary from whole numbers to lists of them, in the order of the file.
///
/// # Errors
/// The file cannot be read, or is no such pickle.
pub fn lists(path: &Path) -> Result<Vec<(i64, Vec<i64>)>> {
    read(path, "a pickled dictionary from whole numbers to lists of them", take_lists)
}

/// What a pickle does that it must not.
type Wrong = String;

fn read<T>(path: &Path, expected: &str, take: impl FnOnce(Value) -> std::result::Result<T, Wrong>) -> Result<T> {
    let bytes = gzip::read(path, MAX_BYTES)?;
    Machine::result(&bytes)
        .and_then(take)
        .map_err(|found| Error::input(path.display(), "not the pickle that belongs here", expected, found))
}

fn take_integers(value: Value) -> std::result::Result<Integers, Wrong> {
    let Value::Array(Some(array)) = value else { return Err(value.name().into()) };
    let [rows, columns] = array.shape[..] else { return Err(format!("dimensions {:?}", array.shape)) };
    Ok(Integers { rows, columns, values: array.whole()? })
}

fn take_csr(value: Value) -> std::result::Result<Csr, Wrong> {
    let Value::Matrix(Some(attributes)) = value else { return Err(value.name().into()) };
    let attribute = |name: &str| {
        let is_it = |(key, _): &&(Value, Value)| matches!(key, Value::Bytes(bytes) if *bytes == name.as_bytes());
        attributes.iter().find(is_it).map(|(_, value)| value).ok_or(format!("no attribute {name}"))
    };
    let numbers = |name: &str| match attribute(name)? {
        Value::Array(Some(array)) => Ok(array),
        other => Err(format!("{} as {name}", other.name())),
    };
    let shape = attribute("_shape")?.whole_numbers()?;
    let [rows, columns] = shape[..] else { return Err(format!("the shape {shape:?}")) };
    let csr = Csr {
        rows,
        columns,
        offsets: numbers("indptr")?.whole()?,
        indices: numbers("indices")?.whole()?,
        values: numbers("data")?.real()?,
    };
    match csr.offsets.len() == rows.saturating_add(1) && csr.indices.len() == csr.values.len() {
        true => Ok(csr),
        false => Err("attributes whose lengths do not fit together".into()),
    }
}

fn take_lists(value: Value) -> std::result::Result<Vec<(i64, Vec<i64>)>, Wrong> {
    let Value::Dict(entries) = value else { return Err(value.name().into()) };
    let list = |entry| match entry {
        (Value::Int(key), Value::List(list)) => Ok((key, list)),
        (key, value) => Err(format!("an entry from {} to {}", key.name(), value.name())),
    };
    entries.into_iter().map(list).collect()
}

/// A name that a pickle may use.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Name {
    Reconstruct,
    Ndarray,
    Dtype,
    CsrMatrix,
    DefaultDict,
    List,
}

/// The type of an array's values, little-endian.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Numbers {
    Int32,
    Float32,
}

struct Array<'a> {
    shape: Vec<usize>,
    numbers: Numbers,
    /// Four for each value.
    bytes: &'a [u8],
}

impl Array<'_> {
    fn whole(&self) -> std::result::Result<Vec<i32>, Wrong> {
        match self.numbers {
            Numbers::Int32 => Ok(self.bytes.as_chunks().0.iter().map(|&bytes| i32::from_le_bytes(bytes)).collect()),
            Numbers::Float32 => Err("an array of float32 in place of int32".into()),
        }
    }

    fn real(&self) -> std::result::Result<Vec<f32>, Wrong> {
        match self.numbers {
            Numbers::Float32 => Ok(self.bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()),
            Numbers::Int32 => Err("an array of int32 in place of float32".into()),
        }
    }
}

enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    Bytes(&'a [u8]),
    Name(Name),
    Type(Numbers),
    List(Vec<i64>),
    /// Holds no containers but tuples of what is none.
    Tuple(Vec<Value<'a>>),
    /// Holds neither dictionaries nor matrices.
    Dict(Vec<(Value<'a>, Value<'a>)>),
    /// `None` before its state is known.
    Array(Option<Array<'a>>),
    /// The attributes; `None` before its state is known.
    Matrix(Option<Vec<(Value<'a>, Value<'a>)>>),
}

impl<'a> Value<'a> {
    fn name(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "a truth value",
            Self::Int(_) => "a whole number",
            Self::Bytes(_) => "a string",
            Self::Name(_) => "a name",
            Self::Type(_) => "a type of numbers",
            Self::List(_) => "a list",
            Self::Tuple(_) => "a tuple",
            Self::Dict(_) => "a dictionary",
            Self::Array(_) => "an array",
            Self::Matrix(_) => "a matrix",
        }
    }

    /// A copy, of what holds nothing else and does not change.
    fn simple(&self) -> Option<Self> {
        match *self {
            Self::None => Some(Self::None),
            Self::Bool(value) => Some(Self::Bool(value)),
            Self::Int(value) => Some(Self::Int(value)),
            Self::Bytes(bytes) => Some(Self::Bytes(bytes)),
            Self::Name(name) => Some(Self::Name(name)),
            Self::Type(numbers) => Some(Self::Type(numbers)),
            Self::List(_) | Self::Tuple(_) | Self::Dict(_) | Self::Array(_) | Self::Matrix(_) => None,
        }
    }

    /// A tuple of lengths.
    fn whole_numbers(&self) -> std::result::Result<Vec<usize>, Wrong> {
        let Self::Tuple(items) = self else { return Err(format!("{} as a shape", self.name())) };
        let length = |item: &Value| match item {
            Value::Int(number) => usize::try_from(*number).map_err(|_| format!("a length of {number}")),
            other => Err(format!("{} as a length", other.name())),
        };
        items.iter().map(length).collect()
    }

    /// Whether a tuple may hold it.
    fn fits_a_tuple(&self) -> bool {
        match self {
            Self::Tuple(items) => items.iter().all(|item| item.simple().is_some()),
            other => other.simple().is_some(),
        }
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    position: usize,
    stack: Vec<Value<'a>>,
    /// Heights of the stack.
    marks: Vec<usize>,
    /// What may be pushed again; `None` for what was remembered but may change or be large.
    memo: HashMap<u32, Option<Value<'a>>>,
}

impl<'a> Machine<'a> {
    /// What a pickle makes.
    fn result(bytes: &'a [u8]) -> std::result::Result<Value<'a>, Wrong> {
        let mut machine = Self { bytes, position: 0, stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() };
        machine.run().map_err(|found| format!("{found} before byte {}", machine.position))
    }

    /// Runs the whole pickle; what it leaves.
    fn run(&mut self) -> std::result::Result<Value<'a>, Wrong> {
        if self.take(2)? != [0x80, 2] {
            return Err("no pickle of protocol 2".into());
        }
        loop {
            let [instruction] = self.array()?;
            match instruction {
                b'.' => break,
                b'(' => self.marks.push(self.stack.len()),
                b'N' => self.stack.push(Value::None),
                0x88 => self.stack.push(Value::Bool(true)),
                0x89 => self.stack.push(Value::Bool(false)),
                b'K' => {
                    let [number] = self.array()?;
                    self.stack.push(Value::Int(number.into()));
                }
                b'M' => {
                    let number = u16::from_le_bytes(self.array()?);
                    self.stack.push(Value::Int(number.into()));
                }
                b'J' => {
                    let number = i32::from_le_bytes(self.array()?);
                    self.stack.push(Value::Int(number.into()));
                }
                b'U' => {
                    let [length] = self.array()?;
                    let bytes = self.take(length.into())?;
                    self.stack.push(Value::Bytes(bytes));
                }
                b'T' => {
                    let length = i32::from_le_bytes(self.array()?);
                    let length = usize::try_from(length).map_err(|_| format!("a string of {length} bytes"))?;
                    let bytes = self.take(length)?;
                    self.stack.push(Value::Bytes(bytes));
                }
                b'c' => {
                    let name = self.name()?;
                    self.stack.push(Value::Name(name));
                }
                b']' => self.stack.push(Value::List(Vec::new())),
                b'}' => self.stack.push(Value::Dict(Vec::new())),
                b')' => self.stack.push(Value::Tuple(Vec::new())),
                0x85..=0x87 => {
                    let items = self.pop_several(usize::from(instruction - 0x84))?;
                    self.tuple(items)?;
                }
                b't' => {
                    let items = self.pop_to_mark()?;
                    self.tuple(items)?;
                }
                b'a' => {
                    let items = self.pop_several(1)?;
                    self.append(items)?;
                }
                b'e' => {
                    let items = self.pop_to_mark()?;
                    self.append(items)?;
                }
                b's' => {
                    let items = self.pop_several(2)?;
                    self.set(items)?;
                }
                b'u' => {
                    let items = self.pop_to_mark()?;
                    self.set(items)?;
                }
                0x81 | b'R' => {
                    let arguments = self.pop()?;
                    let made = make(instruction, self.pop()?, arguments)?;
                    self.stack.push(made);
                }
                b'b' => {
                    let state = self.pop()?;
                    let built = build(self.pop()?, state)?;
                    self.stack.push(built);
                }
                b'q' => {
                    let [key] = self.array()?;
                    self.remember(key.into())?;
                }
                b'r' => {
                    let key = u32::from_le_bytes(self.array()?);
                    self.remember(key)?;
                }
                b'h' => {
                    let [key] = self.array()?;
                    self.recall(key.into())?;
                }
                b'j' => {
                    let key = u32::from_le_bytes(self.array()?);
                    self.recall(key)?;
                }
                other => return Err(format!("the instruction 0x{other:02X}")),
            }
        }
        let value = self.pop()?;
        if !self.stack.is_empty() || !self.marks.is_empty() || self.position < self.bytes.len() {
            return Err("more than one thing".into());
        }
        Ok(value)
    }

    fn take(&mut self, count: usize) -> std::result::Result<&'a [u8], Wrong> {
        let (taken, _) = self.bytes[self.position..].split_at_checked(count).ok_or("the end of the file")?;
        self.position += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> std::result::Result<[u8; N], Wrong> {
        Ok(self.take(N)?.try_into().expect("as many were taken"))
    }

    /// A module and a name in it, each up to the end of a line.
    fn name(&mut self) -> std::result::Result<Name, Wrong> {
        let mut line = || {
            let rest = &self.bytes[self.position..];
            let length = rest.iter().take(100).position(|&byte| byte == b'\n').ok_or("a name without an end")?;
            self.position += length + 1;
            Ok::<_, Wrong>(&rest[..length])
        };
        match (line()?, line()?) {
            (b"numpy.core.multiarray", b"_reconstruct") => Ok(Name::Reconstruct),
            (b"numpy", b"ndarray") => Ok(Name::Ndarray),
            (b"numpy", b"dtype") => Ok(Name::Dtype),
            (b"scipy.sparse.csr", b"csr_matrix") => Ok(Name::CsrMatrix),
            (b"collections", b"defaultdict") => Ok(Name::DefaultDict),
            (b"__builtin__", b"list") => Ok(Name::List),
            (module, name) => Err(format!("the name {}.{}", module.escape_ascii(), name.escape_ascii())),
        }
    }

    fn pop(&mut self) -> std::result::Result<Value<'a>, Wrong> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() == floor { Err(EMPTY.into()) } else { self.stack.pop().ok_or(EMPTY.into()) }
    }

    fn pop_several(&mut self, count: usize) -> std::result::Result<Vec<Value<'a>>, Wrong> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len().checked_sub(count) {
            Some(height) if height >= floor => Ok(self.stack.split_off(height)),
            _ => Err(EMPTY.into()),
        }
    }

    fn pop_to_mark(&mut self) -> std::result::Result<Vec<Value<'a>>, Wrong> {
        let height = self.marks.pop().ok_or("no mark")?;
        Ok(self.stack.split_off(height))
    }

    fn tuple(&mut self, items: Vec<Value<'a>>) -> std::result::Result<(), Wrong> {
        match items.iter().find(|item| !item.fits_a_tuple()) {
            Some(item) => Err(format!("{} in a tuple", item.name())),
            None => {
                self.stack.push(Value::Tuple(items));
                Ok(())
            }
        }
    }

    fn append(&mut self, items: Vec<Value<'a>>) -> std::result::Result<(), Wrong> {
        let Some(Value::List(list)) = self.stack.last_mut() else { return Err("items without a list".into()) };
        for item in items {
            let Value::Int(number) = item else { return Err(format!("{} in a list", item.name())) };
            list.push(number);
        }
        Ok(())
    }

    fn set(&mut self, items: Vec<Value<'a>>) -> std::result::Result<(), Wrong> {
        let Some(Value::Dict(entries)) = self.stack.last_mut() else {
            return Err("entries without a dictionary".into());
        };
        let mut items = items.into_iter();
        while let Some(key) = items.next() {
            let value = items.next().ok_or("a key without a value")?;
            if key.simple().is_none() || matches!(value, Value::Dict(_) | Value::Matrix(_)) {
                return Err(format!("{} for {} in a dictionary", value.name(), key.name()));
            }
            entries.push((key, value));
        }
        Ok(())
    }

    fn remember(&mut self, key: u32) -> std::result::Result<(), Wrong> {
        let value = self.stack.last().ok_or(EMPTY)?;
        self.memo.insert(key, value.simple());
        Ok(())
    }

    fn recall(&mut self, key: u32) -> std::result::Result<(), Wrong> {
        let value = self.memo.get(&key).ok_or("a reference to nothing")?;
        let value = value.as_ref().and_then(Value::simple).ok_or("a second reference to a container")?;
        self.stack.push(value);
        Ok(())
    }
}

const EMPTY: &str = "an instruction that finds nothing on the stack";

/// What a call of `callee` with `arguments` (`R`), or a new object of the class `callee` (0x81), stands for.
fn make<'a>(instruction: u8, callee: Value<'a>, arguments: Value<'a>) -> std::result::Result<Value<'a>, Wrong> {
    let (Value::Name(name), Value::Tuple(arguments)) = (&callee, &arguments) else {
        return Err(format!("a call of {} with {}", callee.name(), arguments.name()));
    };
    match (instruction, name, &arguments[..]) {
        (0x81, Name::CsrMatrix, []) => Ok(Value::Matrix(None)),
        (b'R', Name::Reconstruct, [Value::Name(Name::Ndarray), ..]) => Ok(Value::Array(None)),
        (b'R', Name::DefaultDict, [Value::Name(Name::List)]) => Ok(Value::Dict(Vec::new())),
        (b'R', Name::Dtype, [Value::Bytes(b"i4"), ..]) => Ok(Value::Type(Numbers::Int32)),
        (b'R', Name::Dtype, [Value::Bytes(b"f4"), ..]) => Ok(Value::Type(Numbers::Float32)),
        (b'R', Name::Dtype, [Value::Bytes(other), ..]) => Err(format!("numbers of type {}", other.escape_ascii())),
        _ => Err("a call of a name with arguments that do not belong to it".into()),
    }
}

/// `object` with its state.
fn build<'a>(object: Value<'a>, state: Value<'a>) -> std::result::Result<Value<'a>, Wrong> {
    match (object, state) {
        (Value::Matrix(None), Value::Dict(attributes)) => Ok(Value::Matrix(Some(attributes))),
        // The version of the state, then the order of bytes.
        (Value::Type(numbers), Value::Tuple(state)) => match &state[..] {
            [Value::Int(3), Value::Bytes(b"<"), ..] => Ok(Value::Type(numbers)),
            _ => Err("numbers that are not little-endian".into()),
        },
        // The version of the state, dimensions, type, whether the first dimension is the fastest, values.
        (Value::Array(None), Value::Tuple(state)) => match &state[..] {
            [Value::Int(1), shape, Value::Type(numbers), Value::Bool(false), Value::Bytes(bytes)] => {
                let shape = shape.whole_numbers()?;
                let length = shape.iter().try_fold(4_usize, |product, &extent| product.checked_mul(extent));
                match length == Some(bytes.len()) {
                    true => Ok(Value::Array(Some(Array { shape, numbers: *numbers, bytes }))),
                    false => Err(format!("an array of dimensions {shape:?} with {} bytes of values", bytes.len())),
                }
            }
            _ => Err("an array whose state is not that of plain numbers, row by row".into()),
        },
        (object, state) => Err(format!("{} with {} as its state", object.name(), state.name())),
    }
}

/// Pickles for tests.
#[cfg(test)]
pub(crate) mod testing {
    /// An array, as a part of a pickle.
    pub fn array(shape: &[i32], kind: &[u8; 2], values: &[u8]) -> Vec<u8> {
        let mut bytes = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\x01b\x87R(K\x01(".to_vec();
        shape.iter().for_each(|extent| bytes.extend([&b"J"[..], &extent.to_le_bytes()].concat()));
        bytes.extend(b"tcnumpy\ndtype\nU\x02");
        bytes.extend(kind);
        bytes.extend(b"K\0K\x01\x87Rq\x07(K\x03U\x01<NNNJ\xFF\xFF\xFF\xFFJ\xFF\xFF\xFF\xFFK\0tb\x89T");
        bytes.extend((values.len() as i32).to_le_bytes());
        bytes.extend(values);
        bytes.extend(b"tb");
        bytes
    }

    /// A whole pickle of one thing.
    pub fn pickle(thing: &[u8]) -> Vec<u8> {
        [b"\x80\x02", thing, b"."].concat()
    }

    /// A pickled array of `int32`.
    pub fn integers(rows: i32, columns: i32, values: &[i32]) -> Vec<u8> {
        pickle(&array(&[rows, columns], b"i4", &whole(values)))
    }

    /// A pickled sparse matrix.
    pub fn csr(rows: i32, columns: i32, offsets: &[i32], indices: &[i32], values: &[f32]) -> Vec<u8> {
        let shape = [&b"J"[..], &rows.to_le_bytes(), b"J", &columns.to_le_bytes(), b"\x86"].concat();
        let real: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        pickle(
            &[
                &b"cscipy.sparse.csr\ncsr_matrix\n)\x81q\x01}q\x02(U\x06formatU\x03csrU\x06_shape"[..],
                &shape,
                b"U\x06indptr",
                &array(&[offsets.len() as i32], b"i4", &whole(offsets)),
                b"U\x07indices",
                &array(&[indices.len() as i32], b"i4", &whole(indices)),
                b"U\x04data",
                &array(&[values.len() as i32], b"f4", &real),
                b"ub",
            ]
            .concat(),
        )
    }

    /// A pickled dictionary of lists.
    pub fn lists(entries: &[(u16, &[u16])]) -> Vec<u8> {
        let number = |number: u16| [&b"M"[..], &number.to_le_bytes()].concat();
        let mut bytes = b"ccollections\ndefaultdict\nc__builtin__\nlist\n\x85Rq\x01(".to_vec();
        for (key, list) in entries {
            bytes.extend([&number(*key)[..], b"]q\x02("].concat());
            list.iter().for_each(|item| bytes.extend(number(*item)));
            bytes.push(b'e');
        }
        bytes.push(b'u');
        pickle(&bytes)
    }

    fn whole(values: &[i32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::testing::pickle;
    use super::*;

    /// Bytes as each of the three things.
    fn take_all(bytes: &[u8]) -> [std::result::Result<(), Wrong>; 3] {
        let value = || Machine::result(bytes);
        [
            value().and_then(take_integers).map(drop),
            value().and_then(take_csr).map(drop),
            value().and_then(take_lists).map(drop),
        ]
    }

    fn refused(bytes: &[u8]) -> String {
        let [_, _, found] = take_all(bytes).map(|result| result.expect_err("the pickle is wrong"));
        assert!(!found.contains('\n'), "{found}");
        found
    }

    fn with_file<T>(bytes: &[u8], read: impl Fn(&Path) -> Result<T>) -> Result<T> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ind.some");
        std::fs::write(&path, bytes).unwrap();
        read(&path)
    }

    fn some() -> [Vec<u8>; 3] {
        [
            testing::integers(2, 3, &[1, -2, 3, 4, 5, i32::MAX]),
            testing::csr(2, 4, &[0, 2, 3], &[3, 0, 1], &[1.0, 0.5, 1.0]),
            testing::lists(&[(0, &[1, 2]), (1, &[0]), (2, &[])]),
        ]
    }

    #[test]
    fn the_three_things_are_read_as_written() {
        let [numbers, matrix, dictionary] = some();
        let expected = Integers { rows: 2, columns: 3, values: vec![1, -2, 3, 4, 5, i32::MAX] };
        assert_eq!(with_file(&numbers, integers).unwrap(), expected);
        let (offsets, indices, values) = (vec![0, 2, 3], vec![3, 0, 1], vec![1.0, 0.5, 1.0]);
        assert_eq!(with_file(&matrix, csr).unwrap(), Csr { rows: 2, columns: 4, offsets, indices, values });
        assert_eq!(with_file(&dictionary, lists).unwrap(), [(0, vec![1, 2]), (1, vec![0]), (2, vec![])]);
        // One item each, and numbers of each width.
        let single = pickle(b"ccollections\ndefaultdict\nc__builtin__\nlist\n\x85RK\x07]J\xFF\xFF\xFF\xFFas");
        assert_eq!(with_file(&single, lists).unwrap(), [(7, vec![-1])]);
    }

    #[test]
    fn one_thing_is_not_another() {
        for (i, bytes) in some().iter().enumerate() {
            let fits: Vec<bool> = take_all(bytes).iter().map(std::result::Result::is_ok).collect();
            assert!((0..3).all(|j| fits[j] == (i == j)), "{fits:?}");
        }
        let message = with_file(&pickle(b"K\x01"), lists).unwrap_err().to_string();
        assert!(message.ends_with("from whole numbers to lists of them, found a whole number"), "{message}");
    }

    #[test]
    fn a_pickle_cut_anywhere_is_refused() {
        for bytes in some() {
            for length in 0..bytes.len() {
                refused(&bytes[..length]);
            }
            refused(&[&bytes[..], b"."].concat());
        }
    }

    #[test]
    fn a_changed_byte_never_causes_a_panic() {
        for bytes in some() {
            for place in 0..bytes.len() {
                for change in [1, 0x10, 0x80, 0xFF] {
                    let mut changed = bytes.clone();
                    changed[place] ^= change;
                    // An error or a thing.
                    let _ = take_all(&changed);
                }
            }
        }
    }

    #[test]
    fn names_that_could_do_harm_are_refused() {
        assert_eq!(refused(&pickle(b"cos\nsystem\nU\x02ls\x85R")), "the name os.system before byte 13");
        assert!(refused(&pickle(b"c__builtin__\neval\n")).contains("the name __builtin__.eval"));
        assert!(refused(&pickle(b"cnumpy\ndtype\nU\x02O8\x85R")).contains("numbers of type O8"));
        assert!(refused(&pickle(b"i")).contains("the instruction 0x69"));
        assert!(refused(&pickle(&[b'c'; 1000])).contains("a name without an end"));
        assert!(refused(b"(lp0\n.").contains("no pickle of protocol 2"));
    }

    #[test]
    fn pickles_cannot_exhaust_the_stack_or_the_memory() {
        for nesting in [&b"\x85"[..], b"]", b"}", b"(", b")", b"]a", b")\x85"] {
            refused(&pickle(&nesting.repeat(1_000_000)));
        }
        // Each tuple would hold the one before twice.
        assert!(refused(&pickle(&[&b"K\0\x85"[..], &b"q\0h\0\x86".repeat(60)].concat())).contains("second reference"));
        assert!(refused(&pickle(b"T\xFF\xFF\xFF\x7F")).contains("the end of the file"));
        assert!(refused(&pickle(b"T\xFF\xFF\xFF\xFF")).contains("a string of -1 bytes"));
    }

    #[test]
    fn arrays_whose_lengths_do_not_fit_are_refused() {
        let of = |shape: &[i32], values: &[u8]| refused(&pickle(&testing::array(shape, b"i4", values)));
        assert!(of(&[2, 2], &[0; 12]).contains("dimensions [2, 2] with 12 bytes of values"));
        assert!(of(&[i32::MAX; 3], &[0; 4]).contains("with 4 bytes of values"));
        assert!(of(&[-1, 2], &[]).contains("a length of -1"));
    }
}
