//! What a run learns from: the samples, and what joins them.

use std::borrow::Cow;

use crate::data::{Dataset, Split};
use crate::error::Result;
use crate::graph::Graph;
use crate::recipe::Recipe;
use crate::train::pairs::Steps;
use crate::train::source::{Augmented, Source};

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
}
