//! Where each pixel of a perturbed image comes from: an affine map about the centre plus a smooth random field, in one
//! resampling.
//!
//! Positions are in pixels, y down and x to the right; the centre of the first pixel is (0, 0).

use rand::{Rng, RngExt};
use rand_distr::StandardNormal;

/// What an image undergoes as a whole, in this order: mirrored left to right, scaled, sheared and turned about its
/// centre, then shifted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pose {
    pub flip: bool,
    /// Factor on both axes, above 0.
    pub scale: f32,
    /// Pixels to the right for each pixel down.
    pub shear: f32,
    /// Radians, clockwise as seen.
    pub rotate: f32,
    /// Pixels down, pixels to the right.
    pub shift: [f32; 2],
}

impl Pose {
    /// Leaves an image as it is.
    pub const IDENTITY: Self = Self { flip: false, scale: 1.0, shear: 0.0, rotate: 0.0, shift: [0.0, 0.0] };

    /// The inverse of the linear part: rows for the source's y and x, columns for the target's y and x.
    fn inverse(&self) -> [[f32; 2]; 2] {
        let (sin, cos) = self.rotate.sin_cos();
        let mirror = if self.flip { -1.0 } else { 1.0 };
        [
            [cos / self.scale, -sin / self.scale],
            [mirror * (sin - self.shear * cos) / self.scale, mirror * (cos + self.shear * sin) / self.scale],
        ]
    }
}

/// A smooth random displacement: a uniform cubic B-spline over a grid of normally distributed control points that
/// covers the image.
///
/// (Elastic distortion as in Simard, Steinkraus, Platt, "Best practices for convolutional neural networks", 2003, with
/// a spline where they blur a dense field: the same smoothness for a fraction of the work.)
#[derive(Debug, Clone)]
pub struct ElasticField {
    /// Pixels, per axis: the spread of the displacement, averaged over the image.
    strength: f32,
    points: usize,
    rows: Vec<Basis>,
    columns: Vec<Basis>,
}

/// The four control points that act on a position of one axis: the first of them, and their weights.
#[derive(Debug, Clone, Copy)]
struct Basis {
    first: usize,
    weights: [f32; 4],
}

impl ElasticField {
    /// The fewest control points on an axis.
    pub const MIN_POINTS: usize = 4;

    /// The mean of a cubic B-spline's squared weights, per axis: control points of variance 1 give displacements of
    /// this variance squared.
    const MEAN_SQUARE: f32 = 151.0 / 315.0;

    /// A field of the given strength in pixels, with `points` control points an axis, at least
    /// [`MIN_POINTS`](Self::MIN_POINTS).
    pub fn new(strength: f32, points: usize, height: usize, width: usize) -> Self {
        Self { strength, points, rows: axis(height, points), columns: axis(width, points) }
    }

    /// Draws a field: for every row of control points, the displacements in y, then in x, already interpolated along
    /// the columns of the image.
    fn draw(&self, rng: &mut impl Rng, controls: &mut Vec<f32>) {
        let amplitude = self.strength / Self::MEAN_SQUARE;
        controls.clear();
        let mut line = vec![0.0; self.points];
        for _ in 0..2 * self.points {
            line.fill_with(|| amplitude * rng.sample::<f32, _>(StandardNormal));
            controls.extend(self.columns.iter().map(|basis| {
                let near = &line[basis.first..basis.first + 4];
                near.iter().zip(basis.weights).map(|(point, weight)| point * weight).sum::<f32>()
            }));
        }
    }

    /// Adds the displacements of row `y` to the positions `from_y` and `from_x` of its pixels.
    fn add_row(&self, controls: &[f32], y: usize, from_y: &mut [f32], from_x: &mut [f32]) {
        let width = self.columns.len();
        let basis = self.rows[y];
        for (k, weight) in basis.weights.into_iter().enumerate() {
            let start = (basis.first + k) * 2 * width;
            let (in_y, in_x) = controls[start..start + 2 * width].split_at(width);
            for (position, displacement) in from_y.iter_mut().zip(in_y) {
                *position += weight * displacement;
            }
            for (position, displacement) in from_x.iter_mut().zip(in_x) {
                *position += weight * displacement;
            }
        }
    }
}

/// The spline's basis at each of `length` pixels spread evenly over the cells between `points` control points.
fn axis(length: usize, points: usize) -> Vec<Basis> {
    let cells = (points - 3) as f32;
    (0..length)
        .map(|i| {
            let position = cells * i as f32 / (length.max(2) - 1) as f32;
            let first = (position as usize).min(points - 4);
            let t = position - first as f32;
            let s = 1.0 - t;
            let weights = [
                s * s * s / 6.0,
                (3.0 * t * t * t - 6.0 * t * t + 4.0) / 6.0,
                (3.0 * s * s * s - 6.0 * s * s + 4.0) / 6.0,
                t * t * t / 6.0,
            ];
            Basis { first, weights }
        })
        .collect()
}

/// Buffers of the warp, kept from one image to the next.
#[derive(Debug, Default)]
pub struct Scratch {
    /// The image with a border of zeros: one pixel before it, two after it.
    padded: Vec<f32>,
    controls: Vec<f32>,
    from_y: Vec<f32>,
    from_x: Vec<f32>,
}

/// Resamples an image of `shape` (height, width, channels) under `pose` and, where there is one, a random field.
/// Positions between pixels are interpolated bilinearly; outside the image all is zero.
pub fn warp(
    image: impl Iterator<Item = f32>,
    [height, width, channels]: [usize; 3],
    pose: &Pose,
    field: Option<(&ElasticField, &mut impl Rng)>,
    scratch: &mut Scratch,
    out: &mut [f32],
) {
    let Scratch { padded, controls, from_y, from_x } = scratch;
    let stride = (width + 3) * channels;
    pad(image, [height, width, channels], padded);
    let field = field.map(|(field, rng)| {
        field.draw(rng, controls);
        field
    });

    let [[y_of_y, y_of_x], [x_of_y, x_of_x]] = pose.inverse();
    let centre = [(height - 1) as f32 / 2.0, (width - 1) as f32 / 2.0];
    let start = [centre[0] + pose.shift[0], centre[1] + pose.shift[1]];
    from_y.resize(width, 0.0);
    from_x.resize(width, 0.0);
    for (y, out) in out.chunks_exact_mut(width * channels).enumerate() {
        let dy = y as f32 - start[0];
        for (x, (from_y, from_x)) in from_y.iter_mut().zip(from_x.iter_mut()).enumerate() {
            let dx = x as f32 - start[1];
            *from_y = centre[0] + (y_of_y * dy + y_of_x * dx);
            *from_x = centre[1] + (x_of_y * dy + x_of_x * dx);
        }
        if let Some(field) = field {
            field.add_row(controls, y, from_y, from_x);
        }
        // To the padded image's positions, none further out than its border of zeros.
        for position in from_y.iter_mut() {
            *position = (*position + 1.0).clamp(0.0, (height + 1) as f32);
        }
        for position in from_x.iter_mut() {
            *position = (*position + 1.0).clamp(0.0, (width + 1) as f32);
        }
        // Most images are grey, and for these the compiler makes faster code when it knows.
        if channels == 1 {
            sample_row(padded, stride, 1, from_y, from_x, out);
        } else {
            sample_row(padded, stride, channels, from_y, from_x, out);
        }
    }
}

/// Interpolates the padded image bilinearly at the positions of one row of pixels.
#[inline(always)]
fn sample_row(padded: &[f32], stride: usize, channels: usize, from_y: &[f32], from_x: &[f32], out: &mut [f32]) {
    for ((out, &y), &x) in out.chunks_exact_mut(channels).zip(from_y).zip(from_x) {
        let (row, column) = (y as i32, x as i32);
        let (down, right) = (y - row as f32, x - column as f32);
        let here = row as usize * stride + column as usize * channels;
        let above = &padded[here..][..2 * channels];
        let below = &padded[here + stride..][..2 * channels];
        for (channel, out) in out.iter_mut().enumerate() {
            let top = above[channel] + right * (above[channel + channels] - above[channel]);
            let bottom = below[channel] + right * (below[channel + channels] - below[channel]);
            *out = top + down * (bottom - top);
        }
    }
}

fn pad(mut image: impl Iterator<Item = f32>, [height, width, channels]: [usize; 3], padded: &mut Vec<f32>) {
    let stride = (width + 3) * channels;
    padded.clear();
    padded.resize((height + 3) * stride, 0.0);
    for row in padded.chunks_exact_mut(stride).skip(1).take(height) {
        for (value, source) in row[channels..(width + 1) * channels].iter_mut().zip(&mut image) {
            *value = source;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::Xoshiro256PlusPlus;

    type Shape = [usize; 3];

    fn random_image(shape: Shape, seed: u64) -> Vec<f32> {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        (0..shape.iter().product()).map(|_| rng.random()).collect()
    }

    fn posed(image: &[f32], shape: Shape, pose: &Pose) -> Vec<f32> {
        let mut out = vec![f32::NAN; image.len()];
        let none = None::<(&ElasticField, &mut Xoshiro256PlusPlus)>;
        warp(image.iter().copied(), shape, pose, none, &mut Scratch::default(), &mut out);
        out
    }

    fn at(image: &[f32], [height, width, channels]: Shape, y: i64, x: i64, channel: usize) -> f64 {
        let inside = (0..height as i64).contains(&y) && (0..width as i64).contains(&x);
        if inside { f64::from(image[(y as usize * width + x as usize) * channels + channel]) } else { 0.0 }
    }

    /// Bilinear interpolation from its definition: a tent of one pixel around every pixel.
    fn tent(image: &[f32], shape: Shape, y: f64, x: f64, channel: usize) -> f64 {
        let mut sum = 0.0;
        for row in -2..shape[0] as i64 + 2 {
            for column in -2..shape[1] as i64 + 2 {
                let weight = (1.0 - (y - row as f64).abs()).max(0.0) * (1.0 - (x - column as f64).abs()).max(0.0);
                sum += weight * at(image, shape, row, column, channel);
            }
        }
        sum
    }

    /// Where the pose moves the point (y, x), one step after the other.
    fn forward(pose: &Pose, shape: Shape, y: f64, x: f64) -> [f64; 2] {
        let centre = [(shape[0] as f64 - 1.0) / 2.0, (shape[1] as f64 - 1.0) / 2.0];
        let (mut y, mut x) = (y - centre[0], x - centre[1]);
        if pose.flip {
            x = -x;
        }
        (y, x) = (y * f64::from(pose.scale), x * f64::from(pose.scale));
        x += f64::from(pose.shear) * y;
        let (sin, cos) = f64::from(pose.rotate).sin_cos();
        (y, x) = (sin * x + cos * y, cos * x - sin * y);
        [y + centre[0] + f64::from(pose.shift[0]), x + centre[1] + f64::from(pose.shift[1])]
    }

    #[test]
    fn every_pixel_comes_from_where_the_pose_moves_it() {
        let pose = Pose { flip: true, scale: 1.2, shear: 0.3, rotate: 0.7, shift: [1.3, -0.6] };
        for shape in [[7, 9, 1], [6, 5, 3]] {
            let image = random_image(shape, 1);
            let out = posed(&image, shape, &pose);
            // The forward map is affine: three points determine its inverse.
            let origin = forward(&pose, shape, 0.0, 0.0);
            let down = forward(&pose, shape, 1.0, 0.0);
            let right = forward(&pose, shape, 0.0, 1.0);
            let [a, c] = [down[0] - origin[0], down[1] - origin[1]];
            let [b, d] = [right[0] - origin[0], right[1] - origin[1]];
            let determinant = a * d - b * c;
            for y in 0..shape[0] {
                for x in 0..shape[1] {
                    let [dy, dx] = [y as f64 - origin[0], x as f64 - origin[1]];
                    let from_y = (d * dy - b * dx) / determinant;
                    let from_x = (a * dx - c * dy) / determinant;
                    for channel in 0..shape[2] {
                        let expected = tent(&image, shape, from_y, from_x, channel);
                        let found = f64::from(out[(y * shape[1] + x) * shape[2] + channel]);
                        assert!((expected - found).abs() < 1e-5, "{y},{x}: {expected} {found}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_identity_changes_no_bit() {
        for shape in [[8, 8, 1], [5, 7, 3], [1, 1, 1], [1, 9, 2]] {
            let image = random_image(shape, 2);
            assert_eq!(posed(&image, shape, &Pose::IDENTITY), image);
        }
    }

    #[test]
    fn a_shift_by_whole_pixels_moves_the_image_exactly() {
        let shape = [6, 9, 2];
        let image = random_image(shape, 3);
        for [down, right] in [[1, 0], [0, -2], [3, 4], [-6, 0], [40, -40]] {
            let pose = Pose { shift: [down as f32, right as f32], ..Pose::IDENTITY };
            let out = posed(&image, shape, &pose);
            for y in 0..6 {
                for x in 0..9 {
                    for channel in 0..2 {
                        let expected = at(&image, shape, y - down, x - right, channel);
                        assert_eq!(at(&out, shape, y, x, channel), expected);
                    }
                }
            }
        }
    }

    #[test]
    fn a_flip_mirrors_exactly() {
        let shape = [3, 4, 1];
        let image = random_image(shape, 4);
        let out = posed(&image, shape, &Pose { flip: true, ..Pose::IDENTITY });
        for (row, mirrored) in image.chunks(4).zip(out.chunks(4)) {
            assert!(row.iter().eq(mirrored.iter().rev()));
        }
    }

    #[test]
    fn a_quarter_turn_is_clockwise() {
        let shape = [5, 5, 1];
        let image = random_image(shape, 5);
        let quarter = Pose { rotate: std::f32::consts::FRAC_PI_2, ..Pose::IDENTITY };
        let out = posed(&image, shape, &quarter);
        for y in 0..5 {
            for x in 0..5 {
                let expected = at(&image, shape, 4 - x, y, 0);
                assert!((at(&out, shape, y, x, 0) - expected).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn the_field_is_a_cubic_b_spline_of_its_control_points() {
        /// The cardinal cubic B-spline.
        fn spline(distance: f64) -> f64 {
            let x = distance.abs();
            if x < 1.0 { 2.0 / 3.0 - x * x + x * x * x / 2.0 } else { (2.0 - x).max(0.0).powi(3) / 6.0 }
        }
        let (height, width, points, strength) = (11, 8, 6, 1.7);
        let field = ElasticField::new(strength, points, height, width);
        let mut controls = Vec::new();
        field.draw(&mut Xoshiro256PlusPlus::seed_from_u64(6), &mut controls);

        let mut rng = Xoshiro256PlusPlus::seed_from_u64(6);
        let mut drawn = || -> f64 { rng.sample(StandardNormal) };
        // A row of points in y, the same row in x, the next row in y...
        let grid: Vec<f64> = (0..2 * points * points).map(|_| drawn()).collect();
        for y in 0..height {
            let (mut found_y, mut found_x) = (vec![10.0; width], vec![20.0; width]);
            field.add_row(&controls, y, &mut found_y, &mut found_x);
            for x in 0..width {
                let v = 3.0 * y as f64 / (height as f64 - 1.0);
                let u = 3.0 * x as f64 / (width as f64 - 1.0);
                let mut expected = [10.0, 20.0];
                for row in 0..points {
                    for (axis, expected) in expected.iter_mut().enumerate() {
                        for column in 0..points {
                            // The first point lies one cell before the image.
                            let weight = spline(v + 1.0 - row as f64) * spline(u + 1.0 - column as f64);
                            let point = grid[(2 * row + axis) * points + column];
                            *expected += weight * point * f64::from(strength) / (151.0 / 315.0);
                        }
                    }
                }
                assert!((expected[0] - f64::from(found_y[x])).abs() < 1e-4);
                assert!((expected[1] - f64::from(found_x[x])).abs() < 1e-4);
            }
        }
    }

    #[test]
    fn the_field_displaces_by_its_strength() {
        let (height, width, strength) = (28, 28, 1.5);
        let field = ElasticField::new(strength, 7, height, width);
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(7);
        let mut controls = Vec::new();
        let mut squares = 0.0;
        let draws = 400;
        for _ in 0..draws {
            field.draw(&mut rng, &mut controls);
            for y in 0..height {
                let (mut in_y, mut in_x) = ([0.0; 28], [0.0; 28]);
                field.add_row(&controls, y, &mut in_y, &mut in_x);
                squares += in_y.iter().chain(&in_x).map(|d| f64::from(d * d)).sum::<f64>();
            }
        }
        let spread = (squares / (draws * height * width * 2) as f64).sqrt();
        assert!((spread / f64::from(strength) - 1.0).abs() < 0.03, "{spread}");
    }

    #[test]
    fn the_field_moves_the_image() {
        let shape = [8, 8, 1];
        let image = random_image(shape, 8);
        let field = ElasticField::new(1.0, 4, 8, 8);
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(9);
        let mut out = vec![f32::NAN; 64];
        let mut scratch = Scratch::default();
        let elastic = Some((&field, &mut rng));
        warp(image.iter().copied(), shape, &Pose::IDENTITY, elastic, &mut scratch, &mut out);
        for y in 0..8 {
            let (mut from_y, mut from_x) = ([y as f32; 8], std::array::from_fn(|x| x as f32));
            let _: &[f32; 8] = &from_x;
            field.add_row(&scratch.controls, y, &mut from_y, &mut from_x);
            for x in 0..8 {
                let expected = tent(&image, shape, from_y[x].into(), from_x[x].into(), 0);
                assert!((expected - f64::from(out[y * 8 + x])).abs() < 1e-5);
            }
        }
    }
}
