//! The Free Spoken Digit Dataset (Jackson and others, 2016 on): ten English digits said by six people, 3,000 recordings of 8
//! kHz, as log-mel features `[48, 1, 32]` (frames, 1, bands; see [`log_mel`](super::log_mel)).
//!
//! The split is the set's own: of what each person said of each digit, recordings 0 to 4 are judged on, the others are
//! learnt from. So the same people are in both parts. Samples are ordered by recording, then digit, then person, so
//! that the first ones of a split are a fair part of it.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use rayon::prelude::*;

use super::known::FSDD;
use super::log_mel::{BANDS, FRAMES, LogMel, RATE};
use super::{Samples, Split, gzip};
use crate::error::{Error, Result};

/// The first recording of a person and digit that is learnt from.
const FIRST_TRAIN_RECORDING: u32 = 5;
/// The longest file, a minute of sound.
const MAX_BYTES: u64 = 60 * 2 * RATE as u64;

/// The recordings to learn from and the recordings to be judged on.
///
/// # Errors
/// No data folder, a missing or damaged archive, a recording whose name is not `{digit}_{person}_{number}.wav`, or one that
/// is not 16-bit mono sound of 8 kHz; recordings on one side only.
pub fn splits(data_dir: Option<&Path>) -> Result<(Split, Split)> {
    let [archive] = FSDD.find(data_dir)?;
    let mut recordings = recordings(&archive)?;
    recordings.sort_by(|a, b| (a.number, a.digit, &a.person).cmp(&(b.number, b.digit, &b.person)));
    let (test, train): (Vec<_>, Vec<_>) =
        recordings.into_iter().partition(|recording| recording.number < FIRST_TRAIN_RECORDING);
    if train.is_empty() || test.is_empty() {
        let expected = format!("recordings below {FIRST_TRAIN_RECORDING} to be judged on, others to learn from");
        return Err(Error::input(archive.display(), "a split has no recording", expected, "one side only"));
    }
    let log_mel = LogMel::default();
    Ok((split(&train, &log_mel), split(&test, &log_mel)))
}

struct Recording {
    digit: u16,
    person: String,
    number: u32,
    sound: Vec<i16>,
}

fn split(recordings: &[Recording], log_mel: &LogMel) -> Split {
    let raw = recordings.par_iter().flat_map_iter(|recording| log_mel.features(&recording.sound));
    Split {
        samples: Samples { shape: [FRAMES, 1, BANDS], raw: raw.collect() },
        labels: Some(recordings.iter().map(|recording| recording.digit).collect()),
    }
}

/// The recordings of a tar archive, gzipped or not; files that are no `.wav` are passed over.
fn recordings(path: &Path) -> Result<Vec<Recording>> {
    let place = path.display().to_string();
    let file = File::open(path).map_err(|error| Error::reading(path, error))?;
    let damaged = |error: std::io::Error| Error::input(&place, "damaged archive", "a tar file, gzipped or not", error);
    let mut archive = tar::Archive::new(gzip::plain(&place, BufReader::new(file))?);
    let mut recordings = Vec::new();
    for entry in archive.entries().map_err(damaged)? {
        let entry = entry.map_err(damaged)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if let Some(stem) = name.strip_suffix(".wav") {
            let place = format!("{place}: {name}");
            let stem = stem.rsplit('/').next().unwrap_or(stem);
            let (digit, person, number) = parse_name(stem).ok_or_else(|| {
                Error::input(&place, "not a recording's name", "{digit}_{person}_{number}.wav", &name)
            })?;
            recordings.push(Recording { digit, person, number, sound: sound(&place, entry)? });
        }
    }
    Ok(recordings)
}

fn parse_name(stem: &str) -> Option<(u16, String, u32)> {
    let (digit, rest) = stem.split_once('_')?;
    let (person, number) = rest.rsplit_once('_')?;
    let digit = digit.parse().ok().filter(|&digit| digit < 10)?;
    Some((digit, person.to_string(), number.parse().ok()?))
}

fn sound(place: &str, file: impl Read) -> Result<Vec<i16>> {
    let damaged = |error: hound::Error| Error::input(place, "not a sound", "an intact WAV file", error);
    let wav = hound::WavReader::new(file.take(MAX_BYTES)).map_err(damaged)?;
    let spec = wav.spec();
    let wanted =
        hound::WavSpec { channels: 1, sample_rate: RATE, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    if spec != wanted {
        let shown = |spec: hound::WavSpec| {
            let hound::WavSpec { channels, sample_rate, bits_per_sample, sample_format } = spec;
            format!("{channels} channel(s), {sample_rate} Hz, {bits_per_sample} bits, {sample_format:?}")
        };
        return Err(Error::input(place, "sound of another format", shown(wanted), shown(spec)));
    }
    wav.into_samples().collect::<std::result::Result<_, _>>().map_err(damaged)
}

#[cfg(test)]
mod tests {
    use super::super::testing::known_set;
    use super::*;
    use crate::data::DataKind;
    use crate::data::gzip::testing::gzip;

    fn wav(rate: u32, sound: &[i16]) -> Vec<u8> {
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: rate,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut file = std::io::Cursor::new(Vec::new());
        let mut writer = hound::WavWriter::new(&mut file, spec).unwrap();
        sound.iter().for_each(|&value| writer.write_sample(value).unwrap());
        writer.finalize().unwrap();
        file.into_inner()
    }

    /// A word that tells `which` by its pitch.
    fn word(which: usize) -> Vec<i16> {
        (0..2000).map(|t| if t * which % 64 < 32 { 9000 } else { -9000 }).collect()
    }

    fn archive(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            builder.append_data(&mut header, name, &content[..]).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn load(archive: &[u8]) -> Result<(Split, Split)> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("fsdd")).unwrap();
        std::fs::write(folder.path().join("fsdd/recordings.tar.gz"), archive).unwrap();
        splits(Some(folder.path()))
    }

    fn refused(archive: &[u8]) -> String {
        load(archive).expect_err("the archive is wrong").to_string()
    }

    #[test]
    fn recordings_are_split_by_number_and_ordered() {
        let names = ["recordings/0_ann_7.wav", "recordings/3_bob_x_4.wav", "recordings/9_ann_5.wav", "9_ann_0.wav"];
        let mut files: Vec<(&str, Vec<u8>)> =
            names.iter().enumerate().map(|(i, name)| (*name, wav(RATE, &word(i + 1)))).collect();
        files.push(("recordings/README.md", b"no sound".to_vec()));
        let plain = archive(&files);
        let (train, test) = load(&plain).unwrap();
        assert_eq!(train.samples.shape, [48, 1, 32]);
        assert_eq!((train.labels, test.labels), (Some(vec![9, 0]), Some(vec![9, 3])));
        let log_mel = LogMel::default();
        let features = |which| log_mel.features(&word(which));
        assert_eq!(train.samples.raw, [features(3), features(1)].concat());
        assert_eq!(test.samples.raw, [features(4), features(2)].concat());
        assert_eq!(load(&gzip(&plain)).unwrap().0.samples, train.samples, "gzipped");
    }

    #[test]
    fn damaged_archives_and_recordings_are_refused() {
        let fine = wav(RATE, &word(1));
        let message = refused(&archive(&[("recordings/ten_ann_3.wav", fine.clone())]));
        assert!(message.contains("recordings/ten_ann_3.wav: not a recording's name: expected {digit}_"), "{message}");
        let message = refused(&archive(&[("1_ann_3.wav", wav(16_000, &word(1)))]));
        let expected = "expected 1 channel(s), 8000 Hz, 16 bits, Int, found 1 channel(s), 16000 Hz, 16 bits, Int";
        assert!(message.ends_with(expected), "{message}");
        let message = refused(&archive(&[("1_ann_3.wav", fine[..fine.len() - 7].to_vec())]));
        assert!(message.contains("1_ann_3.wav: not a sound: expected an intact WAV file, found"), "{message}");
        assert!(refused(&archive(&[("1_ann_3.wav", fine.clone())])).contains("a split has no recording"));
        assert!(refused(b"no archive").contains("damaged archive"));
        assert!(refused(&[]).contains("a split has no recording"));
        let whole = gzip(&archive(&[("1_ann_3.wav", fine.clone()), ("1_ann_7.wav", fine)]));
        let message = refused(&whole[..whole.len() / 2]);
        assert!(message.contains("damaged archive") || message.contains("not a sound"), "{message}");
    }

    #[test]
    fn the_real_set_is_what_its_readme_says() {
        let Some(set) = known_set(DataKind::Fsdd) else { return };
        assert_eq!((set.train.samples.len(), set.test.samples.len()), (2700, 300));
        for (split, count) in [(&set.train, 270), (&set.test, 30)] {
            let labels = split.labels.as_ref().unwrap();
            assert!((0..10).all(|digit| labels.iter().filter(|&&label| label == digit).count() == count));
            assert!((0..split.samples.len()).all(|i| split.samples.sample(i).contains(&255)), "no one is silent");
        }
    }
}
