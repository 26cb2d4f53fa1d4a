//! Samples as pictures: PNG inside the page.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{Markup, html};

use super::{Gallery, ReportInput};
use crate::data::Samples;
use crate::error::{Error, Result};

/// What samples can be shown as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A picture.
    Picture,
    /// Values over time.
    Series,
    /// A place in the plane.
    Point,
    /// So many values, which make no picture.
    List {
        /// Their number.
        values: usize,
    },
}

impl Form {
    /// Of samples of this shape.
    pub fn of(shape: [usize; 3]) -> Self {
        match shape {
            [1, 1, 2] => Self::Point,
            [1, 1, values] => Self::List { values },
            [_, 1, _] => Self::Series,
            _ => Self::Picture,
        }
    }
}

/// A sample for the page, framed where something is wrong with it.
///
/// # Errors
/// As for [`data_uri`].
pub fn image(input: &ReportInput, gallery: &Gallery, sample: usize, wrong: bool) -> Result<Markup> {
    let label = gallery.labels.map_or(String::new(), |labels| format!(", label {}", labels[sample]));
    let what = format!("sample {sample}{label}");
    let picture = data_uri(gallery.samples, sample, input.raw_max)?;
    let series = Form::of(gallery.samples.shape) == Form::Series;
    Ok(html! { img.wrong[wrong].series[series] src=(picture) alt=(what) title=(what); })
}

/// Sample `index` as a data URI, one pixel a value and `raw_max` as white. Pictures are in colour with three channels, in grey with
/// one; any other number of channels gives grey pictures one under the other. Of a series, time runs to the right, a row for each
/// channel.
///
/// # Errors
/// A sample too large for PNG (2^31 pixels a side).
pub fn data_uri(samples: &Samples, index: usize, raw_max: u8) -> Result<String> {
    let [height, width, channels] = samples.shape;
    let full = |value: u8| (u32::from(value) * 255 / u32::from(raw_max.max(1))).min(255) as u8;
    let bright: Vec<u8> = samples.sample(index).iter().map(|&value| full(value)).collect();
    let planes = || -> Vec<u8> {
        (0..channels).flat_map(|channel| bright.iter().skip(channel).step_by(channels)).copied().collect()
    };
    let png = match Form::of(samples.shape) {
        Form::Series => png(height, channels, png::ColorType::Grayscale, &planes()),
        _ if channels == 3 => png(width, height, png::ColorType::Rgb, &bright),
        _ => png(width, height * channels, png::ColorType::Grayscale, &planes()),
    };
    let png = png.map_err(|error| Error::Check(format!("sample {index} as a picture: {error}")))?;
    Ok(format!("data:image/png;base64,{}", STANDARD.encode(png)))
}

fn png(
    width: usize,
    height: usize,
    color: png::ColorType,
    values: &[u8],
) -> std::result::Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let side = |side: usize| u32::try_from(side).map_err(|_| png::EncodingError::LimitsExceeded);
    let mut encoder = png::Encoder::new(&mut bytes, side(width)?, side(height)?);
    encoder.set_color(color);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::High);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(values)?;
    writer.finish()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(uri: &str) -> (u32, u32, png::ColorType, Vec<u8>) {
        let bytes = STANDARD.decode(uri.strip_prefix("data:image/png;base64,").unwrap()).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let mut values = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut values).unwrap();
        values.truncate(info.buffer_size());
        (info.width, info.height, info.color_type, values)
    }

    #[test]
    fn one_channel_is_grey_from_black_to_full_scale() {
        let samples = Samples { shape: [2, 3, 1], raw: [[0; 6], [0, 4, 8, 16, 16, 200]].concat() };
        let (width, height, color, values) = decoded(&data_uri(&samples, 1, 16).unwrap());
        assert_eq!((width, height, color), (3, 2, png::ColorType::Grayscale));
        assert_eq!(values, [0, 63, 127, 255, 255, 255]);
    }

    #[test]
    fn three_channels_are_colours() {
        let samples = Samples { shape: [1, 2, 3], raw: vec![1, 2, 3, 4, 5, 6] };
        let expected = (2, 1, png::ColorType::Rgb, vec![1, 2, 3, 4, 5, 6]);
        assert_eq!(decoded(&data_uri(&samples, 0, 255).unwrap()), expected);
    }

    #[test]
    fn time_runs_to_the_right() {
        let samples = Samples { shape: [2, 1, 3], raw: vec![1, 2, 3, 4, 5, 6] };
        let expected = (2, 3, png::ColorType::Grayscale, vec![1, 4, 2, 5, 3, 6]);
        assert_eq!(decoded(&data_uri(&samples, 0, 255).unwrap()), expected);
    }

    #[test]
    fn other_channels_lie_one_under_the_other() {
        let samples = Samples { shape: [1, 3, 2], raw: vec![1, 10, 2, 20, 3, 30] };
        let expected = (3, 2, png::ColorType::Grayscale, vec![1, 2, 3, 10, 20, 30]);
        assert_eq!(decoded(&data_uri(&samples, 0, 255).unwrap()), expected);
    }
}
