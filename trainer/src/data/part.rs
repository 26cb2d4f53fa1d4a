//! A part of a data set: some of its classes, some samples of each, some samples in all.

use serde::{Deserialize, Serialize};

use super::{DataSource, Split};
use crate::error::{Error, Result};

/// Which classes of a set: a number, or a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a number or a list of classes")]
pub enum Classes {
    /// Those with a number below this one, at least 1.
    Below(u16),
    /// Those with these numbers, at least one.
    Listed(Vec<u16>),
}

impl Classes {
    fn holds(&self, class: u16) -> bool {
        match self {
            Self::Below(end) => class < *end,
            Self::Listed(classes) => classes.contains(&class),
        }
    }

    /// Whether any class is meant.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Below(end) => *end == 0,
            Self::Listed(classes) => classes.is_empty(),
        }
    }
}

/// What `outliers`, `classes`, `per_class`, `limit_train` and `limit_test` leave of the splits, in this order; the samples
/// left stay in theirs.
///
/// # Errors
/// Classes are asked for and the set has no labels; a class has no sample to learn from; a split is left without samples.
pub(super) fn select(source: &DataSource, train: Split, test: Split) -> Result<(Split, Split)> {
    let train = of_split(source, "train", train, source.limit_train, &source.outliers)?;
    if let (Some(Classes::Listed(classes)), Some(labels)) = (&source.classes, &train.labels)
        && source.limit_train.is_none()
        && let Some(absent) = classes.iter().find(|class| !labels.contains(class) && !source.outliers.contains(class))
    {
        return Err(Error::input("data.classes", "a class without samples", "classes of the set", absent));
    }
    Ok((train, of_split(source, "test", test, source.limit_test, &[])?))
}

fn of_split(source: &DataSource, name: &str, split: Split, limit: Option<usize>, without: &[u16]) -> Result<Split> {
    let mut split = match (&source.classes, source.per_class) {
        (None, None) if without.is_empty() => split,
        (classes, per_class) => of_classes(classes.as_ref(), per_class, without, split)?,
    };
    if let Some(limit) = limit {
        split.samples.raw.truncate(limit.saturating_mul(split.samples.size()));
        split.labels.iter_mut().for_each(|labels| labels.truncate(limit));
    }
    match split.samples.is_empty() {
        true => Err(Error::input("data", "no sample is left", format!("some in the {name} split"), 0)),
        false => Ok(split),
    }
}

fn of_classes(classes: Option<&Classes>, per_class: Option<usize>, without: &[u16], split: Split) -> Result<Split> {
    let Some(labels) = &split.labels else {
        let key = match (classes, per_class) {
            (Some(_), _) => "data.classes",
            (None, Some(_)) => "data.per_class",
            (None, None) => "data.outliers",
        };
        return Err(Error::input(key, "which samples, cannot be told", "a set with labels", "a set without"));
    };
    let mut left = vec![per_class.unwrap_or(usize::MAX); usize::from(u16::MAX) + 1];
    let mut is_kept = |class: u16| {
        let is_meant = !without.contains(&class) && classes.is_none_or(|classes| classes.holds(class));
        let left = &mut left[usize::from(class)];
        let is_kept = is_meant && *left > 0;
        *left -= usize::from(is_kept);
        is_kept
    };
    let kept: Vec<usize> = (0..labels.len()).filter(|&place| is_kept(labels[place])).collect();
    Ok(split.select(kept))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{DataKind, Samples};

    /// One pixel a sample: its place in the split.
    fn split(labels: &[u16]) -> Split {
        Split {
            samples: Samples { shape: [1, 1, 1], raw: (0..labels.len() as u8).collect() },
            labels: Some(labels.to_vec()),
        }
    }

    fn selected(table: &str) -> Result<(Split, Split)> {
        let source: DataSource = toml::from_str(&format!("kind = \"digits\"\n{table}")).unwrap();
        select(&source, split(&[2, 0, 1, 2, 2, 1]), split(&[1, 2, 0]))
    }

    fn message(table: &str) -> String {
        selected(table).expect_err("the table is wrong").to_string()
    }

    #[test]
    fn the_first_of_each_class_are_kept_in_order() {
        let (train, test) = selected("classes = [2, 1]\nper_class = 2").unwrap();
        assert_eq!((&train.samples.raw[..], train.labels.as_deref()), (&[0, 2, 3, 5][..], Some(&[2, 1, 2, 1][..])));
        assert_eq!((&test.samples.raw[..], test.labels.as_deref()), (&[0, 1][..], Some(&[1, 2][..])));
    }

    #[test]
    fn a_number_keeps_the_classes_below_it() {
        assert_eq!(selected("classes = 2").unwrap().0.samples.raw, [1, 2, 5]);
    }

    #[test]
    fn outliers_are_judged_on_and_not_learned_from() {
        let (train, test) = selected("outliers = [1, 0]").unwrap();
        assert_eq!((train.samples.raw, test.samples.raw), (vec![0, 3, 4], vec![0, 1, 2]));
    }

    #[test]
    fn limits_count_what_the_classes_left() {
        let (train, test) = selected("classes = 2\nlimit_train = 2\nlimit_test = 9").unwrap();
        assert_eq!((train.samples.raw, test.samples.raw), (vec![1, 2], vec![0, 2]));
    }

    #[test]
    fn a_class_that_is_not_there_is_named() {
        assert!(message("classes = [1, 7]").contains("data.classes: a class without samples"));
        assert!(message("classes = [1, 7]").ends_with("found 7"));
    }

    #[test]
    fn classes_of_a_set_without_labels_are_refused() {
        let source = DataSource { per_class: Some(3), ..DataSource::new(DataKind::Digits) };
        let unlabelled = || Split { labels: None, ..split(&[0, 1]) };
        let error = select(&source, unlabelled(), unlabelled()).unwrap_err().to_string();
        assert!(error.starts_with("data.per_class: "), "{error}");
    }
}
