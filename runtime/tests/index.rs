//! The index finds what sorting finds.

mod common;

use common::Random;
use eigenlet_runtime::{Code, Full, Hit, Index, nearest_in};
use proptest::prelude::*;

/// Bit by bit.
fn distance(a: &[u8], b: &[u8], bits: usize) -> u32 {
    (0..bits).filter(|bit| (a[bit / 8] >> (bit % 8)) & 1 != (b[bit / 8] >> (bit % 8)) & 1).count() as u32
}

fn sorted(codes: &[Vec<u8>], ids: &[u32], query: &[u8], count: usize) -> Vec<Hit> {
    let mut hits: Vec<Hit> = codes
        .iter()
        .zip(ids)
        .map(|(code, id)| Hit { id: *id, distance: distance(code, query, query.len() * 8) })
        .collect();
    hits.sort_by_key(|hit| (hit.distance, hit.id));
    hits.truncate(count);
    hits
}

/// Codes of few different bytes, so that many are equally far.
fn codes(random: &mut Random, count: usize, bytes: usize) -> Vec<Vec<u8>> {
    (0..count).map(|_| (0..bytes).map(|_| random.next() as u8 & 0x11).collect()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn the_index_finds_what_sorting_finds(count in 0usize..60, seed: u64) {
        let mut random = Random(seed);
        let codes = codes(&mut random, count, 6);
        // Ids in no order, some twice.
        let ids: Vec<u32> = (0..count).map(|_| random.below(40) as u32).collect();
        let mut index = Index::<6, 64>::new();
        for (code, id) in codes.iter().zip(&ids) {
            index.insert(Code(code[..].try_into().unwrap()), *id).unwrap();
        }
        let query = random.bytes(6);
        let code = Code(query[..].try_into().unwrap());
        prop_assert_eq!(index.len(), count);
        prop_assert_eq!(&index.nearest::<1>(&code)[..], sorted(&codes, &ids, &query, 1));
        prop_assert_eq!(&index.nearest::<7>(&code)[..], sorted(&codes, &ids, &query, 7));
        prop_assert_eq!(&index.nearest::<64>(&code)[..], sorted(&codes, &ids, &query, 64));
        prop_assert_eq!(&index.nearest::<0>(&code)[..], vec![]);
    }

    #[test]
    fn packed_codes_are_searched_alike(count in 0usize..60, bytes in 1usize..20, k in 0usize..20, seed: u64) {
        let mut random = Random(seed);
        let codes = codes(&mut random, count, bytes);
        let ids: Vec<u32> = (0..count as u32).collect();
        let query = random.bytes(bytes);
        let mut hits = vec![Hit { id: 0, distance: 0 }; k];
        let found = nearest_in(&codes.concat(), &query, &mut hits);
        prop_assert_eq!(&hits[..found], sorted(&codes, &ids, &query, k));
    }

    #[test]
    fn distances_count_bits(a: [u8; 11], b: [u8; 11], bits in 0u16..=88) {
        prop_assert_eq!(Code(a).distance(&Code(b)), distance(&a, &b, 88));
        prop_assert_eq!(Code(a).prefix_distance(&Code(b), bits), distance(&a, &b, bits.into()));
        prop_assert_eq!(Code(a).prefix_distance(&Code(b), u16::MAX), distance(&a, &b, 88));
    }
}

#[test]
fn a_full_index_says_so_and_stays_whole() {
    let mut index = Index::<1, 2>::new();
    assert!(index.is_empty());
    index.insert(Code([1]), 1).unwrap();
    index.insert(Code([2]), 2).unwrap();
    assert_eq!(index.insert(Code([3]), 3), Err(Full));
    assert_eq!(index.nearest::<5>(&Code([2])).iter().map(|hit| hit.id).collect::<Vec<_>>(), [2, 1]);
}
