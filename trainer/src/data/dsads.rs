//! Daily and Sports Activities (Altun, Barshan, Tuncel, "Comparative study on classifying human activities with miniature
//! inertial and magnetic sensors", 2010), the accelerometer and the gyroscope on the torso: 9,120 windows of 5 seconds, 19
//! activities of 8 people.
//!
//! Two IDX files hold it, made once from the text files of the original: `i16` `[windows, steps, 6]`, with 25 steps a second,
//! three axes of acceleration in units of 0.005 m/s² and three of angular velocity in units of 0.001 rad/s; and `i16`
//! `[windows, columns]`: activity, person (from 0), and what else there may be.
//!
//! Samples are `[steps, 1, 6]`. A raw value of 128 is zero; a step is 0.25 m/s² of acceleration (so that a byte spans
//! ±32 m/s², a little over 3 g) or 0.04 rad/s of angular velocity (±5.1 rad/s); what lies beyond is clamped. All axes of a
//! sensor have one unit, so a turn of the sensor is a turn of the raw vectors about 128.
//!
//! People 0 to 5 are learnt from, people 6 and 7 judged on: no one is in both.

use std::path::Path;

use super::known::DSADS_TORSO;
use super::{Samples, Split, idx};
use crate::error::{Error, Result};

const CHANNELS: usize = 6;
/// Units of the file in one step of a raw value, channel by channel.
const STEPS: [i16; CHANNELS] = [50, 50, 50, 40, 40, 40];
const ZERO: i16 = 128;
/// The first person that is judged on.
const FIRST_TEST_PERSON: i16 = 6;

/// The windows of the people to learn from and of the people to be judged on.
///
/// # Errors
/// No data folder, a missing or damaged file, dimensions other than above, labels that do not match the windows in
/// number, people on one side only.
pub fn splits(data_dir: Option<&Path>) -> Result<(Split, Split)> {
    let [windows_path, labels_path] = DSADS_TORSO.find(data_dir)?;
    let (dims, values) = idx::shorts(&windows_path)?;
    let &[count, length, CHANNELS] = &dims[..] else {
        let expected = format!("[windows, steps, {CHANNELS}]");
        return Err(Error::input(windows_path.display(), "wrong dimensions", expected, format!("{dims:?}")));
    };
    let (dims, labels) = idx::shorts(&labels_path)?;
    let &[rows, columns @ 2..=usize::MAX] = &dims[..] else {
        let found = format!("{dims:?}");
        return Err(Error::input(labels_path.display(), "wrong dimensions", "[windows, 2 columns or more]", found));
    };
    if rows != count {
        let expected = format!("{count}, one for each window in {}", windows_path.display());
        return Err(Error::input(labels_path.display(), "wrong number of labels", expected, rows));
    }

    let shape = [length, 1, CHANNELS];
    let empty = || (Samples { shape, raw: Vec::new() }, Vec::new());
    let [mut train, mut test] = [empty(), empty()];
    for (i, (window, row)) in values.chunks_exact(length * CHANNELS).zip(labels.chunks_exact(columns)).enumerate() {
        let activity = u16::try_from(row[0])
            .map_err(|_| Error::input(labels_path.display(), format!("label {i} is negative"), "0 or more", row[0]))?;
        if row[1] < 0 {
            let what = format!("person {i} is negative");
            return Err(Error::input(labels_path.display(), what, "0 or more", row[1]));
        }
        let (samples, activities) = if row[1] < FIRST_TEST_PERSON { &mut train } else { &mut test };
        samples.raw.extend(window.iter().zip(STEPS.iter().cycle()).map(|(&value, &step)| raw(value, step)));
        activities.push(activity);
    }
    if train.1.is_empty() || test.1.is_empty() {
        let expected = format!("people below {FIRST_TEST_PERSON} to learn from, others to be judged on");
        return Err(Error::input(labels_path.display(), "a split has no window", expected, "one side only"));
    }
    let split = |(samples, activities)| Split { samples, labels: Some(activities) };
    Ok((split(train), split(test)))
}

/// The byte of a value, to the nearest step, half a step upwards.
fn raw(value: i16, step: i16) -> u8 {
    let steps = (i32::from(value) + i32::from(step) / 2).div_euclid(step.into());
    (steps + i32::from(ZERO)).clamp(0, 255) as u8
}

#[cfg(test)]
mod tests {
    use super::super::idx::testing::write_idx;
    use super::super::testing::known_set;
    use super::*;
    use crate::data::DataKind;

    fn write(path: &Path, dims: &[u32], values: &[i16]) {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_be_bytes()).collect();
        write_idx(path, 0x0B, dims, &bytes);
    }

    /// Three windows of two steps: people 5, 6, 0.
    fn small_set(folder: &Path) -> [std::path::PathBuf; 2] {
        let folder = folder.join("dsads-torso");
        std::fs::create_dir(&folder).unwrap();
        let files = ["dsads-torso-accgyr-idx3-short", "dsads-labels-idx2-short"].map(|name| folder.join(name));
        let windows: Vec<i16> = (0..36).map(|i| (i % 12) * 100 - 500).collect();
        write(&files[0], &[3, 2, 6], &windows);
        write(&files[1], &[3, 3], &[17, 5, 0, 3, 6, 1, 18, 0, 2]);
        files
    }

    #[test]
    fn people_are_split_and_values_mapped() {
        let folder = tempfile::tempdir().unwrap();
        small_set(folder.path());
        let (train, test) = splits(Some(folder.path())).unwrap();
        assert_eq!((train.labels, test.labels), (Some(vec![17, 18]), Some(vec![3])));
        assert_eq!(train.samples.shape, [2, 1, 6]);
        // Accelerations -2.5, -2, -1.5 m/s², angular velocities -0.2, -0.1, 0 rad/s; then 0.5 ... and 0.4 ...
        let expected = [118, 120, 122, 123, 126, 128, 130, 132, 134, 138, 141, 143];
        assert_eq!(test.samples.raw, expected);
        assert_eq!(train.samples.raw, [expected, expected].concat());
    }

    #[test]
    fn values_are_rounded_to_the_nearest_step_and_clamped() {
        let at = |value| raw(value, 50);
        assert_eq!([at(0), at(24), at(25), at(-25), at(-26)], [128, 128, 129, 128, 127]);
        assert_eq!([at(6374), at(6375), at(i16::MAX), at(-6400), at(i16::MIN)], [255, 255, 255, 0, 0]);
    }

    #[test]
    fn files_that_do_not_fit_together_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let [windows, labels] = small_set(folder.path());
        let refused = || splits(Some(folder.path())).unwrap_err().to_string();
        write(&labels, &[2, 2], &[1, 1, 1, 7]);
        assert!(refused().contains("wrong number of labels: expected 3, one for each window"));
        write(&labels, &[3, 2], &[1, 1, 1, 2, 1, 3]);
        assert!(refused().contains("a split has no window"));
        write(&labels, &[3, 2], &[1, 1, -1, 7, 1, 3]);
        assert!(refused().ends_with("label 1 is negative: expected 0 or more, found -1"));
        write(&labels, &[3], &[1, 1, 1]);
        assert!(refused().ends_with("wrong dimensions: expected [windows, 2 columns or more], found [3]"));
        write(&windows, &[3, 4, 3], &[0; 36]);
        assert!(refused().ends_with("wrong dimensions: expected [windows, steps, 6], found [3, 4, 3]"));
        write_idx(&windows, 0x08, &[3, 2, 6], &[0; 36]);
        assert!(refused().ends_with("expected i16 (0x0B), found u8 (0x08)"));
    }

    #[test]
    fn the_real_set_is_what_its_readme_says() {
        let Some(set) = known_set(DataKind::DsadsTorso) else { return };
        assert_eq!((set.train.samples.len(), set.test.samples.len()), (6840, 2280));
        assert_eq!(set.train.samples.shape, [125, 1, 6]);
        for (split, people) in [(&set.train, 6), (&set.test, 2)] {
            let labels = split.labels.as_ref().unwrap();
            for activity in 0..19 {
                assert_eq!(labels.iter().filter(|&&label| label == activity).count(), 60 * people);
            }
            let ends = split.samples.raw.iter().filter(|&&value| value == 0 || value == 255).count();
            assert!(ends * 100 < split.samples.raw.len(), "{ends} clamped values: less than one in a hundred");
        }
    }
}
