//! Pairs of groups of the 20 Newsgroups (Lang, 1995), each a set of its own, as tf-idf features `[1, 1, words]`.
//!
//! The files are bags of words in svmlight's text format, one document a line: the group (from 1), then `word:count` with
//! the word's number. They were made once from the matrices of scikit-feature (Li et al., 2018).
//!
//! There is no official split. A document is judged on if the first byte of the SHA-256 of its words and counts (each a
//! little-endian `u32`, in the order of the file) is below 64, which is a quarter of them; equal documents are on one
//! side. Both splits are in the order of these hashes, which mixes the groups.
//!
//! Only the training split says which words count and how much: the 2,000 words (as in Hu et al., IMSAT, 2017) that are in the
//! most of its documents, the lower number first among equals, in the order of their numbers; and their inverse document
//! frequency `1 + ln((1 + n) / (1 + d))` for a word in `d` of `n` documents. A document's weights are count x inverse document
//! frequency, scaled to a Euclidean length of 1; the raw value is `510` times the weight, rounded, at most 255: a word
//! that carries a half of the length or more is at full scale.
//!
//! This map runs on the host: the chip takes the bytes.

use std::collections::BTreeMap;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::known;
use super::source::NewsPair;
use super::{Samples, Split, gzip};
use crate::error::{Error, Result};

const VOCABULARY: usize = 2000;
/// The raw value of a weight of 1, were it not above full scale.
const GAIN: f64 = 510.0;
/// Of the 256 values of a hash's first byte, those that are judged on.
const TEST_HASHES: u8 = 64;
/// The longest file, in plain bytes.
const MAX_BYTES: usize = 1 << 28;

/// The documents of a pair of groups to learn from and to be judged on.
///
/// # Errors
/// No data folder, a missing file, a line that is no document, documents on one side only.
pub fn splits(pair: NewsPair, data_dir: Option<&Path>) -> Result<(Split, Split)> {
    let [path] = known::twenty_newsgroups(pair).find(data_dir)?;
    let mut documents = documents(&path)?;
    documents.sort_by_key(|document| document.hash);
    let boundary = documents.partition_point(|document| document.hash[0] < TEST_HASHES);
    let (test, train) = documents.split_at(boundary);
    if train.is_empty() || test.is_empty() {
        return Err(Error::input(path.display(), "a split has no document", "both kinds of hashes", "one side only"));
    }
    let vocabulary = Vocabulary::of(train);
    if vocabulary.words.is_empty() {
        return Err(Error::input(path.display(), "no words", "a document to learn from with a word in it", "none"));
    }
    Ok((vocabulary.split(train), vocabulary.split(test)))
}

struct Document {
    group: u16,
    /// Word and count.
    words: Vec<(u32, u32)>,
    hash: [u8; 32],
}

fn documents(path: &Path) -> Result<Vec<Document>> {
    let bytes = gzip::read(path, MAX_BYTES)?;
    let place = path.display();
    let text = std::str::from_utf8(&bytes).map_err(|error| Error::input(place, "not a text", "UTF-8", error))?;
    text.lines()
        .enumerate()
        .map(|(i, line)| {
            parse(line).map_err(|found| {
                let expected = "the group from 1, then word:count with each word once and counts above 0";
                Error::input(format!("{}:{}", path.display(), i + 1), "not a bag of words", expected, found)
            })
        })
        .collect()
}

/// A line's document, or what is wrong with the line.
fn parse(line: &str) -> std::result::Result<Document, String> {
    let mut parts = line.split_ascii_whitespace();
    let group = parts.next().ok_or("an empty line")?;
    let group = group.parse::<u16>().ok().and_then(|group| group.checked_sub(1)).ok_or(group)?;
    let words = parts
        .map(|part| {
            let (word, count) = part.split_once(':').ok_or(part)?;
            let count = count.parse().ok().filter(|&count: &u32| count > 0).ok_or(part)?;
            Ok((word.parse().map_err(|_| part)?, count))
        })
        .collect::<std::result::Result<Vec<(u32, u32)>, &str>>()?;
    let mut hash = Sha256::new();
    let mut seen = std::collections::BTreeSet::new();
    for (word, count) in &words {
        if !seen.insert(word) {
            return Err(format!("word {word} twice"));
        }
        hash.update(word.to_le_bytes());
        hash.update(count.to_le_bytes());
    }
    Ok(Document { group, words, hash: hash.finalize().into() })
}

/// The words that count: for each its place in a sample and its inverse document frequency.
struct Vocabulary {
    words: BTreeMap<u32, (usize, f64)>,
}

impl Vocabulary {
    fn of(documents: &[Document]) -> Self {
        let mut frequencies = BTreeMap::new();
        for (word, _) in documents.iter().flat_map(|document| &document.words) {
            *frequencies.entry(*word).or_insert(0_u32) += 1;
        }
        let mut chosen: Vec<(u32, u32)> = frequencies.into_iter().collect();
        chosen.sort_by_key(|&(_, frequency)| std::cmp::Reverse(frequency));
        chosen.truncate(VOCABULARY);
        chosen.sort();
        let count = documents.len() as f64;
        let idf = |frequency: u32| 1.0 + ((1.0 + count) / (1.0 + f64::from(frequency))).ln();
        let words = chosen.into_iter().enumerate().map(|(i, (word, frequency))| (word, (i, idf(frequency)))).collect();
        Self { words }
    }

    fn split(&self, documents: &[Document]) -> Split {
        Split {
            samples: Samples {
                shape: [1, 1, self.words.len()],
                raw: documents.iter().flat_map(|document| self.features(document)).collect(),
            },
            labels: Some(documents.iter().map(|document| document.group).collect()),
        }
    }

    fn features(&self, document: &Document) -> Vec<u8> {
        let known = document
            .words
            .iter()
            .filter_map(|(word, count)| self.words.get(word).map(|&(place, idf)| (place, f64::from(*count) * idf)));
        let weights: Vec<(usize, f64)> = known.collect();
        let length = weights.iter().map(|(_, weight)| weight * weight).sum::<f64>().sqrt();
        let mut raw = vec![0; self.words.len()];
        for (place, weight) in weights {
            raw[place] = (GAIN * weight / length).round().min(255.0) as u8;
        }
        raw
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::known_set;
    use super::*;
    use crate::data::{DataKind, DataSource, Dataset};

    fn load(text: &str) -> Result<(Split, Split)> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("20ng-pairs")).unwrap();
        std::fs::write(folder.path().join("20ng-pairs/PCMAC.svmlight"), text).unwrap();
        splits(NewsPair::Pcmac, Some(folder.path()))
    }

    #[test]
    fn features_are_the_tf_idf_of_the_training_documents_words() {
        let document = |words: &[(u32, u32)]| Document { group: 0, words: words.to_vec(), hash: [0; 32] };
        let train = [document(&[(3, 1), (7, 2)]), document(&[(7, 1)]), document(&[(7, 1), (9, 5)])];
        let vocabulary = Vocabulary::of(&train);
        // Word 7 is in all three documents, words 3 and 9 in one of three; word 4 is in none.
        let (everywhere, once) = (1.0_f64, 1.0 + 2.0_f64.ln());
        let length = (everywhere * everywhere + 9.0 * once * once).sqrt();
        let expected = [0, (510.0 * everywhere / length).round() as u8, 255];
        assert_eq!(vocabulary.features(&document(&[(4, 100), (7, 1), (9, 3)])), expected);
        assert_eq!(vocabulary.features(&document(&[(4, 100)])), [0, 0, 0]);
    }

    #[test]
    fn the_vocabulary_is_the_most_frequent_words_in_order() {
        // Words 0 to 2,999 in one document; the odd ones among them in a second; 5,000 in a third.
        let words = |words: Vec<u32>| words.into_iter().map(|word| (word, 1)).collect();
        let document = |words| Document { group: 0, words, hash: [0; 32] };
        let train = [
            document(words((0..3000).collect())),
            document(words((1..3000).step_by(2).collect())),
            document(words(vec![5000])),
        ];
        let vocabulary = Vocabulary::of(&train);
        let found: Vec<u32> = vocabulary.words.keys().copied().collect();
        let expected: Vec<u32> = (0..3000).filter(|word| word % 2 == 1 || *word < 1000).collect();
        assert_eq!(found, expected);
        assert!(vocabulary.words.values().map(|(place, _)| *place).eq(0..2000));
    }

    #[test]
    fn equal_documents_are_on_one_side_whatever_their_group() {
        let text: String = (0..400).map(|i| format!("{} {}:1 7000:2\n", 1 + i % 2, i / 4)).collect();
        let (train, test) = load(&text).unwrap();
        assert_eq!(train.samples.len() + test.samples.len(), 400);
        assert!(train.samples.len() % 4 == 0 && (40..160).contains(&test.samples.len()), "{}", test.samples.len());
        let labels = train.labels.unwrap();
        assert_eq!(labels.iter().filter(|&&label| label == 0).count() * 2, labels.len());
        // No test document's own word is in the vocabulary.
        assert_eq!(train.samples.shape, [1, 1, train.samples.len() / 4 + 1]);
        assert!((0..test.samples.len()).all(|i| test.samples.sample(i).iter().filter(|&&raw| raw > 0).count() == 1));
    }

    #[test]
    fn lines_that_are_no_document_are_refused_by_number() {
        let refused = |line: &str| {
            let message = load(&format!("1 2:3\n{line}\n1 4:1")).unwrap_err().to_string();
            assert!(message.contains("PCMAC.svmlight:2: not a bag of words: expected the group from 1"), "{message}");
            message
        };
        assert!(refused("").ends_with("found an empty line"));
        assert!(refused("0 1:1").ends_with("found 0"));
        assert!(refused("x 1:1").ends_with("found x"));
        assert!(refused("1 12").ends_with("found 12"));
        assert!(refused("1 3:0").ends_with("found 3:0"));
        assert!(refused("1 3:1.5").ends_with("found 3:1.5"));
        assert!(refused("1 -3:1").ends_with("found -3:1"));
        assert!(refused("1 3:1 3:2").ends_with("found word 3 twice"));
        assert!(load("1 2:3").unwrap_err().to_string().contains("a split has no document"));
        assert!(load("").unwrap_err().to_string().contains("a split has no document"));
    }

    #[test]
    fn the_real_sets_are_what_their_readme_says() {
        if known_set(DataKind::TwentyNewsgroups).is_none() {
            return;
        }
        for (pair, groups) in
            [(NewsPair::Basehock, [994, 999]), (NewsPair::Pcmac, [982, 961]), (NewsPair::Relathe, [779, 648])]
        {
            let source = DataSource { pair: Some(pair), ..DataSource::new(DataKind::TwentyNewsgroups) };
            let set = Dataset::load(&source, None).unwrap();
            assert_eq!(set.train.samples.shape, [1, 1, 2000]);
            let labels = [set.train.labels.unwrap(), set.test.labels.unwrap()].concat();
            assert_eq!([0, 1].map(|group| labels.iter().filter(|&&label| label == group).count()), groups);
            let share = set.test.samples.len() as f64 / labels.len() as f64;
            assert!((0.22..0.28).contains(&share), "{share}");
            let words = set.train.samples.raw.iter().filter(|&&raw| raw > 0).count();
            let clamped = set.train.samples.raw.iter().filter(|&&raw| raw == 255).count();
            assert!(clamped * 50 < words, "{clamped} of {words} clamped: less than one in fifty");
        }
    }
}
