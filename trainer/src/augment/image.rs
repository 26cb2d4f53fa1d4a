//! Perturbation of small images: geometry, then brightness, colour, noise and erasing.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, RngExt};
use rand_distr::StandardNormal;
use serde::{Deserialize, Serialize};

use super::warp::{ElasticField, Pose, Scratch, warp};
use super::{Augmenter, BatchKey, check_range, check_up_to, for_each_sample};
use crate::data::Samples;
use crate::error::{Error, Result};

/// How far one view of an image may go from the image. The default changes nothing.
///
/// In the order in which they act: `flip`, `scale`, `shear`, `rotate`, `shift`, `crop` and `elastic` in one resampling
/// (bilinear, zero outside the image), `contrast`, `brightness`, `saturation`, `hue`, `grey`, `noise`, a clamp to what the
/// sensor can say, `erase`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImageAugment {
    /// Whether half of the images, by chance, are mirrored left to right.
    pub flip: bool,
    /// Scaling about the centre by a factor between `1 / (1 + scale)` and `1 + scale`, its logarithm uniform; 0 to 1.
    pub scale: f32,
    /// Rows slide by up to this many pixels for each pixel of their distance from the centre; 0 to 1.
    pub shear: f32,
    /// Turning about the centre by up to this many degrees either way; 0 to 180.
    pub rotate: f32,
    /// Shift by up to this many pixels either way on each axis; 0 to the longer side of the image.
    pub shift: f32,
    /// The view is a part of the image at a random place, enlarged to the whole: its area is uniform between
    /// `1 - crop` and 1 of the image's, its sides are as long to one another as the image's; 0 to 0.99.
    pub crop: f32,
    /// Smooth random displacement of every pixel, normally distributed with this standard deviation in pixels on each
    /// axis; 0 to the longer side of the image.
    pub elastic: f32,
    /// Control points of that displacement on each axis, the outermost just outside the image: fewer are smoother;
    /// 4 to 64.
    pub elastic_grid: usize,
    /// Differences from the image's mean grow or shrink by up to this fraction; 0 to 1.
    pub contrast: f32,
    /// The image grows lighter or darker by up to this fraction of full scale; 0 to 1.
    pub brightness: f32,
    /// Three channels only: colours grow paler or stronger by up to this fraction; 0 to 1.
    pub saturation: f32,
    /// Three channels only: colours turn about the axis of greys by up to this many degrees either way; 0 to 180.
    pub hue: f32,
    /// Three channels only: probability that an image loses its colour; 0 to 1.
    pub grey: f32,
    /// Standard deviation of the normal noise on every value, as a fraction of full scale; 0 to 1.
    pub noise: f32,
    /// Probability that a rectangle is set to zero; 0 to 1.
    pub erase: f32,
    /// The rectangle's sides are uniform up to this fraction of the image's; 0 to 1, at least a pixel.
    pub erase_size: f32,
}

impl Default for ImageAugment {
    fn default() -> Self {
        Self {
            flip: false,
            scale: 0.0,
            shear: 0.0,
            rotate: 0.0,
            shift: 0.0,
            crop: 0.0,
            elastic: 0.0,
            elastic_grid: 5,
            contrast: 0.0,
            brightness: 0.0,
            saturation: 0.0,
            hue: 0.0,
            grey: 0.0,
            noise: 0.0,
            erase: 0.0,
            erase_size: 0.3,
        }
    }
}

impl ImageAugment {
    /// Whether every setting is in its range, as far as that does not depend on the size of the images.
    ///
    /// # Errors
    /// A setting that is not; the error names it `place.key`.
    pub fn check(&self, place: &str) -> Result<()> {
        self.check_distances(place, f32::MAX)?;
        check_up_to(
            place,
            &[
                ("scale", self.scale, 1.0),
                ("shear", self.shear, 1.0),
                ("rotate", self.rotate, 180.0),
                ("crop", self.crop, 0.99),
                ("contrast", self.contrast, 1.0),
                ("brightness", self.brightness, 1.0),
                ("saturation", self.saturation, 1.0),
                ("hue", self.hue, 180.0),
                ("grey", self.grey, 1.0),
                ("noise", self.noise, 1.0),
                ("erase", self.erase, 1.0),
                ("erase_size", self.erase_size, 1.0),
            ],
        )?;
        if !(ElasticField::MIN_POINTS..=64).contains(&self.elastic_grid) {
            return Err(Error::input(
                format!("{place}.elastic_grid"),
                "out of range",
                format!("{} to 64", ElasticField::MIN_POINTS),
                self.elastic_grid,
            ));
        }
        Ok(())
    }

    fn check_distances(&self, place: &str, longest: f32) -> Result<()> {
        for (key, value) in [("shift", self.shift), ("elastic", self.elastic)] {
            let expected = if longest < f32::MAX {
                format!("0 to {longest}, the longer side of the image")
            } else {
                "0 or more pixels".into()
            };
            check_range(place, key, value, 0.0..=longest, &expected)?;
        }
        Ok(())
    }

    fn check_colours(&self, place: &str, channels: usize) -> Result<()> {
        for (key, value) in [("saturation", self.saturation), ("hue", self.hue), ("grey", self.grey)] {
            if value > 0.0 && channels != 3 {
                let place = format!("{place}.{key}");
                return Err(Error::input(place, "the images have no colours", "images of 3 channels, or 0", channels));
            }
        }
        Ok(())
    }

    /// Whether it changes nothing.
    pub fn is_identity(&self) -> bool {
        let strengths = [
            self.scale,
            self.shear,
            self.rotate,
            self.shift,
            self.crop,
            self.elastic,
            self.contrast,
            self.brightness,
            self.saturation,
            self.hue,
            self.grey,
            self.noise,
            self.erase,
        ];
        !self.flip && strengths == [0.0; 13]
    }
}

/// Makes one view of images of one shape.
#[derive(Debug, Clone)]
pub struct ImageAugmenter {
    config: ImageAugment,
    shape: [usize; 3],
    raw_max: f32,
    elastic: Option<ElasticField>,
}

/// What chance decided for one image, but for its field and its noise.
struct Draw {
    pose: Pose,
    contrast: f32,
    brightness: f32,
    erased: Option<Rectangle>,
}

/// What chance decided for one image's colours.
struct Colours {
    /// Each colour's distance from grey is multiplied by this.
    saturation: f32,
    /// Radians about the axis of greys, from red towards green.
    hue: f32,
    grey: bool,
}

/// Rows and columns, the end excluded.
struct Rectangle {
    rows: std::ops::Range<usize>,
    columns: std::ops::Range<usize>,
}

impl ImageAugmenter {
    /// Prepares views of images of `shape` (height, width, channels) with values up to `raw_max`, at least 1.
    ///
    /// # Errors
    /// A setting out of its range; the error names it `place.key`.
    pub fn new(config: &ImageAugment, place: &str, shape: [usize; 3], raw_max: u8) -> Result<Self> {
        let [height, width, channels] = shape;
        config.check(place)?;
        config.check_distances(place, height.max(width) as f32)?;
        config.check_colours(place, channels)?;
        let elastic =
            (config.elastic > 0.0).then(|| ElasticField::new(config.elastic, config.elastic_grid, height, width));
        Ok(Self { config: config.clone(), shape, raw_max: raw_max.into(), elastic })
    }

    fn perturb(&self, raw: &[u8], [rng, more]: [&mut Xoshiro256PlusPlus; 2], scratch: &mut Scratch, out: &mut [f32]) {
        let image = raw.iter().map(|&value| f32::from(value) / self.raw_max);
        let mut draw = self.draw(rng);
        self.crop(&mut draw.pose, more);
        let colours = self.draw_colours(more);
        if self.elastic.is_some() || draw.pose != Pose::IDENTITY {
            let field = self.elastic.as_ref().map(|field| (field, &mut *rng));
            warp(image, self.shape, &draw.pose, field, scratch, out);
        } else {
            out.iter_mut().zip(image).for_each(|(out, value)| *out = value);
        }
        if self.config.contrast > 0.0 || self.config.brightness > 0.0 {
            let mean = out.iter().sum::<f32>() / out.len() as f32;
            let offset = mean - draw.contrast * mean + draw.brightness;
            out.iter_mut().for_each(|value| *value = draw.contrast * *value + offset);
        }
        if colours.saturation != 1.0 || colours.hue != 0.0 || colours.grey {
            let matrix = colours.matrix();
            for pixel in out.chunks_exact_mut(3) {
                let rgb = [pixel[0], pixel[1], pixel[2]];
                for (value, weights) in pixel.iter_mut().zip(matrix) {
                    *value = dot(weights, rgb);
                }
            }
        }
        if self.config.noise > 0.0 {
            for value in out.iter_mut() {
                *value += self.config.noise * rng.sample::<f32, _>(StandardNormal);
            }
        }
        out.iter_mut().for_each(|value| *value = value.clamp(0.0, 1.0));
        if let Some(rectangle) = draw.erased {
            let [_, width, channels] = self.shape;
            let columns = rectangle.columns.start * channels..rectangle.columns.end * channels;
            for row in out.chunks_exact_mut(width * channels).skip(rectangle.rows.start).take(rectangle.rows.len()) {
                row[columns.clone()].fill(0.0);
            }
        }
    }

    /// Takes the same numbers from `rng` whatever the settings, so that changing one setting leaves what the others do
    /// to a sample unchanged.
    fn draw(&self, rng: &mut impl Rng) -> Draw {
        let config = &self.config;
        let [height, width, _] = self.shape;
        let mut unit = || rng.random::<f32>();
        let mut symmetric = || 2.0 * unit() - 1.0;
        let pose = Pose {
            flip: symmetric() < 0.0 && config.flip,
            scale: (symmetric() * config.scale.ln_1p()).exp(),
            shear: symmetric() * config.shear,
            rotate: symmetric() * config.rotate.to_radians(),
            shift: [symmetric() * config.shift, symmetric() * config.shift],
        };
        let contrast = 1.0 + symmetric() * config.contrast;
        let brightness = symmetric() * config.brightness;
        let erase = unit() < config.erase;
        let mut side = |length: usize| {
            let size = ((unit() * config.erase_size * length as f32).ceil() as usize).clamp(1, length);
            let start = ((unit() * (length - size + 1) as f32) as usize).min(length - size);
            start..start + size
        };
        let rectangle = Rectangle { rows: side(height), columns: side(width) };
        Draw { pose, contrast, brightness, erased: erase.then_some(rectangle) }
    }

    /// Narrows the view to a part of the image.
    fn crop(&self, pose: &mut Pose, rng: &mut impl Rng) {
        let [area, down, right] = std::array::from_fn(|_| rng.random::<f32>());
        let zoom = (1.0 - area * self.config.crop).sqrt().recip();
        pose.scale *= zoom;
        for (shift, (place, length)) in pose.shift.iter_mut().zip([(down, self.shape[0]), (right, self.shape[1])]) {
            *shift += (2.0 * place - 1.0) * (zoom - 1.0) * length as f32 / 2.0;
        }
    }

    fn draw_colours(&self, rng: &mut impl Rng) -> Colours {
        let mut unit = || rng.random::<f32>();
        Colours {
            saturation: 1.0 + (2.0 * unit() - 1.0) * self.config.saturation,
            hue: (2.0 * unit() - 1.0) * self.config.hue.to_radians(),
            grey: unit() < self.config.grey,
        }
    }
}

impl Augmenter for ImageAugmenter {
    fn batch(&self, samples: &Samples, indices: &[usize], key: BatchKey) -> Vec<f32> {
        assert_eq!(samples.shape, self.shape, "the augmenter is for another shape");
        for_each_sample(samples.size(), indices, |scratch, index, out| {
            let rngs = [&mut key.sample_rng(index), &mut key.more_rng(index)];
            self.perturb(samples.sample(index), rngs, scratch, out);
        })
    }
}

impl Colours {
    /// How light the three channels look: Rec. ITU-R BT.601.
    const LUMA: [f32; 3] = [0.299, 0.587, 0.114];

    /// The linear map of a pixel's channels: saturation about the grey of the same luma, then hue, a turn about the
    /// axis (1, 1, 1).
    fn matrix(&self) -> [[f32; 3]; 3] {
        if self.grey {
            return [Self::LUMA; 3];
        }
        let (sin, cos) = self.hue.sin_cos();
        let sin = sin / 3_f32.sqrt();
        let along = (1.0 - cos) / 3.0;
        let turn = [
            [cos + along, along - sin, along + sin],
            [along + sin, cos + along, along - sin],
            [along - sin, along + sin, cos + along],
        ];
        // The turn keeps greys, so each of its rows sums to 1 and `turn * (s I + (1 - s) 1 luma')` is what follows.
        turn.map(|row| std::array::from_fn(|k| self.saturation * row[k] + (1.0 - self.saturation) * Self::LUMA[k]))
    }
}

fn dot(a: [f32; 3], b: [f32; 3]) -> f32 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: BatchKey = BatchKey { seed: 1, epoch: 2, view: 0 };

    fn samples(shape: [usize; 3], count: usize, value: impl Fn(usize) -> u8) -> Samples {
        let size: usize = shape.iter().product();
        Samples { shape, raw: (0..count * size).map(value).collect() }
    }

    fn ramp(shape: [usize; 3], count: usize) -> Samples {
        samples(shape, count, |i| (i * 37 % 256) as u8)
    }

    /// Everything at once.
    fn everything() -> ImageAugment {
        ImageAugment {
            flip: true,
            scale: 0.2,
            shear: 0.2,
            rotate: 20.0,
            shift: 2.0,
            crop: 0.5,
            elastic: 0.7,
            elastic_grid: 5,
            contrast: 0.3,
            brightness: 0.1,
            noise: 0.1,
            erase: 0.5,
            erase_size: 0.4,
            ..Default::default()
        }
    }

    fn view(config: ImageAugment, samples: &Samples, key: BatchKey) -> Vec<f32> {
        let augmenter = ImageAugmenter::new(&config, "augment.first", samples.shape, 255).unwrap();
        let indices: Vec<usize> = (0..samples.len()).collect();
        augmenter.batch(samples, &indices, key)
    }

    #[test]
    fn the_default_changes_nothing() {
        let samples = ramp([5, 4, 3], 7);
        assert_eq!(view(ImageAugment::default(), &samples, KEY), samples.scaled(0..7, 255));
    }

    #[test]
    fn a_view_does_not_depend_on_threads_or_on_the_batch() {
        let samples = ramp([8, 8, 1], 300);
        let augmenter = ImageAugmenter::new(&everything(), "", samples.shape, 255).unwrap();
        let all: Vec<usize> = (0..300).collect();
        let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let whole = pool(1).install(|| augmenter.batch(&samples, &all, KEY));
        let parallel = pool(4).install(|| augmenter.batch(&samples, &all, KEY));
        assert_eq!(whole, parallel);
        let some = [299, 0, 17, 17];
        for (image, i) in augmenter.batch(&samples, &some, KEY).chunks(64).zip(some) {
            assert_eq!(image, &whole[64 * i..64 * (i + 1)]);
        }
    }

    #[test]
    fn views_epochs_seeds_and_samples_differ() {
        let one = samples([8, 8, 1], 2, |i| (i * 37 % 64) as u8 * 4);
        let at = |key| view(everything(), &one, key);
        let first = at(KEY);
        assert_eq!(first, at(KEY));
        assert_ne!(first, at(BatchKey { view: 1, ..KEY }));
        assert_ne!(first, at(BatchKey { epoch: 3, ..KEY }));
        assert_ne!(first, at(BatchKey { seed: 0, ..KEY }));
        assert_ne!(first[..64], first[64..]);
    }

    #[test]
    fn values_stay_what_the_sensor_can_say() {
        let strong = ImageAugment { contrast: 1.0, brightness: 1.0, noise: 1.0, ..everything() };
        let values = view(strong, &ramp([12, 9, 2], 50), KEY);
        assert!(values.iter().all(|value| (0.0..=1.0).contains(value)));
        assert!(values.contains(&0.0) && values.contains(&1.0));
    }

    #[test]
    fn noise_has_its_strength_and_no_bias() {
        let grey = samples([28, 28, 1], 100, |_| 128);
        let noisy = view(ImageAugment { noise: 0.05, ..Default::default() }, &grey, KEY);
        let middle = 128.0 / 255.0;
        let count = noisy.len() as f64;
        let mean = noisy.iter().map(|&v| f64::from(v) - middle).sum::<f64>() / count;
        let spread = (noisy.iter().map(|&v| (f64::from(v) - middle).powi(2)).sum::<f64>() / count).sqrt();
        assert!(mean.abs() < 0.001, "{mean}");
        assert!((spread - 0.05).abs() < 0.001, "{spread}");
    }

    #[test]
    fn brightness_moves_all_values_alike_and_as_far_as_allowed() {
        let two_greys = samples([4, 4, 1], 500, |i| if i % 2 == 0 { 102 } else { 153 });
        let config = ImageAugment { brightness: 0.3, ..Default::default() };
        let mut reached = [0.0_f32; 2];
        for image in view(config, &two_greys, KEY).chunks(16) {
            let change = image[0] - 0.4;
            assert!((image[1] - 0.6 - change).abs() < 1e-6);
            reached = [reached[0].min(change), reached[1].max(change)];
        }
        assert!((-0.3..-0.29).contains(&reached[0]) && (0.29..0.3).contains(&reached[1]));
    }

    #[test]
    fn contrast_keeps_the_mean() {
        let two_greys = samples([4, 4, 1], 500, |i| if i % 2 == 0 { 102 } else { 153 });
        let config = ImageAugment { contrast: 0.5, ..Default::default() };
        let mut reached = [1.0_f32; 2];
        for image in view(config, &two_greys, KEY).chunks(16) {
            assert!((image[0] + image[1] - 1.0).abs() < 1e-6);
            let factor = (image[1] - image[0]) / 0.2;
            reached = [reached[0].min(factor), reached[1].max(factor)];
        }
        assert!((0.5..0.52).contains(&reached[0]) && (1.48..1.5001).contains(&reached[1]));
    }

    #[test]
    fn erasing_zeroes_one_rectangle_of_the_size_allowed_as_often_as_asked() {
        let shape = [10, 20, 2];
        let white = samples(shape, 2000, |_| 255);
        let config = ImageAugment { erase: 0.25, erase_size: 0.4, ..Default::default() };
        let (mut erased, mut tallest, mut widest) = (0, 0, 0);
        for image in view(config, &white, KEY).chunks(400) {
            let zeros: Vec<(usize, usize)> = image
                .chunks(2)
                .enumerate()
                .filter(|(_, pixel)| {
                    assert_eq!(pixel[0], pixel[1]);
                    pixel[0] == 0.0
                })
                .map(|(i, _)| (i / 20, i % 20))
                .collect();
            let Some(&(top, left)) = zeros.first() else {
                continue;
            };
            let &(bottom, right) = zeros.last().unwrap();
            assert_eq!(zeros.len(), (bottom - top + 1) * (right - left + 1));
            erased += 1;
            tallest = tallest.max(bottom - top + 1);
            widest = widest.max(right - left + 1);
        }
        // Binomial: 500 expected, standard deviation 19.
        assert!((420..580).contains(&erased), "{erased}");
        assert_eq!((tallest, widest), (4, 8));
    }

    #[test]
    fn a_flip_mirrors_half_of_the_images() {
        let samples = samples([1, 4, 1], 1000, |i| (i % 4) as u8);
        let flipped = view(ImageAugment { flip: true, ..Default::default() }, &samples, KEY);
        let mirrored = flipped.chunks(4).filter(|image| image[0] > image[3]).count();
        // Binomial: 500 expected, standard deviation 16.
        assert!((430..570).contains(&mirrored), "{mirrored}");
    }

    #[test]
    fn poses_go_as_far_as_the_settings_say_and_no_further() {
        let config = everything();
        let augmenter = ImageAugmenter::new(&config, "", [8, 8, 1], 255).unwrap();
        let poses: Vec<Pose> = (0..2000).map(|i| augmenter.draw(&mut KEY.sample_rng(i)).pose).collect();
        let reaches = |what: &str, bound: f32, value: fn(&Pose) -> f32| {
            let lowest = poses.iter().map(value).fold(f32::MAX, f32::min);
            let highest = poses.iter().map(value).fold(f32::MIN, f32::max);
            assert!((-bound..-0.99 * bound).contains(&lowest), "{what}: {lowest}");
            assert!((0.99 * bound..bound).contains(&highest), "{what}: {highest}");
        };
        reaches("scale", 1.2_f32.ln(), |pose| pose.scale.ln());
        reaches("shear", 0.2, |pose| pose.shear);
        reaches("rotate", 20.0, |pose| pose.rotate.to_degrees());
        reaches("shift down", 2.0, |pose| pose.shift[0]);
        reaches("shift right", 2.0, |pose| pose.shift[1]);
    }

    #[test]
    fn every_setting_alone_changes_images() {
        let samples = ramp([8, 8, 1], 10);
        let same = samples.scaled(0..10, 255);
        for setting in [
            "flip = true",
            "scale = 0.2",
            "shear = 0.2",
            "rotate = 20",
            "shift = 2",
            "crop = 0.5",
            "elastic = 0.7",
            "contrast = 0.3",
            "brightness = 0.1",
            "noise = 0.1",
            "erase = 0.9",
        ] {
            let config: ImageAugment = toml::from_str(setting).unwrap();
            assert!(!config.is_identity(), "{setting}");
            assert_ne!(view(config, &samples, KEY), same, "{setting}");
        }
    }

    #[test]
    fn settings_without_a_strength_are_an_identity() {
        assert!(ImageAugment { elastic_grid: 9, erase_size: 0.9, ..Default::default() }.is_identity());
    }

    #[test]
    fn a_crop_shows_a_part_of_its_area_from_anywhere_in_the_image() {
        // Each value says where it was: down in one channel, right in the other.
        let shape = [16, 16, 2];
        let places = samples(shape, 400, |i| (if i % 2 == 0 { i / 32 % 16 } else { i / 2 % 16 } * 17) as u8);
        let crop = 0.75;
        let config = ImageAugment { crop, ..Default::default() };
        let (mut smallest, mut largest) = (f32::MAX, f32::MIN);
        let (mut first, mut last) = (f32::MAX, f32::MIN);
        for image in view(config, &places, KEY).chunks(512) {
            // In pixels of the image; the edge pixels may be interpolated with the zeros outside it.
            let at = |y: usize, x: usize, axis: usize| 15.0 * image[(y * 16 + x) * 2 + axis];
            let side = (at(14, 8, 0) - at(1, 8, 0)) / 13.0;
            assert!((side - (at(8, 14, 1) - at(8, 1, 1)) / 13.0).abs() < 1e-4);
            let top = at(7, 8, 0) - 7.5 * side;
            first = first.min(top);
            last = last.max(top + 16.0 * side);
            assert!(top > -0.501 && top + 16.0 * side < 15.501, "{top} {side}");
            smallest = smallest.min(side * side);
            largest = largest.max(side * side);
        }
        assert!((0.25..0.26).contains(&smallest) && (0.98..1.0).contains(&largest), "{smallest} {largest}");
        assert!(first < -0.3 && last > 15.3, "{first} {last}");
    }

    /// Random colours, one image of one pixel each.
    fn pixels() -> Samples {
        samples([1, 1, 3], 600, |i| (60 + i * 97 % 130) as u8)
    }

    fn luma(pixel: &[f32]) -> f32 {
        0.299 * pixel[0] + 0.587 * pixel[1] + 0.114 * pixel[2]
    }

    #[test]
    fn saturation_moves_colours_from_and_towards_the_grey_of_their_lightness() {
        let pixels = pixels();
        let config = ImageAugment { saturation: 0.4, ..Default::default() };
        let (mut lowest, mut highest) = (f32::MAX, f32::MIN);
        for (new, old) in view(config, &pixels, KEY).chunks(3).zip(pixels.scaled(0..600, 255).chunks(3)) {
            let grey = luma(old);
            assert!((luma(new) - grey).abs() < 1e-5);
            let factor = (new[0] - grey) / (old[0] - grey);
            if (old[0] - grey).abs() > 0.05 {
                assert!((new[1] - grey - factor * (old[1] - grey)).abs() < 1e-4);
                assert!((new[2] - grey - factor * (old[2] - grey)).abs() < 1e-4);
                (lowest, highest) = (lowest.min(factor), highest.max(factor));
            }
        }
        assert!((0.599..0.62).contains(&lowest) && (1.38..1.401).contains(&highest), "{lowest} {highest}");
    }

    #[test]
    fn hue_turns_colours_about_grey() {
        let pixels = pixels();
        let config = ImageAugment { hue: 30.0, ..Default::default() };
        let mut widest = 0_f32;
        for (new, old) in view(config, &pixels, KEY).chunks(3).zip(pixels.scaled(0..600, 255).chunks(3)) {
            let mean = |pixel: &[f32]| pixel.iter().sum::<f32>() / 3.0;
            let chroma = |pixel: &[f32]| [pixel[0], pixel[1], pixel[2]].map(|value| value - mean(pixel));
            let (a, b) = (chroma(old), chroma(new));
            assert!((mean(new) - mean(old)).abs() < 1e-5);
            assert!((dot(a, a) - dot(b, b)).abs() < 1e-4, "as strong as before");
            widest = widest.max((dot(a, b) / dot(a, a)).min(1.0).acos().to_degrees());
        }
        assert!((29.0..30.1).contains(&widest), "{widest}");
        // A third of a turn takes red to green.
        let third = Colours { saturation: 1.0, hue: 120_f32.to_radians(), grey: false }.matrix();
        let green = third.map(|row| dot(row, [1.0, 0.0, 0.0]));
        assert!(
            green.iter().zip([0.0, 1.0, 0.0]).all(|(found, expected)| (found - expected).abs() < 1e-6),
            "{green:?}"
        );
    }

    #[test]
    fn grey_takes_the_colour_of_as_many_images_as_asked() {
        let pixels = pixels();
        let config = ImageAugment { grey: 0.2, saturation: 0.5, ..Default::default() };
        let grey: Vec<usize> = view(config, &pixels, KEY)
            .chunks(3)
            .enumerate()
            .filter(|(_, pixel)| pixel[0] == pixel[1] && pixel[1] == pixel[2])
            .map(|(i, pixel)| {
                assert!((pixel[0] - luma(&pixels.scaled(i..i + 1, 255))).abs() < 1e-6);
                i
            })
            .collect();
        // Binomial: 120 expected, standard deviation 10.
        assert!((80..160).contains(&grey.len()), "{}", grey.len());
    }

    #[test]
    fn grey_images_have_no_colours_to_change() {
        for key in ["saturation", "hue", "grey"] {
            let config: ImageAugment = toml::from_str(&format!("{key} = 0.1")).unwrap();
            let message = ImageAugmenter::new(&config, "augment.first", [8, 8, 1], 255).unwrap_err().to_string();
            assert!(message.starts_with(&format!("augment.first.{key}: the images have no colours: ")), "{message}");
            assert!(ImageAugmenter::new(&config, "augment.first", [8, 8, 3], 255).is_ok());
        }
    }

    #[test]
    fn one_setting_leaves_what_the_others_do_unchanged() {
        let samples = ramp([8, 8, 1], 20);
        let shifted = ImageAugment { shift: 2.0, ..Default::default() };
        let poses = |config: &ImageAugment| {
            let augmenter = ImageAugmenter::new(config, "", samples.shape, 255).unwrap();
            (0..20).map(move |i| augmenter.draw(&mut KEY.sample_rng(i)).pose.shift).collect::<Vec<_>>()
        };
        let everything = ImageAugment { shift: 2.0, ..everything() };
        assert_eq!(poses(&shifted), poses(&everything));
    }

    #[test]
    fn settings_out_of_range_are_refused_by_name() {
        let out_of_range = |settings: &str| {
            let config: ImageAugment = toml::from_str(settings).unwrap();
            let error = ImageAugmenter::new(&config, "augment.second", [8, 6, 1], 16);
            let message = error.expect_err(settings).to_string();
            let key = settings.split(' ').next().unwrap();
            assert!(message.starts_with(&format!("augment.second.{key}: out of range: ")), "{message}");
        };
        for key in [
            "scale",
            "shear",
            "rotate",
            "shift",
            "crop",
            "elastic",
            "contrast",
            "brightness",
            "saturation",
            "hue",
            "grey",
            "noise",
            "erase",
            "erase_size",
        ] {
            out_of_range(&format!("{key} = -0.1"));
            out_of_range(&format!("{key} = nan"));
            out_of_range(&format!("{key} = inf"));
        }
        for setting in [
            "scale = 1.1",
            "shear = 1.1",
            "rotate = 181",
            "shift = 8.1",
            "crop = 1.0",
            "elastic = 9",
            "elastic_grid = 3",
            "elastic_grid = 65",
            "contrast = 1.1",
            "brightness = 1.1",
            "saturation = 1.1",
            "hue = 181",
            "grey = 1.1",
            "noise = 1.1",
            "erase = 1.1",
            "erase_size = 1.1",
        ] {
            out_of_range(setting);
        }
    }
}
