//! The curves: retrieval mAP by dimensions kept and by bits kept, side by side, one pair of panels for each table.

use std::error::Error as StdError;
use std::ops::Range;

use plotters::coord::Shift;
use plotters::element::DashedPathElement;
use plotters::prelude::*;

use super::Table;
use super::figure::MapAt;
use super::row::Row;
use crate::error::{Error, Result};

/// What the drawing shows.
pub const CAPTION: &str = "Retrieval mAP by dimensions kept and by bits kept: int8 as on the chip, mean and one sample \
                           standard deviation over seeds; broken lines are baselines in float";

type Drawing<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = std::result::Result<(), Box<dyn StdError>>;

const WIDTH: u32 = 1120;
const TITLE: u32 = 40;
const PANEL: u32 = 340;
const LEGEND_LINE: u32 = 24;
/// Entries of the legend beside each other.
const LEGEND_COLUMNS: u32 = 3;

const TEXT: RGBColor = RGBColor(0x57, 0x60, 0x6a);
const GRID: RGBColor = RGBColor(0xd9, 0xdd, 0xe3);
/// Colours of recipes, over and over.
const INKS: [RGBColor; 7] = [
    RGBColor(0x2f, 0x6f, 0xed),
    RGBColor(0xe0, 0x79, 0x2b),
    RGBColor(0x3d, 0x9a, 0x50),
    RGBColor(0x8a, 0x63, 0xd2),
    RGBColor(0xc0, 0x56, 0x7a),
    RGBColor(0x13, 0xa3, 0xb3),
    RGBColor(0xd4, 0xa7, 0x2c),
];
/// Colours of the baselines, the same in every table.
const BASELINE_INKS: [RGBColor; 3] =
    [RGBColor(0x9c, 0x75, 0x5f), RGBColor(0x1f, 0x2a, 0x44), RGBColor(0x80, 0x87, 0x91)];

/// The drawing of all tables, one below the other.
///
/// # Errors
/// None, unless the drawing library fails.
pub fn svg(tables: &[Table]) -> Result<String> {
    let mut svg = String::new();
    draw(tables, &mut svg).map_err(|error| Error::Check(format!("compare.svg: {error}")))?;
    Ok(svg)
}

fn draw(tables: &[Table], svg: &mut String) -> Drawn {
    let heights: Vec<u32> = tables.iter().map(height).collect();
    let root = SVGBackend::with_string(svg, (WIDTH, heights.iter().sum())).into_drawing_area();
    root.fill(&WHITE)?;
    let mut rest = root.clone();
    for (table, height) in tables.iter().zip(heights) {
        let (block, below) = rest.split_vertically(height);
        draw_table(table, &block)?;
        rest = below;
    }
    root.present()?;
    Ok(())
}

fn height(table: &Table) -> u32 {
    TITLE + PANEL + LEGEND_LINE * (table.rows.len() as u32).div_ceil(LEGEND_COLUMNS) + LEGEND_LINE
}

fn draw_table(table: &Table, block: &Drawing) -> Drawn {
    let (title, below) = block.split_vertically(TITLE);
    title.draw(&Text::new(table.dataset.clone(), (16, 12), ("sans-serif", 20).into_font().color(&BLACK)))?;
    let (panels, legend) = below.split_vertically(PANEL);
    let (left, right) = panels.split_horizontally(WIDTH / 2);
    let dims: Vec<Curve> =
        curves(table, |row| &row.float.truncation, |row| row.int8.as_ref().map(|int8| &int8.truncation));
    let bits: Vec<Curve> = curves(table, |row| &row.float.hash, |row| row.int8.as_ref().map(|int8| &int8.hash));
    panel(&left, "dimensions kept", &with_raw_input(dims, table))?;
    panel(&right, "bits kept", &bits)?;
    for (place, row) in table.rows.iter().enumerate() {
        let (column, line) = (place as u32 % LEGEND_COLUMNS, place as u32 / LEGEND_COLUMNS);
        let x = (16 + column * (WIDTH / LEGEND_COLUMNS)) as i32;
        let y = (line * LEGEND_LINE + LEGEND_LINE) as i32;
        let (swatch, line) = (vec![(x, y), (x + 28, y)], ShapeStyle::from(&ink(table, place)).stroke_width(2));
        match row.int8 {
            Some(_) => legend.draw(&PathElement::new(swatch, line))?,
            None => legend.draw(&DashedPathElement::new(swatch, 6, 4, line))?,
        }
        let style = ("sans-serif", 15).into_font().color(&TEXT);
        legend.draw(&Text::new(row.name.clone(), (x + 36, y - 8), style))?;
    }
    Ok(())
}

/// A row's line: sizes, means, deviations.
struct Curve {
    ink: RGBColor,
    broken: bool,
    points: Vec<(f64, f64, f64)>,
}

fn ink(table: &Table, place: usize) -> RGBColor {
    let recipes = table.rows.iter().filter(|row| row.int8.is_some()).count();
    match place.checked_sub(recipes) {
        None => INKS[place % INKS.len()],
        Some(baseline) => BASELINE_INKS[baseline % BASELINE_INKS.len()],
    }
}

/// The curves of the rows that have one: the blob's, or a baseline's.
fn curves(
    table: &Table,
    float: impl Fn(&Row) -> &Vec<MapAt>,
    int8: impl Fn(&Row) -> Option<&Vec<MapAt>>,
) -> Vec<Curve> {
    let point = |point: &MapAt| Some((point.size as f64, point.map.mean?, point.map.deviation.unwrap_or(0.0)));
    let rows = table.rows.iter().enumerate();
    rows.map(|(place, row)| Curve {
        ink: ink(table, place),
        broken: row.int8.is_none(),
        points: int8(row).unwrap_or(float(row)).iter().filter_map(point).collect(),
    })
    .collect()
}

/// Adds a level line for each baseline that is measured with all its dimensions only.
fn with_raw_input(mut curves: Vec<Curve>, table: &Table) -> Vec<Curve> {
    let Some(Window { x, .. }) = Window::around(&curves) else { return curves };
    for (curve, row) in curves.iter_mut().zip(&table.rows) {
        if let (true, Some(map)) = (curve.points.is_empty() && row.int8.is_none(), row.float.map.mean) {
            curve.points = vec![(x.start, map, 0.0), (x.end, map, 0.0)];
        }
    }
    curves
}

/// The values that a panel's axes span, without margins.
struct Window {
    x: Range<f64>,
    y: Range<f64>,
}

impl Window {
    fn around(curves: &[Curve]) -> Option<Self> {
        let span = |values: Vec<f64>| {
            let low = values.iter().copied().reduce(f64::min)?;
            let high = values.iter().copied().reduce(f64::max)?;
            Some(low..high)
        };
        let points = || curves.iter().flat_map(|curve| &curve.points);
        let x = span(points().map(|point| point.0).collect())?;
        let y = span(points().flat_map(|&(_, map, deviation)| [map - deviation, map + deviation]).collect())?;
        Some(Self { x, y })
    }
}

fn panel(area: &Drawing, what: &str, curves: &[Curve]) -> Drawn {
    let style = || ("sans-serif", 15).into_font().color(&TEXT);
    let Some(Window { x, y }) = Window::around(curves) else {
        let text = format!("mAP by {what}: not measured");
        return Ok(area.draw(&Text::new(text, (64, PANEL as i32 / 2), style()))?);
    };
    let margin = (0.06 * (y.end - y.start)).max(0.01);
    let mut chart = ChartBuilder::on(area)
        .margin_top(8)
        .margin_left(16)
        .margin_right(20)
        .x_label_area_size(48)
        .y_label_area_size(64)
        .build_cartesian_2d((x.start / 1.1..x.end * 1.1).log_scale().base(2.0), y.start - margin..y.end + margin)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(GRID)
        .label_style(style())
        // More than nine would make the library add ticks between the powers of two.
        .x_labels(9)
        .y_labels(6)
        .x_desc(what)
        .y_desc("retrieval mAP")
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{y:.2}"))
        .draw()?;
    // The first row in front.
    for curve in curves.iter().rev() {
        let upper = curve.points.iter().map(|&(x, map, deviation)| (x, map + deviation));
        let lower = curve.points.iter().rev().map(|&(x, map, deviation)| (x, map - deviation));
        if curve.points.iter().any(|point| point.2 > 0.0) {
            chart.draw_series([Polygon::new(upper.chain(lower).collect::<Vec<_>>(), curve.ink.mix(0.15))])?;
        }
        let line: Vec<(f64, f64)> = curve.points.iter().map(|&(x, map, _)| (x, map)).collect();
        let style = ShapeStyle::from(&curve.ink).stroke_width(2);
        if curve.broken {
            chart.draw_series(DashedLineSeries::new(line, 6, 4, style))?;
        } else {
            chart.draw_series(line.iter().map(|&place| Circle::new(place, 3, curve.ink.filled())))?;
            chart.draw_series(LineSeries::new(line, style))?;
        }
    }
    Ok(())
}
