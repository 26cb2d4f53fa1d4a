//! The share of right answers.

/// Fraction of `predicted` equal to `truth`, in [0, 1]; 0 for no answers.
///
/// # Panics
/// When the lengths differ.
pub fn accuracy(predicted: &[u16], truth: &[u16]) -> f64 {
    assert_eq!(predicted.len(), truth.len(), "one answer for every label");
    let right = predicted.iter().zip(truth).filter(|(a, b)| a == b).count();
    right as f64 / truth.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_right_answers() {
        assert_eq!(accuracy(&[1, 2, 3, 3], &[1, 2, 2, 3]), 0.75);
        assert_eq!(accuracy(&[], &[]), 0.0);
    }
}
