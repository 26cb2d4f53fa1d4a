//! What a run learns from: the samples, and what joins them.

use std::borrow::Cow;

use crate::data::{Dataset, Split};
use crate::error::Result;
use crate::graph::Graph;
use crate::recipe::Recipe;
use crate::train::pairs::Steps;
use crate::train::source::{Augmented, Source};

/// The most nodes of a graph whose exact eigenvalues are computed along with a run: they take a minute there.
const EXACT_MOST: usize = 100_000;

/// A recipe's samples to learn from, and the graph that its pairs are drawn from.
pub(super) struct Learning<'a> {
    pub recipe: &'a Recipe,
    pub data: &'a Dataset,
    pub split: Cow<'a, Split>,
    graph: Option<Cow<'a, Graph>>,
}

impl<'a> Learning<'a> {
    /// Of a recipe and its data.
    ///
    /// # Errors
    /// Data without the graph that the recipe means, fewer samples than neighbours.
    pub fn new(recipe: &'a Recipe, data: &'a Dataset) -> Result<Self> {
        let split = data.learning();
        let graph = recipe.pairs.graph(data)?;
        Ok(Self { recipe, data, split, graph })
    }

    /// The pairs that are learned from.
    ///
    /// # Errors
    /// A setting of the views out of its range, a graph without edges.
    pub fn source(&self) -> Result<Box<dyn Source + '_>> {
        let views = Augmented::new(&self.split.samples, self.data.raw_max, &self.recipe.augment)?;
        Ok(match &self.graph {
            None => Box::new(views),
            Some(graph) => Box::new(Steps::new(views, graph, &self.recipe.pairs)?),
        })
    }

    /// The pairs that functions are ordered by: two views of training samples, or the pairs that are learned from where these are
    /// others.
    ///
    /// # Errors
    /// As for [`source`](Self::source).
    pub fn ordering_source(&self) -> Result<Box<dyn Source + '_>> {
        match self.graph {
            None => Ok(Box::new(Augmented::new(&self.data.train.samples, self.data.raw_max, &self.recipe.augment)?)),
            Some(_) => self.source(),
        }
    }

    /// The eigenvalues that the ordered functions would have if the network had learned them exactly and views left nothing out;
    /// `None`, where pairs come from no graph, or from one too large.
    pub fn exact_eigenvalues(&self, count: usize) -> Option<Vec<f64>> {
        let graph = self.graph.as_ref().filter(|graph| graph.len() <= EXACT_MOST && !self.has_kernel())?;
        Some(self.recipe.pairs.eigenvalues(graph, count, self.recipe.seed))
    }

    /// What functions are ordered by, in words: a pair; `None`, where it is a kernel instead.
    pub fn pairs_in_words(&self) -> Option<String> {
        (!self.has_kernel()).then(|| self.recipe.pairs.in_words())
    }

    fn has_kernel(&self) -> bool {
        self.recipe.objective.kernel().is_some()
    }
}
