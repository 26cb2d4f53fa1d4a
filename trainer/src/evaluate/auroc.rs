//! Area under the receiver operating characteristic: how well a score tells outliers from the rest.

/// The chance that a random outlier scores higher than a random other sample, ties counting half (Mann and Whitney 1947);
/// `None` without outliers or without others.
pub fn auroc(scores: &[f32], outlier: &[bool]) -> Option<f64> {
    assert_eq!(scores.len(), outlier.len(), "one mark for every score");
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    let outliers = outlier.iter().filter(|&&marked| marked).count();
    let others = scores.len() - outliers;
    let (mut below, mut wins) = (0.0, 0.0);
    for tied in order.chunk_by(|&a, &b| scores[a] == scores[b]) {
        let marked = tied.iter().filter(|&&i| outlier[i]).count() as f64;
        let unmarked = tied.len() as f64 - marked;
        wins += marked * (below + unmarked / 2.0);
        below += unmarked;
    }
    (outliers > 0 && others > 0).then(|| wins / (outliers as f64 * others as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_share_of_pairs_in_the_right_order() {
        let scores: [f32; 7] = [0.3, 0.1, 0.5, 0.5, 0.9, 0.2, 0.5];
        let outlier = [false, false, true, false, true, true, false];
        let mut pairs = Vec::new();
        for i in (0..7).filter(|&i| outlier[i]) {
            for j in (0..7).filter(|&j| !outlier[j]) {
                pairs.push(match scores[i].total_cmp(&scores[j]) {
                    std::cmp::Ordering::Greater => 1.0,
                    std::cmp::Ordering::Equal => 0.5,
                    std::cmp::Ordering::Less => 0.0,
                });
            }
        }
        let naive = pairs.iter().sum::<f64>() / pairs.len() as f64;
        assert_eq!(auroc(&scores, &outlier), Some(naive));
    }

    #[test]
    fn without_both_kinds_there_is_none() {
        assert_eq!(auroc(&[1.0, 2.0], &[false, false]), None);
        assert_eq!(auroc(&[1.0, 2.0], &[true, true]), None);
        assert_eq!(auroc(&[1.0, 2.0, 1.5], &[false, true, false]), Some(1.0));
    }
}
