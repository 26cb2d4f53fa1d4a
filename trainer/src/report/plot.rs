//! Charts: lines, dots, bars and bands over two axes, as a figure with title, legend and caption.
//!
//! The drawing is SVG inside the page. Colours stand in it as in light mode; `style.css` replaces those that would be
//! lost on a dark page.

use std::ops::Range;

use maud::{Markup, PreEscaped, html};
use plotters::coord::ranged1d::{BoldPoints, DefaultFormatting, KeyPointHint};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use crate::error::{Error, Result};

/// A colour of a curve: mid-tones, which can be told from a white page and from a dark one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ink(u8, u8, u8);

impl Ink {
    /// The page's accent: the blob.
    pub const INT8: Self = Self(0x2f, 0x6f, 0xed);
    /// The float network.
    pub const FLOAT: Self = Self(0x13, 0xa3, 0xb3);
    /// Principal components, and their signs.
    pub const PCA: Self = Self(0xe0, 0x79, 0x2b);
    /// Iterative quantisation.
    pub const ITQ: Self = Self(0x3d, 0x9a, 0x50);
    /// Random dimensions.
    pub const RANDOM: Self = Self(0x8a, 0x63, 0xd2);
    /// The input itself.
    pub const RAW: Self = Self(0x80, 0x87, 0x91);
    /// A network before training.
    pub const UNTRAINED: Self = Self(0xc0, 0x56, 0x7a);

    /// Classes, in this order.
    pub const CLASSES: [Self; 10] = [
        Self(0x4e, 0x79, 0xa7),
        Self(0xf2, 0x8e, 0x2b),
        Self(0xe1, 0x57, 0x59),
        Self(0x3f, 0xad, 0xa8),
        Self(0x59, 0xa1, 0x4f),
        Self(0xd4, 0xa7, 0x2c),
        Self(0xb0, 0x7a, 0xa1),
        Self(0xf0, 0x82, 0xa6),
        Self(0x9c, 0x75, 0x5f),
        Self(0x8a, 0x8f, 0x98),
    ];

    fn rgb(self) -> RGBColor {
        RGBColor(self.0, self.1, self.2)
    }

    /// From blue at -1 over grey at 0 to orange at 1, which the colour-blind can tell apart, too.
    pub fn diverging(value: f64) -> Self {
        let (low, middle, high) = (Self(0x1f, 0x6a, 0xe0), Self(0xa6, 0xab, 0xb3), Self(0xe8, 0x6a, 0x10));
        let end = if value < 0.0 { low } else { high };
        let mix = |from: u8, to: u8| {
            (f64::from(from) + value.abs().min(1.0) * (f64::from(to) - f64::from(from))).round() as u8
        };
        Self(mix(middle.0, end.0), mix(middle.1, end.1), mix(middle.2, end.2))
    }

    /// As style sheets write it.
    pub fn css(self) -> String {
        format!("#{:02x}{:02x}{:02x}", self.0, self.1, self.2)
    }
}

/// How points are drawn.
#[derive(Clone, Debug, PartialEq)]
pub enum Mark {
    /// Joined.
    Line,
    /// Joined by a broken line.
    Dashes,
    /// Joined by a broad, pale line, which stays in sight under another one.
    Broad,
    /// Joined, with this much more and less on either side of each point.
    Band(Vec<f64>),
    /// One dot each.
    Dots,
    /// A thin, pale line from each point of even number to the next.
    Segments,
    /// A bar from 0 each, one unit of the horizontal axis apart.
    Bars,
}

/// Points of one kind, with their name in the legend.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Its name.
    pub name: String,
    /// Its colour.
    pub ink: Ink,
    /// Its form.
    pub mark: Mark,
    /// Horizontal and vertical value of each point; those that are not finite are left out.
    pub points: Vec<(f64, f64)>,
}

/// The horizontal axis's scale; the vertical one is always linear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Equal steps.
    Linear,
    /// Equal factors, with a tick at each power of two; values must be above 0.
    Doubling,
}

/// A chart with what is written around it.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// What is drawn, with the vertical quantity's name.
    pub title: String,
    /// The horizontal quantity's name.
    pub x_label: String,
    /// The horizontal scale.
    pub scale: Scale,
    /// Width and height in pixels at full size.
    pub size: (u32, u32),
    /// What is drawn, the foremost first.
    pub layers: Vec<Layer>,
    /// What it shows and what good looks like; empty, where a text beside it says so.
    pub caption: String,
}

/// The usual size: two stand side by side on a wide page.
pub const HALF: (u32, u32) = (540, 310);

/// The size of a scatter plot.
pub const SQUARE: (u32, u32) = (540, 460);

/// The size of one of three side by side.
pub const THIRD: (u32, u32) = (360, 290);

impl Chart {
    /// The figure for the page; one line instead of the drawing, where there are no points.
    ///
    /// # Errors
    /// None, unless the drawing library fails.
    pub fn figure(&self) -> Result<Markup> {
        let legend: Vec<&Layer> = self.layers.iter().filter(|layer| !layer.name.is_empty()).collect();
        let drawing = match Window::around(self) {
            Some(window) => html! { div.plot role="img" aria-label=(self.title) { (PreEscaped(self.svg(&window)?)) } },
            None => html! { p.none { "There is nothing to draw." } },
        };
        Ok(html! {
            figure {
                h3 { (self.title) }
                @if !legend.is_empty() {
                    p.legend {
                        @for layer in legend { span { i style=(swatch(layer)) {} (layer.name) } " " }
                    }
                }
                (drawing)
                @if !self.caption.is_empty() { figcaption { (self.caption) } }
            }
        })
    }

    fn svg(&self, window: &Window) -> Result<String> {
        let mut svg = String::new();
        let strokes = self.draw(window, &mut svg).map_err(|error| Error::Check(format!("{}: {error}", self.title)))?;
        let end = svg.rfind("</svg>").unwrap_or(svg.len());
        svg.insert_str(end, &strokes);
        Ok(svg)
    }

    /// Draws everything but dots and segments, and gives these: as elements of their own they would make most of the page.
    fn draw(&self, window: &Window, svg: &mut String) -> std::result::Result<String, Box<dyn std::error::Error>> {
        let root = SVGBackend::with_string(svg, (self.size.0 * FINE, self.size.1 * FINE)).into_drawing_area();
        let (x_ticks, y_ticks) = (self.x_ticks(window), ticks(&window.y, 6));
        let (x_decimals, y_decimals) = (decimals(&x_ticks), decimals(&y_ticks));
        let mut chart = ChartBuilder::on(&root)
            .margin_top(8 * FINE)
            .margin_right(14 * FINE)
            .x_label_area_size(if self.x_label.is_empty() { 28 } else { 48 } * FINE)
            .y_label_area_size(48 * FINE)
            .build_cartesian_2d(Axis::new(&window.x, x_ticks), Axis::new(&window.y, y_ticks))?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(ShapeStyle::from(&GRID).stroke_width(FINE))
            .axis_style(ShapeStyle::from(&GRID).stroke_width(FINE))
            .label_style(("sans-serif", 16 * FINE).into_font().color(&TEXT))
            .set_all_tick_mark_size(4 * FINE)
            .x_desc(&self.x_label)
            .x_label_formatter(&|&x| match self.scale {
                Scale::Linear => format!("{x:.x_decimals$}"),
                Scale::Doubling => format!("{:.0}", x.exp2()),
            })
            .y_label_formatter(&|y| format!("{y:.y_decimals$}"))
            .draw()?;
        let mut strokes = String::new();
        for layer in self.layers.iter().rev() {
            let points: Vec<(f64, f64)> = self.placed(layer).map(|(x, y, _)| (x, y)).collect();
            let ink = layer.ink.rgb();
            let line = ShapeStyle::from(&ink).stroke_width(2 * FINE);
            match layer.mark {
                Mark::Line | Mark::Band(_) => {
                    let upper = self.placed(layer).map(|(x, y, spread)| (x, y + spread));
                    let lower = self.placed(layer).map(|(x, y, spread)| (x, y - spread));
                    let outline: Vec<(f64, f64)> = upper.chain(lower.collect::<Vec<_>>().into_iter().rev()).collect();
                    if let Mark::Band(_) = layer.mark {
                        chart.draw_series([Polygon::new(outline, ink.mix(0.2))])?;
                    }
                    // Dots say where a curve was measured; on a long one they would only thicken it.
                    let dots = if points.len() <= FEW { &points[..] } else { &[] };
                    chart.draw_series(dots.iter().map(|&at| Circle::new(at, 3 * FINE, ink.filled())))?;
                    chart.draw_series(LineSeries::new(points, line))?;
                }
                Mark::Dashes => {
                    chart.draw_series(DashedLineSeries::new(points, 6 * FINE, 4 * FINE, line))?;
                }
                Mark::Broad => {
                    let line = ShapeStyle::from(&ink.mix(BROAD_OPACITY)).stroke_width(8 * FINE);
                    if let [alone] = points[..] {
                        chart.draw_series([Circle::new(alone, 6 * FINE, ink.mix(BROAD_OPACITY).filled())])?;
                    }
                    chart.draw_series(LineSeries::new(points, line))?;
                }
                Mark::Dots => {
                    let dot = |at: &(f64, f64)| {
                        let (x, y) = chart.backend_coord(at);
                        format!("M{x} {y}h0")
                    };
                    let path: String = points.iter().map(dot).collect();
                    strokes += &stroke(&path, layer.ink, 5 * FINE, 0.75);
                }
                Mark::Segments => {
                    let segment = |ends: &[(f64, f64)]| {
                        let [(a, b), (c, d)] = [ends[0], ends[1]].map(|at| chart.backend_coord(&at));
                        format!("M{a} {b}L{c} {d}")
                    };
                    let path: String = points.chunks_exact(2).map(segment).collect();
                    strokes += &stroke(&path, layer.ink, FINE, 0.45);
                }
                Mark::Bars => {
                    let bar = |(x, y)| Rectangle::new([(x - 0.35, 0.0), (x + 0.35, y)], ink.filled());
                    chart.draw_series(points.into_iter().map(bar))?;
                }
            }
        }
        root.present()?;
        Ok(strokes)
    }

    /// The finite points of a layer in the chart's coordinates, each with its spread.
    fn placed<'a>(&self, layer: &'a Layer) -> impl Iterator<Item = (f64, f64, f64)> + 'a {
        let scale = self.scale;
        let spreads = match &layer.mark {
            Mark::Band(spreads) => &spreads[..],
            _ => &[],
        };
        let spreads = spreads.iter().copied().chain(std::iter::repeat(0.0));
        let place = move |(&(x, y), spread): (&(f64, f64), f64)| match scale {
            Scale::Linear => (x, y, spread),
            Scale::Doubling => (x.log2(), y, spread),
        };
        let finite = |point: &(f64, f64, f64)| point.0.is_finite() && point.1.is_finite() && point.2.is_finite();
        layer.points.iter().zip(spreads).map(place).filter(finite)
    }

    fn x_ticks(&self, window: &Window) -> Vec<f64> {
        match self.scale {
            Scale::Linear => ticks(&window.x, self.size.0 as usize / 64),
            Scale::Doubling => (0..64).map(f64::from).filter(|x| window.x.contains(x)).collect(),
        }
    }
}

/// A path that is drawn along its lines; one without length is a dot. Nothing, where it is empty.
fn stroke(path: &str, ink: Ink, width: u32, opacity: f64) -> String {
    if path.is_empty() {
        return String::new();
    }
    let ink = ink.css();
    format!(
        "<path d=\"{path}\" fill=\"none\" stroke=\"{ink}\" stroke-opacity=\"{opacity}\" stroke-width=\"{width}\" \
         stroke-linecap=\"round\"/>\n"
    )
}

/// Coordinates for each pixel: the library draws at whole ones only.
const FINE: u32 = 4;

/// How much of its colour a broad line has.
const BROAD_OPACITY: f64 = 0.4;

/// The most points that are drawn as dots on their line.
const FEW: usize = 16;

/// Lines behind the curves; `style.css` knows it.
const GRID: RGBColor = RGBColor(0xd9, 0xdd, 0xe3);

/// Numbers at the axes; `style.css` knows it.
const TEXT: RGBColor = RGBColor(0x57, 0x60, 0x6a);

/// The values that the axes span.
struct Window {
    x: Range<f64>,
    y: Range<f64>,
}

impl Window {
    /// Room for all points of a chart; none, where there are none.
    fn around(chart: &Chart) -> Option<Self> {
        let (mut xs, mut ys) = (Vec::new(), Vec::new());
        for layer in &chart.layers {
            let bars = layer.mark == Mark::Bars;
            for (x, y, spread) in chart.placed(layer) {
                xs.extend(if bars { [x - 0.5, x + 0.5] } else { [x, x] });
                ys.extend([y - spread, y + spread]);
                ys.extend(bars.then_some(0.0));
            }
        }
        Some(Self { x: span(&xs, 0.03)?, y: span(&ys, 0.06)? })
    }
}

/// A linear axis with ticks of our choice.
struct Axis {
    coordinates: RangedCoordf64,
    ticks: Vec<f64>,
}

impl Axis {
    fn new(range: &Range<f64>, ticks: Vec<f64>) -> Self {
        Self { coordinates: range.clone().into(), ticks }
    }
}

impl Ranged for Axis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        self.coordinates.map(value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.coordinates.range()
    }
}

/// From the least to the greatest value, and this share of the width more on either side.
fn span(values: &[f64], margin: f64) -> Option<Range<f64>> {
    let (low, high) =
        values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &value| (low.min(value), high.max(value)));
    if values.is_empty() {
        return None;
    }
    let width = if high > low { high - low } else { high.abs().max(1.0) };
    Some(low - margin * width..high + margin * width)
}

/// About `count` round numbers within a range.
fn ticks(range: &Range<f64>, count: usize) -> Vec<f64> {
    RangedCoordf64::from(range.clone()).key_points(BoldPoints(count))
}

/// Decimals that tell neighbouring ticks apart.
fn decimals(ticks: &[f64]) -> usize {
    match ticks {
        [a, b, ..] if (b - a).abs() < 1.0 => (-(b - a).abs().log10()).ceil().clamp(0.0, 6.0) as usize,
        _ => 0,
    }
}

fn swatch(layer: &Layer) -> String {
    let ink = layer.ink.css();
    match layer.mark {
        Mark::Dashes => format!("background:repeating-linear-gradient(90deg,{ink} 0 5px,transparent 5px 8px)"),
        Mark::Line | Mark::Band(_) | Mark::Segments => format!("background:{ink}"),
        Mark::Broad => format!("background:{ink};height:8px;opacity:{BROAD_OPACITY}"),
        Mark::Dots | Mark::Bars => format!("background:{ink};width:.65em;height:.65em;border-radius:50%"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(mark: Mark, points: &[(f64, f64)]) -> Chart {
        let layer = Layer { name: "a < b".into(), ink: Ink::INT8, mark, points: points.to_vec() };
        Chart {
            title: "mAP".into(),
            x_label: "dimensions".into(),
            scale: Scale::Doubling,
            size: HALF,
            layers: vec![layer],
            caption: "Up is good.".into(),
        }
    }

    #[test]
    fn ticks_of_a_doubling_axis_are_powers_of_two() {
        let svg = chart(Mark::Line, &[(4.0, 0.1), (10.0, 0.3), (32.0, 0.2)]).figure().unwrap().into_string();
        for tick in [">\n4\n<", ">\n8\n<", ">\n16\n<", ">\n32\n<"] {
            assert!(svg.contains(tick), "no tick {tick:?} in {svg}");
        }
        assert!(!svg.contains(">\n10\n<"));
    }

    #[test]
    fn a_chart_without_finite_points_says_so() {
        for points in [&[][..], &[(f64::NAN, 1.0)], &[(1.0, f64::INFINITY)], &[(0.0, 1.0)]] {
            let figure = chart(Mark::Line, points).figure().unwrap().into_string();
            assert!(figure.contains("There is nothing to draw.") && !figure.contains("<svg"), "{points:?}");
        }
    }

    #[test]
    fn one_point_and_equal_values_can_be_drawn() {
        for mark in
            [Mark::Line, Mark::Dashes, Mark::Broad, Mark::Band(vec![0.0, 0.0]), Mark::Dots, Mark::Segments, Mark::Bars]
        {
            for points in [&[(1.0, 0.0)][..], &[(2.0, 0.5), (4.0, 0.5)]] {
                assert!(chart(mark.clone(), points).figure().unwrap().into_string().contains("<svg"), "{mark:?}");
            }
        }
    }

    #[test]
    fn a_band_is_as_wide_as_its_spread() {
        let window = Window::around(&chart(Mark::Band(vec![0.25, 0.5]), &[(1.0, 1.0), (2.0, 2.0)])).unwrap();
        let margin = 0.06 * (2.5 - 0.75);
        assert_eq!(window.y, 0.75 - margin..2.5 + margin);
    }

    #[test]
    fn dots_of_a_layer_are_one_path_and_segments_one_more() {
        let figure =
            |mark| chart(mark, &[(1.0, 1.0), (2.0, 2.0), (4.0, 1.0), (8.0, 3.0)]).figure().unwrap().into_string();
        let paths = |figure: &str| -> Vec<String> { figure.split("<path ").skip(1).map(str::to_string).collect() };
        let (dots, segments) = (paths(&figure(Mark::Dots)), paths(&figure(Mark::Segments)));
        assert_eq!((dots.len(), segments.len()), (1, 1));
        assert_eq!((dots[0].matches("h0").count(), segments[0].matches('L').count()), (4, 2));
        assert!(dots[0].contains("stroke=\"#2f6fed\""));
    }

    #[test]
    fn values_run_from_blue_over_grey_to_orange() {
        let css = [-2.0, -1.0, 0.0, 0.5, 1.0].map(|value| Ink::diverging(value).css());
        assert_eq!(css, ["#1f6ae0", "#1f6ae0", "#a6abb3", "#c78b62", "#e86a10"]);
    }

    #[test]
    fn names_are_escaped() {
        let figure = chart(Mark::Line, &[(1.0, 1.0)]).figure().unwrap().into_string();
        assert!(figure.contains("a &lt; b") && !figure.contains("a < b"));
    }
}
