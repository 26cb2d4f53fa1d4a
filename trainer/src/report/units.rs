//! Numbers as people read them.

/// A fraction with three decimals: `0.983`; a dash where there is none.
pub fn fraction(value: impl Into<Option<f64>>) -> String {
    value.into().map_or("–".into(), |value| format!("{value:.3}"))
}

// A number and its unit are never on two lines: between them stands a no-break space, U+00A0.

/// A change with its sign and this many decimals: `+0.004`, `−0.012`, `0.000`.
pub fn change(change: f64, decimals: usize) -> String {
    let size = format!("{:.decimals$}", change.abs());
    match size.chars().any(|digit| ('1'..='9').contains(&digit)) {
        true if change < 0.0 => format!("−{size}"),
        true => format!("+{size}"),
        false => size,
    }
}

/// A share in hundredths: `99.1 %`.
pub fn percent(share: f64) -> String {
    format!("{:.1}\u{a0}%", 100.0 * share)
}

/// A size in memory: `27.3 KiB`, `512 bytes`.
pub fn bytes(bytes: usize) -> String {
    match bytes {
        0..1024 => format!("{bytes}\u{a0}bytes"),
        1024..1_048_576 => format!("{:.1}\u{a0}KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1}\u{a0}MiB", bytes as f64 / 1_048_576.0),
    }
}

/// A large number: `9999`, `96.3 k`, `1.24 M`.
pub fn count(count: u64) -> String {
    match count {
        0..10_000 => count.to_string(),
        10_000..1_000_000 => format!("{:.1}\u{a0}k", count as f64 / 1e3),
        _ => format!("{:.2}\u{a0}M", count as f64 / 1e6),
    }
}

/// A time: `48 s`, `12 min 5 s`, `3 h 2 min`.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match whole {
        0..120 => format!("{whole}\u{a0}s"),
        120..7200 => format!("{}\u{a0}min {}\u{a0}s", whole / 60, whole % 60),
        _ => format!("{}\u{a0}h {}\u{a0}min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all<T, const N: usize>(values: [T; N], shown: impl Fn(T) -> String) -> String {
        values.map(shown).join(", ").replace('\u{a0}', " ")
    }

    #[test]
    fn units_change_with_the_size() {
        let sizes = [0, 1023, 1024, 27_955, 1_048_576];
        assert_eq!(all(sizes, bytes), "0 bytes, 1023 bytes, 1.0 KiB, 27.3 KiB, 1.0 MiB");
        assert_eq!(all([9_999, 96_300, 1_240_000], count), "9999, 96.3 k, 1.24 M");
        assert_eq!(all([0.2, 48.4, 725.0, 10_920.0], duration), "0 s, 48 s, 12 min 5 s, 3 h 2 min");
    }

    #[test]
    fn a_change_too_small_to_show_has_no_sign() {
        assert_eq!(all([0.0042, -0.012, -0.0004, 0.0], |value| change(value, 3)), "+0.004, −0.012, 0.000, 0.000");
    }

    #[test]
    fn a_missing_fraction_is_a_dash() {
        assert_eq!(all([None, Some(0.98349)], fraction), "–, 0.983");
        assert_eq!(all([0.99051], percent), "99.1 %");
    }
}
