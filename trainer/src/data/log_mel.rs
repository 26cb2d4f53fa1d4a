//! Log-mel features of speech: how much power a recording has in each band of pitch from moment to moment, in decibels below
//! the loudest.
//!
//! This map runs on the host. What crosses to a network and to a chip is its bytes: a device that listens must
//! compute the same features before its model, from a whole recording, for they are relative to its loudest value.
//!
//! With x the recording at 8 kHz:
//!
//! 1. pre-emphasis: `y[t] = x[t] - 0.97 x[t-1]`, `x[-1] = 0`;
//! 2. frames of 256 values (32 ms), one every 128 (16 ms), the last one filled up with zeros; each is multiplied by the
//!    periodic Hann window and transformed: power `|Y[k]|²`, `k = 0..=128`;
//! 3. 32 triangles, evenly spaced and half overlapping on the mel scale `2595 log10(1 + f / 700)` between 60 Hz and 4 kHz,
//!    height 1: a band's power is the sum of the powers under its triangle;
//! 4. a value is `255 (1 + dB / 60)`, rounded and clamped to a byte, where dB is the band's power against the largest one of the
//!    recording: 255 is the loudest, 0 is 60 dB below it or less. A silent recording is 0 throughout;
//! 5. 48 frames (784 ms): of a longer recording those 48 in a row with the most power, the first of them where there are
//!    several; a shorter one lies in the middle between frames of 0.

use std::f64::consts::PI;
use std::sync::Arc;

use realfft::{RealFftPlanner, RealToComplex};

/// Values a second.
pub const RATE: u32 = 8000;
/// Frames of a feature map.
pub const FRAMES: usize = 48;
/// Bands of a frame.
pub const BANDS: usize = 32;

const WINDOW: usize = 256;
const HOP: usize = 128;
const BINS: usize = WINDOW / 2 + 1;
const PRE_EMPHASIS: f64 = 0.97;
const LOWEST_HZ: f64 = 60.0;
const HIGHEST_HZ: f64 = RATE as f64 / 2.0;
const RANGE_DB: f64 = 60.0;

/// Computes feature maps.
pub struct LogMel {
    transform: Arc<dyn RealToComplex<f64>>,
    window: Vec<f64>,
    /// For each band, the weight of each bin.
    triangles: Vec<[f64; BINS]>,
}

impl Default for LogMel {
    fn default() -> Self {
        let window = (0..WINDOW).map(|t| 0.5 - 0.5 * (2.0 * PI * t as f64 / WINDOW as f64).cos()).collect();
        Self { transform: RealFftPlanner::new().plan_fft_forward(WINDOW), window, triangles: triangles() }
    }
}

impl LogMel {
    /// The features of a recording at [`RATE`], any length: [`FRAMES`] x [`BANDS`] bytes, frame by frame.
    pub fn features(&self, recording: &[i16]) -> Vec<u8> {
        let powers = self.powers(recording);
        let chosen = loudest(&powers);
        let reference = powers.iter().flatten().copied().fold(0.0, f64::max);
        let mut features = vec![0; FRAMES * BANDS];
        let start = (FRAMES - chosen.len()) / 2 * BANDS;
        for (feature, &power) in features[start..].iter_mut().zip(chosen.iter().flatten()) {
            let decibels = 10.0 * (power / reference).log10();
            // A cast from float to integer keeps to the byte's range and takes what is not a number for 0.
            *feature = (255.0 * (1.0 + decibels / RANGE_DB)).round() as u8;
        }
        features
    }

    /// The power of each band in each frame, at least one frame.
    fn powers(&self, recording: &[i16]) -> Vec<[f64; BANDS]> {
        let mut previous = 0.0;
        let mut signal: Vec<f64> = recording
            .iter()
            .map(|&value| {
                let emphasised = f64::from(value) - PRE_EMPHASIS * previous;
                previous = f64::from(value);
                emphasised
            })
            .collect();
        let frames = signal.len().saturating_sub(WINDOW).div_ceil(HOP) + 1;
        signal.resize((frames - 1) * HOP + WINDOW, 0.0);

        let mut spectrum = self.transform.make_output_vec();
        let mut frame = self.transform.make_input_vec();
        signal
            .windows(WINDOW)
            .step_by(HOP)
            .map(|values| {
                frame.iter_mut().zip(values).zip(&self.window).for_each(|((out, value), weight)| *out = value * weight);
                self.transform.process(&mut frame, &mut spectrum).expect("the buffers are the transform's own");
                std::array::from_fn(|band| {
                    self.triangles[band].iter().zip(&spectrum).map(|(weight, value)| weight * value.norm_sqr()).sum()
                })
            })
            .collect()
    }
}

/// Of more than [`FRAMES`] frames those in a row with the most power.
fn loudest(powers: &[[f64; BANDS]]) -> &[[f64; BANDS]] {
    if powers.len() <= FRAMES {
        return powers;
    }
    let total = |frames: &[[f64; BANDS]]| frames.iter().flatten().sum::<f64>();
    let mut best = &powers[..FRAMES];
    let mut most = total(best);
    for frames in powers.windows(FRAMES).skip(1) {
        let power = total(frames);
        if power > most {
            (best, most) = (frames, power);
        }
    }
    best
}

fn triangles() -> Vec<[f64; BINS]> {
    let mel = |hertz: f64| 2595.0 * (1.0 + hertz / 700.0).log10();
    let step = (mel(HIGHEST_HZ) - mel(LOWEST_HZ)) / (BANDS + 1) as f64;
    (0..BANDS)
        .map(|band| {
            let centre = mel(LOWEST_HZ) + (band + 1) as f64 * step;
            std::array::from_fn(|bin| {
                let hertz = bin as f64 * f64::from(RATE) / WINDOW as f64;
                (1.0 - (mel(hertz) - centre).abs() / step).max(0.0)
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hertz: f64, amplitude: f64, length: usize) -> Vec<i16> {
        let value = |t: usize| amplitude * (2.0 * PI * hertz * t as f64 / f64::from(RATE)).sin();
        (0..length).map(|t| value(t) as i16).collect()
    }

    /// The documented steps as plain loops over the definition of the Fourier transform.
    fn by_the_definition(x: &[i16]) -> Vec<Vec<f64>> {
        let mut frames = Vec::new();
        let mut start = 0;
        loop {
            let y: Vec<f64> = (start..start + 256)
                .map(|t| {
                    let at = |t: usize| x.get(t).map_or(0.0, |&v| f64::from(v));
                    let before = if t == 0 { 0.0 } else { at(t - 1) };
                    if t < x.len() { at(t) - 0.97 * before } else { 0.0 }
                })
                .enumerate()
                .map(|(t, value)| value * (PI * t as f64 / 256.0).sin().powi(2))
                .collect();
            let power: Vec<f64> = (0..=128)
                .map(|k| {
                    let angle = |t: usize| 2.0 * PI * (k * t % 256) as f64 / 256.0;
                    let re: f64 = y.iter().enumerate().map(|(t, value)| value * angle(t).cos()).sum();
                    let im: f64 = y.iter().enumerate().map(|(t, value)| value * angle(t).sin()).sum();
                    re * re + im * im
                })
                .collect();
            let mel = |k: usize| 2595.0 * (1.0 + 31.25 * k as f64 / 700.0).log10();
            let (low, high) = (2595.0 * (1.0_f64 + 60.0 / 700.0).log10(), mel(128));
            let edge = |i: usize| low + i as f64 * (high - low) / 33.0;
            frames.push(
                (0..32)
                    .map(|band| {
                        let rise = |k: usize| (mel(k) - edge(band)) / (edge(band + 1) - edge(band));
                        let fall = |k: usize| (edge(band + 2) - mel(k)) / (edge(band + 2) - edge(band + 1));
                        power.iter().enumerate().map(|(k, power)| rise(k).min(fall(k)).max(0.0) * power).sum()
                    })
                    .collect(),
            );
            if start + 256 >= x.len() {
                return frames;
            }
            start += 128;
        }
    }

    #[test]
    fn powers_are_those_of_the_definition() {
        let mut x = tone(700.0, 8000.0, 1000);
        x.iter_mut().enumerate().for_each(|(t, value)| *value += (t * 7919 % 3001) as i16);
        let found = LogMel::default().powers(&x);
        let expected = by_the_definition(&x);
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() <= 1e-9 * expected.abs() + 1e-3, "{found} {expected}");
            }
        }
    }

    #[test]
    fn frames_cover_the_recording_and_no_more() {
        let frames = |length: usize| LogMel::default().powers(&vec![1; length]).len();
        assert_eq!([0, 1, 256, 257, 384, 385].map(frames), [1, 1, 1, 2, 2, 3]);
    }

    #[test]
    fn every_band_hears_something() {
        assert!(triangles().iter().all(|triangle| triangle.iter().sum::<f64>() > 0.3));
    }

    #[test]
    fn a_tone_is_loudest_in_its_band_and_lies_in_the_middle() {
        // Ten whole frames.
        let features = LogMel::default().features(&tone(1000.0, 10_000.0, 9 * HOP + WINDOW));
        let frames: Vec<&[u8]> = features.chunks(BANDS).collect();
        for (i, frame) in frames.iter().enumerate() {
            let loudest = (0..BANDS).max_by_key(|&band| frame[band]).unwrap();
            if (19..29).contains(&i) {
                // 1 kHz is mel 1000, in steps of 62.3 from mel 92.6: 14.6 steps, between bands 13 and 14 from 0.
                assert_eq!(loudest, 14, "frame {i}");
            } else {
                assert_eq!(frame, &[0; BANDS], "frame {i}");
            }
        }
        assert_eq!(features.iter().max(), Some(&255));
    }

    #[test]
    fn features_do_not_depend_on_loudness() {
        let mut loud = tone(500.0, 3000.0, 3000);
        loud.iter_mut().enumerate().for_each(|(t, value)| *value += 100 * (t * 37 % 29) as i16);
        let soft: Vec<i16> = loud.iter().map(|value| value / 20 * 4).collect();
        let louder: Vec<i16> = loud.iter().map(|value| value / 20 * 20).collect();
        assert_eq!(LogMel::default().features(&soft), LogMel::default().features(&louder));
    }

    #[test]
    fn twenty_decibels_are_a_third_of_the_range() {
        let mut x = tone(1000.0, 10_000.0, 8 * WINDOW);
        x[4 * WINDOW..].iter_mut().for_each(|value| *value = (f64::from(*value) / 10.0).round() as i16);
        let features = LogMel::default().features(&x);
        let frames: Vec<&[u8]> = features.chunks(BANDS).filter(|frame| frame.iter().any(|&value| value > 0)).collect();
        assert_eq!(frames.len(), 15);
        let [loud, soft] = [frames[3][14], frames[11][14]];
        assert_eq!(loud, 255);
        assert!(soft.abs_diff(170) <= 1, "{soft}");
    }

    #[test]
    fn of_a_long_recording_the_loudest_part_is_kept() {
        let mut x = vec![0; 20_000];
        let word = tone(1000.0, 10_000.0, 40 * HOP);
        x[12_000..12_000 + word.len()].copy_from_slice(&word);
        let features = LogMel::default().features(&x);
        let sounding = features.chunks(BANDS).filter(|frame| frame[14] > 200).count();
        assert!((39..=41).contains(&sounding), "{sounding}");
    }

    #[test]
    fn silence_is_zero() {
        assert_eq!(LogMel::default().features(&[0; 3000]), [0; FRAMES * BANDS]);
        assert_eq!(LogMel::default().features(&[]), [0; FRAMES * BANDS]);
    }
}
