//! The `eigenlet` command as a user calls it, and the files that it reads and writes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use ndarray::{ArrayBase, ArrayD, Data, Dimension};
use ndarray_npy::{ReadableElement, WritableElement, read_npy, write_npy};

/// The program under test: `EIGENLET_BIN`, else the one that cargo built beside this test.
///
/// # Panics
/// Where there is none.
pub fn program() -> PathBuf {
    if let Some(path) = env::var_os("EIGENLET_BIN") {
        return path.into();
    }
    let test = env::current_exe().expect("a test has a path");
    let profile = test.ancestors().nth(2).expect("a test lies in target/PROFILE/deps");
    let program = profile.join("eigenlet");
    assert!(
        program.exists(),
        "no {}: build it with `cargo build --release`, or name it in EIGENLET_BIN",
        program.display()
    );
    program
}

/// A call of the program, not yet started. No data folder is known to it.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args(arguments).env_remove("EIGENLET_DATA").stdin(Stdio::null());
    command
}

/// What a call ended with.
#[derive(Debug)]
pub struct Ended {
    /// Exit status; `None` where a signal ended it.
    pub status: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Runs a command to its end.
///
/// # Panics
/// Where it cannot start, or writes what is not UTF-8.
pub fn ended(mut command: Command) -> Ended {
    let output = command.output().expect("the program starts");
    let text = |bytes| String::from_utf8(bytes).expect("the program writes UTF-8");
    Ended { status: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Runs the program, which must succeed, and gives its standard output.
///
/// # Panics
/// With its standard error, where it does not.
pub fn done(arguments: &[&str]) -> String {
    let ended = ended(command(arguments));
    assert_eq!(ended.status, Some(0), "{arguments:?}: {}", ended.stderr);
    ended.stdout
}

/// Runs the program, which must refuse its input: status 2, nothing on standard output, one line on standard error that
/// holds all `fragments`. Gives the line.
///
/// # Panics
/// Where any of this is not so.
pub fn refused(arguments: &[&str], fragments: &[&str]) -> String {
    let Ended { status, stdout, stderr } = ended(command(arguments));
    assert_eq!(status, Some(2), "{arguments:?}: {stderr}");
    assert_eq!(stdout, "", "{arguments:?}");
    let line = stderr.strip_suffix('\n').unwrap_or_else(|| panic!("{arguments:?}: no whole line: {stderr:?}"));
    assert!(!line.contains('\n') && line.starts_with("eigenlet: "), "{arguments:?}: expected one line, found {line}");
    for fragment in fragments {
        assert!(line.contains(fragment), "{arguments:?}: expected `{fragment}` in: {line}");
    }
    line.to_string()
}

/// Every file below a folder with its bytes.
///
/// # Panics
/// Where something there cannot be read.
pub fn files_in(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("the folder is readable") {
        let path = entry.expect("the folder is readable").path();
        match path.is_dir() {
            true => files.extend(files_in(&path)),
            false => {
                let bytes = fs::read(&path).expect("the file is readable");
                files.insert(path, bytes);
            }
        }
    }
    files
}

/// Copies a folder and all below it.
///
/// # Panics
/// Where that cannot be done.
pub fn copy_folder(from: &Path, to: &Path) {
    for (path, bytes) in files_in(from) {
        let copy = to.join(path.strip_prefix(from).expect("below the folder"));
        fs::create_dir_all(copy.parent().expect("below the folder")).expect("a folder can be made");
        fs::write(copy, bytes).expect("a file can be written");
    }
}

/// An IDX file of unsigned bytes; `dims` and `values` need not fit together.
pub fn idx(dims: &[usize], values: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 0x08, dims.len() as u8];
    bytes.extend(dims.iter().flat_map(|dim| (*dim as u32).to_be_bytes()));
    bytes.extend(values);
    bytes
}

/// Reads a `.npy` file.
///
/// # Panics
/// Where it is none, or of another type.
pub fn npy<T: ReadableElement>(path: &Path) -> ArrayD<T> {
    read_npy(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Writes a `.npy` file.
///
/// # Panics
/// Where that cannot be done.
pub fn npy_file<S: Data<Elem: WritableElement>, D: Dimension>(path: &Path, array: &ArrayBase<S, D>) {
    write_npy(path, array).expect("a file can be written");
}
