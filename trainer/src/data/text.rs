//! Tables as plain text: a record a line, its fields apart by commas, or else by blanks or tabs. Gzipped or not.
//!
//! Empty lines and lines that begin with `#` or `%` say nothing.

use std::fmt::Display;
use std::path::Path;
use std::str::FromStr;

use ndarray::Array2;

use super::gzip;
use crate::error::{Error, Result};

/// The longest file, in plain bytes, so that a small gzipped file cannot fill the memory.
const MAX_BYTES: usize = 1 << 31;

/// A text in memory.
pub struct Text {
    place: String,
    content: String,
}

impl Text {
    /// Reads a file.
    ///
    /// # Errors
    /// The file cannot be read, is damaged, too long or no UTF-8.
    pub fn read(path: &Path) -> Result<Self> {
        let place = path.display().to_string();
        let content = String::from_utf8(gzip::read(path, MAX_BYTES)?)
            .map_err(|error| Error::input(&place, "not a text", "UTF-8", error.utf8_error()))?;
        Ok(Self { place, content })
    }

    /// The file, for errors.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The lines that say something.
    pub fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        let lines = self.content.lines().map(str::trim).enumerate();
        let lines = lines.filter(|(_, content)| !content.is_empty() && !content.starts_with(['#', '%']));
        lines.map(|(i, content)| Line { place: &self.place, number: i + 1, content })
    }

    /// [`lines`](Self::lines) without the first one if it is a header: if none of its fields is a number.
    pub fn records(&self) -> impl Iterator<Item = Line<'_>> {
        let is_header = |line: &Line| line.fields().all(|field| field.parse::<f64>().is_err());
        self.lines().enumerate().filter(move |(i, line)| *i > 0 || !is_header(line)).map(|(_, line)| line)
    }

    /// The fields of all [`records`](Self::records) as finite numbers, `[lines, fields]`.
    ///
    /// # Errors
    /// A field that is none; lines of different lengths.
    pub fn numbers(&self) -> Result<Array2<f32>> {
        let mut values: Vec<f32> = Vec::new();
        let (mut rows, mut columns) = (0, 0);
        for line in self.records() {
            let before = values.len();
            for field in line.fields() {
                let value: f32 = line.parse(&mut std::iter::once(field), "a number")?;
                if !value.is_finite() {
                    return Err(line.error("wrong value", "a finite number", value));
                }
                values.push(value);
            }
            let length = values.len() - before;
            if rows > 0 && length != columns {
                return Err(line.error("wrong number of fields", format!("{columns}, as above"), length));
            }
            (rows, columns) = (rows + 1, length);
        }
        Ok(Array2::from_shape_vec((rows, columns), values).expect("all rows have the same length"))
    }
}

/// A line of a text, without blanks at its ends.
#[derive(Clone, Copy)]
pub struct Line<'a> {
    place: &'a str,
    number: usize,
    content: &'a str,
}

impl<'a> Line<'a> {
    /// The fields: apart by commas if there are any, else by white space.
    pub fn fields(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let commas = self.content.contains(',');
        let apart = move |c: char| if commas { c == ',' } else { c.is_ascii_whitespace() };
        self.content.split(apart).map(str::trim).filter(move |field| commas || !field.is_empty())
    }

    /// The next of `fields`.
    ///
    /// # Errors
    /// There is none, or it does not read as the type asked for; `expected` says what it should be.
    pub fn parse<T: FromStr>(&self, fields: &mut impl Iterator<Item = &'a str>, expected: &str) -> Result<T> {
        let field = fields.next();
        let value = field.and_then(|field| field.parse().ok());
        value.ok_or_else(|| match field {
            Some(field) => self.error("wrong value", expected, format!("{field:?}")),
            None => self.error("too few fields", expected, "the end of the line"),
        })
    }

    /// Checks that nothing is left of `fields`.
    ///
    /// # Errors
    /// Something is.
    pub fn end(&self, mut fields: impl Iterator<Item = &'a str>) -> Result<()> {
        match fields.next() {
            None => Ok(()),
            Some(field) => Err(self.error("too many fields", "the end of the line", format!("{field:?}"))),
        }
    }

    /// An error about this line.
    pub fn error(&self, what: impl Display, expected: impl Display, found: impl Display) -> Error {
        Error::input(format!("{}:{}", self.place, self.number), what, expected, found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(content: &str) -> Text {
        Text { place: "some.csv".into(), content: content.into() }
    }

    #[test]
    fn fields_are_apart_by_commas_or_white_space() {
        let text = text("1,2 , x y\r\n\n# a, b\n  % c\n3 4\t 5\n,\n");
        let fields: Vec<Vec<&str>> = text.lines().map(|line| line.fields().collect()).collect();
        assert_eq!(fields, [vec!["1", "2", "x y"], vec!["3", "4", "5"], vec!["", ""]]);
    }

    #[test]
    fn only_a_first_line_without_a_number_is_a_header() {
        let first = |content: &str| text(content).records().next().map(|line| line.number);
        assert_eq!(first("# header\nu,v\n1,2"), Some(3));
        assert_eq!(first("u,7\n1,2"), Some(1));
        assert_eq!(text("1,2\nu,v").records().count(), 2);
    }

    #[test]
    fn errors_name_the_line_and_the_field() {
        let text = text("# comment\n7 x");
        let line = text.lines().next().unwrap();
        let mut fields = line.fields();
        assert_eq!(line.parse::<u32>(&mut fields, "a node").unwrap(), 7);
        let message = line.parse::<u32>(&mut fields, "a node").unwrap_err().to_string();
        assert_eq!(message, "some.csv:2: wrong value: expected a node, found \"x\"");
        let message = line.parse::<u32>(&mut fields, "a node").unwrap_err().to_string();
        assert_eq!(message, "some.csv:2: too few fields: expected a node, found the end of the line");
        let message = line.end(line.fields().skip(1)).unwrap_err().to_string();
        assert_eq!(message, "some.csv:2: too many fields: expected the end of the line, found \"x\"");
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"1 2\n\xFF").unwrap();
        let message = Text::read(file.path()).err().unwrap().to_string();
        assert!(message.contains("not a text: expected UTF-8"), "{message}");
    }
}
