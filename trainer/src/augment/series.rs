//! Perturbation of series: time, then the values of each channel.
//!
//! Jitter, scaling, rotation and time warping as in Um et al., "Data augmentation of wearable sensor data for Parkinson's
//! disease monitoring using convolutional neural networks", 2017 (arXiv:1706.00527), with speeds that are positive by
//! construction; the crop is the window slicing of Le Guennec, Malinowski, Tavenard, "Data augmentation for time series
//! classification using convolutional neural networks", 2016.

use std::f32::consts::PI;

use rand::{Rng, RngExt};
use rand_distr::StandardNormal;
use serde::{Deserialize, Serialize};

use super::{Augmenter, BatchKey, check_range, check_up_to, for_each_sample};
use crate::data::Samples;
use crate::error::{Error, Result};

/// How far one view of a series may go from the series. The default changes nothing.
///
/// In the order in which they act: `warp`, `crop` and `shift` in one resampling (linear, the first and the last value
/// going on for ever), `rotate`, `scale`, `jitter`, a clamp to what the sensor can say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SeriesAugment {
    /// Time runs faster and slower: the standard deviation of the logarithm of its speed, which is normal at
    /// four points evenly spread over the series and straight between them; 0 to 2. The series keeps its ends.
    pub warp: f32,
    /// The view is a part of the series at a random place, stretched to the whole: its length is uniform between
    /// `1 - crop` and 1 of the series'; 0 to 0.99.
    pub crop: f32,
    /// Shift by up to this many steps either way; 0 to the length of the series.
    pub shift: f32,
    /// The sensor is turned about a random axis by up to this many degrees either way: channels 0, 1, 2 are x, y, z of
    /// one vector, channels 3, 4, 5 of another, and so on, all turned alike; 0 to 180. The channels of one vector must
    /// have one unit, and `zero` must be their zero.
    pub rotate: f32,
    /// Each channel is scaled by a factor of its own between `1 / (1 + scale)` and `1 + scale`, its logarithm uniform; 0
    /// to 1.
    pub scale: f32,
    /// The raw value that means zero, from which `rotate` and `scale` reckon.
    pub zero: u8,
    /// Standard deviation of the normal noise on every value, as a fraction of full scale; 0 to 1.
    pub jitter: f32,
}

impl Default for SeriesAugment {
    fn default() -> Self {
        Self { warp: 0.0, crop: 0.0, shift: 0.0, rotate: 0.0, scale: 0.0, zero: 128, jitter: 0.0 }
    }
}

impl SeriesAugment {
    /// Whether every setting is in its range, as far as that does not depend on the length of the series.
    ///
    /// # Errors
    /// A setting that is not; the error names it `place.key`.
    pub fn check(&self, place: &str) -> Result<()> {
        check_range(place, "shift", self.shift, 0.0..=f32::MAX, "0 or more steps")?;
        check_up_to(
            place,
            &[
                ("warp", self.warp, 2.0),
                ("crop", self.crop, 0.99),
                ("rotate", self.rotate, 180.0),
                ("scale", self.scale, 1.0),
                ("jitter", self.jitter, 1.0),
            ],
        )
    }

    /// Whether it changes nothing.
    pub fn is_identity(&self) -> bool {
        [self.warp, self.crop, self.shift, self.rotate, self.scale, self.jitter] == [0.0; 6]
    }
}

/// Makes one view of series of one shape.
#[derive(Debug, Clone)]
pub struct SeriesAugmenter {
    config: SeriesAugment,
    shape: [usize; 3],
    raw_max: f32,
    /// In units of full scale.
    zero: f32,
}

/// Points of a random speed.
const KNOTS: usize = 4;

/// What chance decided for one series, but for its channels' factors and its noise.
struct Draw {
    speeds: [f32; KNOTS],
    /// Length of the part that is shown, as a fraction of the series.
    part: f32,
    /// Where it lies: 0 at the start of the series, 1 at its end.
    place: f32,
    shift: f32,
    rotation: [[f32; 3]; 3],
}

impl SeriesAugmenter {
    /// Prepares views of series of `shape` (length, 1, channels) with values up to `raw_max`, at least 1.
    ///
    /// # Errors
    /// A setting out of its range; channels that cannot be rotated. The error names it `place.key`.
    pub fn new(config: &SeriesAugment, place: &str, shape: [usize; 3], raw_max: u8) -> Result<Self> {
        let [length, _, channels] = shape;
        config.check(place)?;
        let longest = length as f32;
        let expected = format!("0 to {longest}, the length of the series");
        check_range(place, "shift", config.shift, 0.0..=longest, &expected)?;
        if config.rotate > 0.0 && channels % 3 != 0 {
            let place = format!("{place}.rotate");
            return Err(Error::input(place, "no vectors to turn", "three channels a vector, or 0", channels));
        }
        if config.zero > raw_max {
            let place = format!("{place}.zero");
            return Err(Error::input(place, "out of range", format!("0 to {raw_max}, full scale"), config.zero));
        }
        let raw_max = f32::from(raw_max);
        Ok(Self { config: config.clone(), shape, raw_max, zero: f32::from(config.zero) / raw_max })
    }

    fn perturb(&self, raw: &[u8], rng: &mut impl Rng, out: &mut [f32]) {
        let [_, _, channels] = self.shape;
        let config = &self.config;
        let draw = self.draw(rng);
        if config.warp > 0.0 || config.crop > 0.0 || config.shift > 0.0 {
            self.resample(raw, &draw, out);
        } else {
            out.iter_mut().zip(raw).for_each(|(out, &value)| *out = f32::from(value) / self.raw_max);
        }
        if config.rotate > 0.0 {
            for vector in out.chunks_exact_mut(3) {
                let from = [vector[0] - self.zero, vector[1] - self.zero, vector[2] - self.zero];
                for (value, row) in vector.iter_mut().zip(draw.rotation) {
                    *value = self.zero + row[0] * from[0] + row[1] * from[1] + row[2] * from[2];
                }
            }
        }
        // Drawn even where nothing is scaled, so that the noise does not depend on it.
        let factors: Vec<f32> = (0..channels).map(|_| (symmetric(rng) * config.scale.ln_1p()).exp()).collect();
        if config.scale > 0.0 {
            for step in out.chunks_exact_mut(channels) {
                for (value, factor) in step.iter_mut().zip(&factors) {
                    *value = self.zero + factor * (*value - self.zero);
                }
            }
        }
        if config.jitter > 0.0 {
            for value in out.iter_mut() {
                *value += config.jitter * rng.sample::<f32, _>(StandardNormal);
            }
        }
        out.iter_mut().for_each(|value| *value = value.clamp(0.0, 1.0));
    }

    /// Takes the same numbers from `rng` whatever the settings, so that changing one setting leaves what the others do
    /// to a sample unchanged.
    fn draw(&self, rng: &mut impl Rng) -> Draw {
        let config = &self.config;
        let speeds = std::array::from_fn(|_| (config.warp * rng.sample::<f32, _>(StandardNormal)).exp());
        let part = 1.0 - config.crop * rng.random::<f32>();
        let place = rng.random();
        let shift = symmetric(rng) * config.shift;
        // Archimedes: the height of a uniform point of the sphere is uniform.
        let height = symmetric(rng);
        let longitude = PI * symmetric(rng);
        let angle = symmetric(rng) * config.rotate.to_radians();
        let across = (1.0 - height * height).max(0.0).sqrt();
        let axis = [across * longitude.cos(), across * longitude.sin(), height];
        Draw { speeds, part, place, shift, rotation: rotation(axis, angle) }
    }

    fn resample(&self, raw: &[u8], draw: &Draw, out: &mut [f32]) {
        let [length, _, channels] = self.shape;
        let last = (length - 1) as f32;
        let start = (1.0 - draw.part) * draw.place * last;
        for (out, time) in out.chunks_exact_mut(channels).zip(warped(&draw.speeds, length)) {
            let position = (start + draw.part * time - draw.shift).clamp(0.0, last);
            let before = position as usize;
            let after = (before + 1).min(length - 1);
            let fraction = position - before as f32;
            let (before, after) = (&raw[before * channels..], &raw[after * channels..]);
            for (value, (&before, &after)) in out.iter_mut().zip(before.iter().zip(after)) {
                let (before, after) = (f32::from(before), f32::from(after));
                *value = (before + fraction * (after - before)) / self.raw_max;
            }
        }
    }
}

impl Augmenter for SeriesAugmenter {
    fn batch(&self, samples: &Samples, indices: &[usize], key: BatchKey) -> Vec<f32> {
        assert_eq!(samples.shape, self.shape, "the augmenter is for another shape");
        for_each_sample(samples.size(), indices, |(), index, out| {
            self.perturb(samples.sample(index), &mut key.sample_rng(index), out);
        })
    }
}

fn symmetric(rng: &mut impl Rng) -> f32 {
    2.0 * rng.random::<f32>() - 1.0
}

/// The time that each of `length` steps shows: from 0 to `length - 1`, passing at the given speeds.
fn warped(speeds: &[f32; KNOTS], length: usize) -> impl Iterator<Item = f32> {
    let steps = length.max(2) - 1;
    // The time that has passed is the integral of the speed, by the trapezoidal rule.
    let passed: Vec<f32> = (0..length)
        .scan((0.0, speeds[0]), |(time, previous), i| {
            let at = (KNOTS - 1) as f32 * i as f32 / steps as f32;
            let knot = (at as usize).min(KNOTS - 2);
            let speed = speeds[knot] + (at - knot as f32) * (speeds[knot + 1] - speeds[knot]);
            if i > 0 {
                *time += 0.5 * (*previous + speed);
            }
            *previous = speed;
            Some(*time)
        })
        .collect();
    let whole = passed.last().copied().filter(|&time| time > 0.0).unwrap_or(1.0);
    passed.into_iter().map(move |time| time / whole * steps as f32)
}

/// Rodrigues' formula: the turn by `angle` radians about the unit vector `axis`.
fn rotation([x, y, z]: [f32; 3], angle: f32) -> [[f32; 3]; 3] {
    let (sin, cos) = angle.sin_cos();
    let rest = 1.0 - cos;
    [
        [cos + rest * x * x, rest * x * y - sin * z, rest * x * z + sin * y],
        [rest * x * y + sin * z, cos + rest * y * y, rest * y * z - sin * x],
        [rest * x * z - sin * y, rest * y * z + sin * x, cos + rest * z * z],
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: BatchKey = BatchKey { seed: 1, epoch: 2, view: 0 };

    fn samples(shape: [usize; 3], count: usize, value: impl Fn(usize) -> u8) -> Samples {
        let size: usize = shape.iter().product();
        Samples { shape, raw: (0..count * size).map(value).collect() }
    }

    /// Far from both ends of the scale, so that nothing is clamped.
    fn wavy(count: usize) -> Samples {
        samples([20, 1, 6], count, |i| (100 + i * 37 % 56) as u8)
    }

    /// Every step says when it was.
    fn clock(length: usize, count: usize) -> Samples {
        samples([length, 1, 1], count, |i| (i % length) as u8)
    }

    fn view(settings: &str, samples: &Samples, key: BatchKey) -> Vec<f32> {
        let config = toml::from_str(settings).unwrap();
        let augmenter = SeriesAugmenter::new(&config, "augment.first", samples.shape, 255).unwrap();
        augmenter.batch(samples, &(0..samples.len()).collect::<Vec<_>>(), key)
    }

    const EVERYTHING: &str = "warp = 0.5\ncrop = 0.4\nshift = 3\nrotate = 40\nscale = 0.3\njitter = 0.05";

    #[test]
    fn a_view_does_not_depend_on_threads_or_on_the_batch() {
        let samples = wavy(300);
        let config = toml::from_str(EVERYTHING).unwrap();
        let augmenter = SeriesAugmenter::new(&config, "", samples.shape, 255).unwrap();
        let all: Vec<usize> = (0..300).collect();
        let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let whole = pool(1).install(|| augmenter.batch(&samples, &all, KEY));
        assert_eq!(whole, pool(4).install(|| augmenter.batch(&samples, &all, KEY)));
        let some = [299, 0, 17, 17];
        for (series, i) in augmenter.batch(&samples, &some, KEY).chunks(120).zip(some) {
            assert_eq!(series, &whole[120 * i..120 * (i + 1)]);
        }
    }

    #[test]
    fn views_epochs_seeds_and_samples_differ() {
        let two = samples([20, 1, 6], 2, |i| (i % 120) as u8);
        let first = view(EVERYTHING, &two, KEY);
        assert_eq!(first, view(EVERYTHING, &two, KEY));
        assert_ne!(first, view(EVERYTHING, &two, BatchKey { view: 1, ..KEY }));
        assert_ne!(first, view(EVERYTHING, &two, BatchKey { epoch: 3, ..KEY }));
        assert_ne!(first, view(EVERYTHING, &two, BatchKey { seed: 0, ..KEY }));
        assert_ne!(first[..120], first[120..]);
    }

    #[test]
    fn every_setting_alone_changes_series_but_for_the_zero() {
        let samples = wavy(10);
        let same = samples.scaled(0..10, 255);
        for setting in ["warp = 0.5", "crop = 0.4", "shift = 3", "rotate = 40", "scale = 0.3", "jitter = 0.05"] {
            assert!(!toml::from_str::<SeriesAugment>(setting).unwrap().is_identity(), "{setting}");
            assert_ne!(view(setting, &samples, KEY), same, "{setting}");
        }
        assert!(toml::from_str::<SeriesAugment>("zero = 3").unwrap().is_identity());
        assert_eq!(view("zero = 3", &samples, KEY), same);
    }

    #[test]
    fn values_stay_what_the_sensor_can_say() {
        let samples = samples([20, 1, 6], 50, |i| (i * 37 % 256) as u8);
        let values = view("scale = 1\njitter = 0.5\nrotate = 180", &samples, KEY);
        assert!(values.iter().all(|value| (0.0..=1.0).contains(value)));
        assert!(values.contains(&0.0) && values.contains(&1.0));
    }

    #[test]
    fn a_warp_keeps_the_ends_and_the_order_of_time() {
        let length = 50;
        let mut bent = 0_f32;
        for series in view("warp = 1", &clock(length, 200), KEY).chunks(length) {
            let time: Vec<f32> = series.iter().map(|value| value * 255.0).collect();
            assert_eq!(time[0], 0.0);
            assert!((time[length - 1] - 49.0).abs() < 1e-3);
            assert!(time.windows(2).all(|pair| pair[0] < pair[1]));
            bent = bent.max(time.iter().enumerate().map(|(i, t)| (t - i as f32).abs()).fold(0.0, f32::max));
        }
        assert!(bent > 10.0, "{bent}");
    }

    #[test]
    fn a_warp_passes_at_its_speeds() {
        // By hand, seven steps over knots 0, 2, 4, 6: speeds 1 2 3 3 3 2 1, trapezoids 1.5 2.5 3 3 2.5 1.5.
        let times: Vec<f32> = warped(&[1.0, 3.0, 3.0, 1.0], 7).collect();
        let expected = [0.0, 1.5, 4.0, 7.0, 10.0, 12.5, 14.0].map(|time| time * 6.0 / 14.0);
        assert!(times.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{times:?}");
    }

    #[test]
    fn the_speeds_logarithm_has_the_spread_asked_for() {
        let config = SeriesAugment { warp: 0.3, ..Default::default() };
        let augmenter = SeriesAugmenter::new(&config, "", [20, 1, 6], 255).unwrap();
        let logarithms: Vec<f32> =
            (0..2000).flat_map(|i| augmenter.draw(&mut KEY.sample_rng(i)).speeds).map(f32::ln).collect();
        let spread = (logarithms.iter().map(|v| v * v).sum::<f32>() / 8000.0).sqrt();
        assert!((spread - 0.3).abs() < 0.01, "{spread}");
    }

    #[test]
    fn a_crop_stretches_a_part_of_its_length_from_anywhere() {
        let (mut shortest, mut longest, mut first, mut last) = (f32::MAX, 0_f32, f32::MAX, 0_f32);
        for series in view("crop = 0.4", &clock(51, 500), KEY).chunks(51) {
            let time: Vec<f32> = series.iter().map(|value| value * 255.0).collect();
            let part = time[50] - time[0];
            assert!(time.windows(2).all(|pair| (pair[1] - pair[0] - part / 50.0).abs() < 1e-3), "evenly");
            (shortest, longest) = (shortest.min(part), longest.max(part));
            (first, last) = (first.min(time[0]), last.max(time[50]));
        }
        assert!((29.99..30.5).contains(&shortest) && (49.5..50.01).contains(&longest), "{shortest} {longest}");
        assert!(first < 0.1 && last > 49.9, "{first} {last}");
    }

    #[test]
    fn a_shift_repeats_the_end_it_runs_over() {
        let (mut left, mut right) = (0_f32, 0_f32);
        for series in view("shift = 5", &clock(51, 500), KEY).chunks(51) {
            let time: Vec<f32> = series.iter().map(|value| value * 255.0).collect();
            let shift = 25.0 - time[25];
            for (i, time) in time.iter().enumerate() {
                assert!((time - (i as f32 - shift).clamp(0.0, 50.0)).abs() < 1e-3);
            }
            (left, right) = (left.min(shift), right.max(shift));
        }
        assert!((-5.001..-4.9).contains(&left) && (4.9..5.001).contains(&right), "{left} {right}");
    }

    #[test]
    fn a_rotation_turns_every_vector_of_a_sample_alike() {
        let samples = wavy(200);
        let vector = |values: &[f32]| [values[0], values[1], values[2]].map(|value| value - 128.0 / 255.0);
        let dot = |a: [f32; 3], b: [f32; 3]| a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
        let mut widest = 0_f32;
        let turned = view("rotate = 40", &samples, KEY);
        for (new, old) in turned.chunks(120).zip(samples.scaled(0..200, 255).chunks(120)) {
            let pairs: Vec<_> = new.chunks(3).zip(old.chunks(3)).map(|(a, b)| (vector(a), vector(b))).collect();
            // Lengths and angles between vectors, of one sensor and across sensors and time, are as they were.
            for (a, a_old) in &pairs {
                for (b, b_old) in &pairs {
                    assert!((dot(*a, *b) - dot(*a_old, *b_old)).abs() < 1e-5);
                }
                widest = widest.max((dot(*a, *a_old) / dot(*a_old, *a_old)).min(1.0).acos().to_degrees());
            }
        }
        assert!((38.0..40.1).contains(&widest), "{widest}");
    }

    #[test]
    fn rotations_follow_the_right_hand_and_their_axes_spread_evenly() {
        let quarter = rotation([0.0, 0.0, 1.0], PI / 2.0);
        let turned = quarter.map(|row| row[0]);
        assert!(turned.iter().zip([0.0, 1.0, 0.0]).all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-6), "x becomes y");

        // Half a turn about `a` is 2 a a' - 1, and the mean of a a' is a third of the identity.
        let config = SeriesAugment { rotate: 180.0, ..Default::default() };
        let augmenter = SeriesAugmenter::new(&config, "", [20, 1, 6], 255).unwrap();
        let mut mean = [0.0_f32; 3];
        for i in 0..3000 {
            let rotation = augmenter.draw(&mut KEY.sample_rng(i)).rotation;
            let trace = rotation[0][0] + rotation[1][1] + rotation[2][2];
            let cos = (trace - 1.0) / 2.0;
            for (k, mean) in mean.iter_mut().enumerate() {
                *mean += (rotation[k][k] - cos) / (1.0 - cos) / 3000.0;
            }
        }
        // The standard deviation of a uniform axis' squared part is 0.3.
        assert!(mean.iter().all(|part| (part - 1.0 / 3.0).abs() < 0.025), "{mean:?}");
    }

    #[test]
    fn scaling_multiplies_each_channel_about_zero() {
        let samples = wavy(300);
        let zero = 30.0 / 255.0;
        let scaled = view("scale = 0.25\nzero = 30", &samples, KEY);
        let (mut lowest, mut highest) = (f32::MAX, 0_f32);
        for (new, old) in scaled.chunks(120).zip(samples.scaled(0..300, 255).chunks(120)) {
            let mut factors = Vec::new();
            for channel in 0..6 {
                let factor = (new[channel] - zero) / (old[channel] - zero);
                for step in 0..20 {
                    let i = step * 6 + channel;
                    assert!((new[i] - zero - factor * (old[i] - zero)).abs() < 1e-5);
                }
                factors.push(factor);
            }
            assert!(factors.windows(2).all(|pair| pair[0] != pair[1]), "each channel by its own factor");
            lowest = factors.iter().copied().fold(lowest, f32::min);
            highest = factors.iter().copied().fold(highest, f32::max);
        }
        assert!((0.7999..0.802).contains(&lowest) && (1.248..1.2501).contains(&highest), "{lowest} {highest}");
    }

    #[test]
    fn jitter_has_its_strength_and_no_bias() {
        let flat = samples([100, 1, 6], 100, |_| 128);
        let noisy = view("jitter = 0.05", &flat, KEY);
        let count = noisy.len() as f64;
        let off = |value: &f32| f64::from(*value) - 128.0 / 255.0;
        let mean = noisy.iter().map(off).sum::<f64>() / count;
        let spread = (noisy.iter().map(|value| off(value).powi(2)).sum::<f64>() / count).sqrt();
        assert!(mean.abs() < 0.001 && (spread - 0.05).abs() < 0.001, "{mean} {spread}");
    }

    #[test]
    fn one_setting_leaves_what_the_others_do_unchanged() {
        let flat = samples([20, 1, 6], 10, |_| 128);
        // A flat series at zero shows nothing of any setting but the noise.
        assert_eq!(view(EVERYTHING, &flat, KEY), view("jitter = 0.05", &flat, KEY));
    }

    #[test]
    fn a_series_of_one_step_survives() {
        let one = samples([1, 1, 3], 5, |i| (100 + i) as u8);
        let expected = one.scaled(0..5, 255);
        let found = view("warp = 1\ncrop = 0.5\nshift = 1", &one, KEY);
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}");
    }

    #[test]
    fn settings_out_of_range_are_refused_by_name() {
        let refused = |settings: &str, shape: [usize; 3], raw_max: u8| {
            let config: SeriesAugment = toml::from_str(settings).unwrap();
            let message = SeriesAugmenter::new(&config, "augment.second", shape, raw_max).unwrap_err().to_string();
            let key = settings.split(' ').next().unwrap();
            assert!(message.starts_with(&format!("augment.second.{key}: ")), "{message}");
            message
        };
        for key in ["warp", "crop", "shift", "rotate", "scale", "jitter"] {
            for value in ["-0.1", "nan", "inf"] {
                refused(&format!("{key} = {value}"), [20, 1, 6], 255);
            }
        }
        for setting in ["warp = 2.1", "crop = 1", "shift = 21", "rotate = 181", "scale = 1.1", "jitter = 1.1"] {
            refused(setting, [20, 1, 6], 255);
        }
        assert!(refused("rotate = 10", [20, 1, 4], 255).ends_with("three channels a vector, or 0, found 4"));
        assert!(refused("zero = 20", [20, 1, 6], 16).ends_with("expected 0 to 16, full scale, found 20"));
    }
}
