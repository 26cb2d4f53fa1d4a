//! The two ways a command ends badly: wrong input (exit 2) and a failed check (exit 1).

use std::path::{Path, PathBuf};

/// What every fallible function of the trainer returns.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a command could not finish.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something from outside is wrong: a recipe, a data file, a blob, an argument. Exit status 2.
    #[error("{place}: {what}: expected {expected}, found {found}")]
    Input {
        /// Where: a path, or a recipe key.
        place: String,
        /// What is wrong, in a few words.
        what: String,
        /// What would have been right.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// A file could not be read or written. Exit status 2.
    #[error("{}: {action}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried: "cannot read", "cannot write".
        action: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// A check that the command exists for failed (`verify`, say). Exit status 1.
    #[error("{0}")]
    Check(String),
    /// The user pressed Ctrl-C; what was done so far is kept. Exit status 130.
    #[error("interrupted; {0}")]
    Interrupted(String),
}

impl Error {
    /// A wrong input: where, what, expected, found.
    pub fn input(place: impl ToString, what: impl ToString, expected: impl ToString, found: impl ToString) -> Self {
        Self::Input {
            place: place.to_string(),
            what: what.to_string(),
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }

    /// A file that could not be read.
    pub fn reading(path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Self::Io { path: path.as_ref().into(), action: "cannot read", source }
    }

    /// A file that could not be written.
    pub fn writing(path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Self::Io { path: path.as_ref().into(), action: "cannot write", source }
    }

    /// The process's exit status.
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Input { .. } | Self::Io { .. } => 2,
            Self::Check(_) => 1,
            Self::Interrupted(_) => 130,
        }
    }
}
