//! Results that take minutes and follow from some samples alone, kept on disk between runs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::files;

/// Where results are kept: the folder `$EIGENLET_CACHE`, else `$XDG_CACHE_HOME/eigenlet`, else `$HOME/.cache/eigenlet`; `None`
/// where the environment names none of them.
pub fn folder() -> Option<PathBuf> {
    folder_of(|name| std::env::var_os(name))
}

fn folder_of(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let named = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    named("EIGENLET_CACHE")
        .or_else(|| named("XDG_CACHE_HOME").map(|folder| folder.join("eigenlet")))
        .or_else(|| named("HOME").map(|folder| folder.join(".cache/eigenlet")))
}

/// One kind of results in a folder.
#[derive(Clone, Copy, Debug)]
pub struct Cache<'a> {
    /// The folder; without one, nothing is kept.
    pub folder: Option<&'a Path>,
    /// What files of this kind end in.
    pub suffix: &'static str,
}

impl Cache<'_> {
    /// The `count` words that `key`, a hash of everything they depend on, stands for: from the cache, else computed and, where
    /// that is possible, kept.
    pub fn words(self, key: &[u8; 32], count: usize, compute: impl FnOnce() -> Vec<u64>) -> Vec<u64> {
        let file = self.folder.map(|folder| {
            let name: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
            folder.join(format!("{name}.{}", self.suffix))
        });
        let known = file.as_ref().and_then(|file| unpack(&std::fs::read(file).ok()?, key, count));
        known.unwrap_or_else(|| {
            let words = compute();
            if let (Some(folder), Some(file)) = (self.folder, &file) {
                // A cache that cannot be written costs time, nothing else.
                let _ = files::create_folder(folder).and_then(|()| files::write_bytes(file, &pack(&words, key)));
            }
            words
        })
    }
}

/// The words as little-endian `u64`, then the SHA-256 of the key and of them.
fn pack(words: &[u64], key: &[u8; 32]) -> Vec<u8> {
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let seal = Sha256::new().chain_update(key).chain_update(&bytes).finalize();
    bytes.extend(seal);
    bytes
}

/// What [`pack`] packed; `None` where a byte is not as it was.
fn unpack(bytes: &[u8], key: &[u8; 32], count: usize) -> Option<Vec<u64>> {
    let (values, seal) = bytes.split_at_checked(count * 8)?;
    let expected = Sha256::new().chain_update(key).chain_update(values).finalize();
    (seal == expected.as_slice()).then(|| {
        let (words, _) = values.as_chunks::<8>();
        words.iter().map(|&word| u64::from_le_bytes(word)).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];

    fn ask(folder: Option<&Path>, answer: &[u64]) -> Vec<u64> {
        Cache { folder, suffix: "test" }.words(&KEY, answer.len(), || answer.to_vec())
    }

    #[test]
    fn what_is_kept_is_taken_and_what_is_damaged_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join("below");
        let fresh: Vec<u64> = (1..=30).collect();
        assert_eq!(ask(Some(&cache), &fresh), fresh);
        let files: Vec<_> = std::fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path()).collect();
        let [file] = &files[..] else { panic!("one file, not {files:?}") };

        // Another answer in the file, well sealed, shows who answers.
        let other: Vec<u64> = (101..=130).collect();
        let good = pack(&other, &KEY);
        std::fs::write(file, &good).unwrap();
        assert_eq!(ask(Some(&cache), &fresh), other);

        let mut flipped = good.clone();
        flipped[17] ^= 1;
        let foreign = pack(&other, &[8; 32]);
        for damaged in
            [&good[..good.len() - 1], &good[..100], &[], &flipped, &foreign, &[good.clone(), vec![0]].concat()]
        {
            std::fs::write(file, damaged).unwrap();
            assert_eq!(ask(Some(&cache), &fresh), fresh);
            assert_eq!(std::fs::read(file).unwrap(), pack(&fresh, &KEY), "written anew");
        }
    }

    #[test]
    fn without_a_folder_the_answer_is_the_same() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(ask(None, &[1, 2]), [1, 2]);
        assert_eq!(ask(Some(&file.path().join("a file is no folder")), &[1, 2]), [1, 2]);
    }

    #[test]
    fn the_environment_names_the_folder() {
        let folder = |set: &[(&str, &str)]| {
            folder_of(|name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into()))
        };
        let all = [("EIGENLET_CACHE", "/own"), ("XDG_CACHE_HOME", "/xdg"), ("HOME", "/home")];
        assert_eq!(folder(&all), Some("/own".into()));
        assert_eq!(folder(&all[1..]), Some("/xdg/eigenlet".into()));
        assert_eq!(folder(&all[2..]), Some("/home/.cache/eigenlet".into()));
        assert_eq!(folder(&[("EIGENLET_CACHE", ""), ("HOME", "/home")]), Some("/home/.cache/eigenlet".into()));
        assert_eq!(folder(&[]), None);
    }
}
