//! How good an embedding is: every metric, its baselines, and the one protocol they are measured by.

mod accuracy;
mod auroc;
mod baselines;
mod clustering;
mod collapse;
mod cosine;
mod covariance;
mod cross_validation;
mod hamming;
mod kmeans;
mod knn;
mod linear_probe;
mod protocol;
mod retrieval;

pub use accuracy::accuracy;
pub use auroc::auroc;
pub use baselines::{Itq, Pca, random_dims};
pub use clustering::Contingency;
pub use collapse::{ClusterCollapse, CodeCollapse, FeatureCollapse};
pub use cross_validation::{cross_validated, stratified_folds};
pub use hamming::{Codes, HashPoint, hash_metrics};
pub use kmeans::{KMeans, kmeans, seeds as kmeans_seeds};
pub use knn::Knn;
pub use linear_probe::{LinearProbe, Settings as ProbeSettings};
pub use protocol::{
    Baselines, CodeSplit, FeatureReport, PROTOCOL, Split, SubsetPoint, TruncationPoint, evaluate_baselines,
    evaluate_codes, evaluate_features, evaluate_random_subsets,
};
pub use retrieval::mean_average_precision;
