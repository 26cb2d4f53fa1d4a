//! Omniglot: 1,623 handwritten characters of fifty alphabets, each drawn by the same twenty people, at 28x28.
//!
//! The set's own two halves have different alphabets, so that nothing learnt of one can be looked up in the other. Here
//! they are one set (the evaluation characters are numbered after the background characters), split by drawing: the
//! first fifteen of each character, in the order of the files, are learnt from and the last five judged on.

use std::path::Path;

use super::{Split, joined, known, read_known};
use crate::error::Result;

/// Of each character's twenty drawings, those that are learnt from.
const LEARNT: usize = 15;

/// The drawings to learn from and the drawings to be judged on.
///
/// # Errors
/// No data folder, a missing or damaged file.
pub fn splits(data_dir: Option<&Path>) -> Result<(Split, Split)> {
    let (background, mut evaluation) = read_known(&known::OMNIGLOT, data_dir)?;
    number_after(&background, &mut evaluation);
    Ok(by_drawing(&joined(&background, &evaluation)))
}

/// Renumbers the classes of `second` to follow those of `first`.
fn number_after(first: &Split, second: &mut Split) {
    let classes = first.labels.iter().flatten().max().map_or(0, |&last| last + 1);
    // No overflow: IDX labels are below 2^15.
    for label in second.labels.iter_mut().flatten() {
        *label += classes;
    }
}

fn by_drawing(all: &Split) -> (Split, Split) {
    let mut seen = vec![0; usize::from(u16::MAX) + 1];
    let is_learnt = |&character: &u16| {
        let seen = &mut seen[usize::from(character)];
        *seen += 1;
        *seen <= LEARNT
    };
    let is_learnt: Vec<bool> = all.labels.iter().flatten().map(is_learnt).collect();
    let part = |learnt: bool| all.select((0..is_learnt.len()).filter(|&drawing| is_learnt[drawing] == learnt));
    (part(true), part(false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::idx::testing::write_idx;
    use crate::data::{DataKind, testing};

    #[test]
    fn characters_of_both_halves_are_split_by_drawing() {
        let folder = tempfile::tempdir().unwrap();
        let set = folder.path().join("omniglot");
        std::fs::create_dir(&set).unwrap();
        // Two background characters and one evaluation character, twenty drawings each: one pixel, its number.
        let pixels: Vec<u8> = (0..60).collect();
        let labels = [[0, 0, 9].repeat(20), [1, 0, 9].repeat(20)].concat();
        write_idx(&set.join("omniglot28-background-images-idx3-ubyte"), 0x08, &[40, 1, 1], &pixels[..40]);
        write_idx(&set.join("omniglot28-background-labels-idx2-short"), 0x08, &[40, 3], &labels);
        write_idx(&set.join("omniglot28-evaluation-images-idx3-ubyte"), 0x08, &[20, 1, 1], &pixels[40..]);
        write_idx(&set.join("omniglot28-evaluation-labels-idx2-short"), 0x08, &[20, 3], &[0, 0, 9].repeat(20));

        let (train, test) = splits(Some(folder.path())).unwrap();
        assert_eq!(train.samples.raw, [&pixels[..15], &pixels[20..35], &pixels[40..55]].concat());
        assert_eq!(test.samples.raw, [&pixels[15..20], &pixels[35..40], &pixels[55..]].concat());
        assert_eq!(test.labels.unwrap(), [[0; 5], [1; 5], [2; 5]].concat());
    }

    #[test]
    fn the_whole_set_has_its_published_size() {
        let Some(set) = testing::known_set(DataKind::Omniglot) else { return };
        assert_eq!((set.train.samples.len(), set.test.samples.len()), (1623 * 15, 1623 * 5));
        assert_eq!(set.train.labels.unwrap().into_iter().max(), Some(1622));
    }
}
