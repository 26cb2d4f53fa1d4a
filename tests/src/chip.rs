//! The firmware in QEMU, as tests use it: its self-test, and a host's end of the link.
//!
//! The programs must have been built; `EIGENLET_PROGRAMS` names a folder with one of programs for each board, named after it,
//! and after a `+` whatever else tells it apart. `tests/run chip` sees to both.

use std::{
    env,
    fs::{self, File},
    io::{self, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use eigenlet_shared::link::{MAX_FRAME, Receiver, Request, Response, decode, encode};

/// The longest that the emulated board takes to answer: a busy machine must not fail a test.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the self-test program said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelfTest {
    /// Whether its exit status was 0.
    pub passed: bool,
    /// Its log, in words.
    pub log: String,
}

/// The board that serves, and that tests use where one board will do: the folder of its programs.
const SERVING: &str = "mps2-an386";

/// The folders of all boards' programs, by name.
///
/// # Panics
/// Where there is none.
pub fn boards() -> Vec<String> {
    let entries = fs::read_dir(programs()).expect("EIGENLET_PROGRAMS names a folder");
    let names = entries.map(|entry| entry.expect("the folder is readable").file_name().into_string());
    let mut names: Vec<String> = names.map(|name| name.expect("boards' names are text")).collect();
    names.sort();
    assert!(!names.is_empty(), "no board in {}: use tests/run chip", programs().display());
    names
}

/// Runs the self-test with `model` in the board's slot, or with an erased slot.
///
/// # Panics
/// Where QEMU or the programs are missing.
pub fn self_test(model: Option<&[u8]>) -> SelfTest {
    self_test_on(SERVING, model)
}

/// The same on the board of that folder, see [`boards`].
///
/// # Panics
/// Where QEMU or the programs are missing.
pub fn self_test_on(folder: &str, model: Option<&[u8]>) -> SelfTest {
    let temporary = Folder::new();
    let mut command = Command::new(firmware().join("boards/run"));
    command.arg(board(folder)).arg(program(folder, "selftest")).env_remove("EIGENLET_MODEL");
    if let Some(path) = temporary.model(model) {
        command.env("EIGENLET_MODEL", path);
    }
    let output = command.output().expect("the firmware's runner starts");
    SelfTest {
        passed: output.status.success(),
        log: String::from_utf8(output.stdout).expect("the log is text") + &String::from_utf8_lossy(&output.stderr),
    }
}

/// An emulated board that serves a model, and the host's end of its serial line. Dropped, it is switched off.
pub struct Board {
    qemu: Child,
    line: BufReader<UnixStream>,
    sequence: u8,
    _folder: Folder,
}

impl Board {
    /// Switches a board on, with `model` in its slot or with an erased slot.
    ///
    /// # Panics
    /// Where QEMU or the programs are missing, or no line comes up.
    pub fn serving(model: Option<&[u8]>) -> Self {
        let folder = Folder::new();
        let socket = folder.0.join("line");
        let words = folder.0.join("stderr");
        let mut command = Command::new(firmware().join("boards/qemu"));
        command.arg(board(SERVING)).arg(program(SERVING, "serve")).args(folder.model(model)).arg("--");
        command.arg("-serial").arg(format!("unix:{},server=on,wait=on", socket.display()));
        command.env("EIGENLET_TIMEOUT", "300").stdout(Stdio::null());
        command.stderr(File::create(&words).expect("the temporary folder is writable"));
        let mut qemu = command.spawn().expect("the firmware's QEMU script starts");
        let line = connect(&socket, &mut qemu).unwrap_or_else(|error| {
            panic!("no line to QEMU: {error}\n{}", fs::read_to_string(&words).unwrap_or_default())
        });
        Self { qemu, line: BufReader::new(line), sequence: 0, _folder: folder }
    }

    /// Asks, and hands the answer to `read`.
    ///
    /// # Panics
    /// Where the board does not answer, or not this question.
    pub fn ask<T>(&mut self, request: &Request, read: impl FnOnce(Response) -> T) -> T {
        self.sequence = self.sequence.wrapping_add(1);
        let mut buffer = [0; MAX_FRAME];
        let frame = encode(self.sequence, request, &mut buffer).expect("the question fits a frame");
        self.send(frame);
        let content = self.receive();
        let (sequence, response) = decode(&content).expect("the board speaks this version");
        assert_eq!(sequence, self.sequence, "the board answered another question");
        read(response)
    }

    /// Puts bytes on the line as they are.
    ///
    /// # Panics
    /// Where the line is down.
    pub fn send(&mut self, bytes: &[u8]) {
        self.line.get_mut().write_all(bytes).expect("the line is up");
    }

    /// The next frame's content.
    fn receive(&mut self) -> Vec<u8> {
        let mut receiver = Receiver::new();
        let mut byte = [0];
        loop {
            self.line.read_exact(&mut byte).expect("the board answers");
            if let Some(content) = receiver.push(byte[0]) {
                return content.expect("the line carries frames whole").to_vec();
            }
        }
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        // QEMU runs under `timeout`, which passes this signal on; killing `timeout` itself would leave QEMU behind.
        let _ = Command::new("kill").arg(self.qemu.id().to_string()).status();
        let _ = self.qemu.wait();
    }
}

/// QEMU opens the line some time after it starts.
fn connect(socket: &Path, qemu: &mut Child) -> io::Result<UnixStream> {
    let start = Instant::now();
    loop {
        match UnixStream::connect(socket) {
            Ok(line) => {
                line.set_read_timeout(Some(PATIENCE))?;
                return Ok(line);
            }
            Err(error) if qemu.try_wait()?.is_some() || start.elapsed() > PATIENCE => return Err(error),
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn firmware() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../firmware")
}

fn programs() -> PathBuf {
    let folder = env::var_os("EIGENLET_PROGRAMS").map(PathBuf::from);
    folder.expect("EIGENLET_PROGRAMS names the folder of the firmware's programs: use tests/run chip")
}

/// The board that a folder of programs is for.
fn board(folder: &str) -> &str {
    folder.split_once('+').map_or(folder, |(board, _)| board)
}

fn program(folder: &str, name: &str) -> PathBuf {
    let path = programs().join(folder).join(name);
    assert!(path.is_file(), "expected the program at {}: use tests/run chip", path.display());
    path
}

/// A folder that is removed with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("eigenlet-chip-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).expect("the temporary folder is writable");
        Self(path)
    }

    fn model(&self, bytes: Option<&[u8]>) -> Option<PathBuf> {
        let write = |bytes| -> io::Result<PathBuf> {
            let path = self.0.join("model.eigenlet");
            fs::write(&path, bytes)?;
            Ok(path)
        };
        bytes.map(|bytes| write(bytes).expect("the temporary folder is writable"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
