//! `eigenlet search`.

use std::path::PathBuf;

use eigenlet_runtime::{Hit, nearest_in};
use ndarray::{Array3, Axis};
use rayon::prelude::*;

use super::npy;
use crate::error::{Error, Result};

#[derive(clap::Args)]
pub struct Search {
    /// Codes to search in, as `hash` writes them: .npy of uint8, one code a row
    #[arg(long, value_name = "CODES.npy")]
    gallery: PathBuf,
    /// Codes to search for
    #[arg(long, value_name = "CODES.npy")]
    query: PathBuf,
    /// Hits for each query
    #[arg(short, value_name = "K", default_value_t = 10)]
    k: usize,
    /// Where the hits go: int32 `[queries, k, 2]`, id and distance, nearest first, ties by id
    #[arg(short, long, value_name = "HITS.npy")]
    output: PathBuf,
}

impl Search {
    pub fn run(self) -> Result<()> {
        let matrix = |path: &PathBuf| -> Result<(usize, Vec<u8>)> {
            let array = npy::read_bytes(path)?;
            match array.shape() {
                [_, width] if *width > 0 => Ok((*width, array.iter().copied().collect())),
                shape => {
                    let found = format!("shape {shape:?}");
                    Err(Error::input(path.display(), "not a list of codes", "uint8 of shape [n, bytes]", found))
                }
            }
        };
        let (width, gallery) = matrix(&self.gallery)?;
        let (query_width, queries) = matrix(&self.query)?;
        if query_width != width {
            let expected = format!("{width} bytes a code, as in the gallery");
            return Err(Error::input(self.query.display(), "codes of another length", expected, query_width));
        }
        let codes = gallery.len() / width;
        if self.k == 0 || self.k > codes {
            return Err(Error::input("-k", "impossible value", format!("1 to the gallery's {codes}"), self.k));
        }

        let mut hits = Array3::<i32>::zeros((queries.len() / width, self.k, 2));
        hits.axis_iter_mut(Axis(0)).into_par_iter().zip(queries.par_chunks(width)).for_each(|(mut out, query)| {
            let mut found = vec![Hit { id: 0, distance: 0 }; self.k];
            nearest_in(&gallery, query, &mut found);
            for (mut row, hit) in out.outer_iter_mut().zip(&found) {
                row[0] = hit.id as i32;
                row[1] = hit.distance as i32;
            }
        });
        npy::write(&self.output, hits.view())
    }
}
