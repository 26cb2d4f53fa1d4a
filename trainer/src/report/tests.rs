use std::collections::BTreeMap;

use ndarray::Array2;

use super::*;
use crate::evaluate::{Baselines, FeatureCollapse, FeatureReport, HashPoint, SubsetPoint, TruncationPoint};
use crate::graph::generate;
use crate::quantize::{Agreement, LayerError};
use crate::run::metrics::{BlobCost, ClusterMatch, ExpertReport, OrderingReport, Outliers, SCHEMA};

/// What stands in the page without labels, and what only with them.
const ALWAYS: [&str; 14] = [
    "<h1>",
    "class=\"tiles\"",
    "Truncation",
    "Nearest neighbours",
    "Codes",
    "First eigenfunctions",
    "Clusters",
    "Float against int8",
    "Baselines",
    "Loss",
    "Spectrum",
    "Eigenvalues",
    "Cost on a chip",
    "Protocol",
];
const WITH_LABELS: [&str; 6] =
    ["Retrieval mAP by", "kNN accuracy by", "Hash mAP by", "random dimensions", "red frame", "label 1"];

/// Eight training and four test samples of 2x2 pixels, in four dimensions and two classes.
struct Run {
    train: Samples,
    test: Samples,
    train_labels: Vec<u16>,
    test_labels: Vec<u16>,
    clusters: Vec<u16>,
    test_clusters: Vec<u16>,
    train_float: Array2<f32>,
    test_float: Array2<f32>,
    portraits: Option<Portraits>,
    pairs: Option<&'static str>,
    graph: Option<Graph>,
    metrics: Metrics,
    epochs: Vec<Epoch>,
}

impl Run {
    fn new(labelled: bool) -> Self {
        let samples = |n: usize| Samples { shape: [2, 2, 1], raw: (0..4 * n).map(|value| value as u8).collect() };
        let float = |n: usize| Array2::from_shape_fn((n, 4), |(i, j)| ((i * 7 + j * 3) % 5) as f32 - 2.0);
        let epoch = |epoch: usize| Epoch {
            epoch,
            loss: 1.0 / epoch as f64,
            terms: BTreeMap::from([("penalty".into(), 0.25)]),
            rate: 1e-3,
            wall_s: 1.0,
            waiting: 0.0,
        };
        Self {
            train: samples(8),
            test: samples(4),
            train_labels: vec![0, 1, 0, 1, 0, 1, 0, 1],
            test_labels: vec![0, 1, 1, 0],
            clusters: vec![1, 0, 1, 0, 1, 0, 1, 1],
            test_clusters: vec![],
            train_float: float(8),
            test_float: float(4),
            portraits: None,
            pairs: Some("two views of a sample"),
            graph: None,
            metrics: metrics(labelled),
            epochs: (1..=5).map(epoch).collect(),
        }
    }

    fn html(&self, title: &str, recipe: &str, labelled: bool) -> Result<String> {
        let int8 = [&self.train_float, &self.test_float].map(|float| float.mapv(|value| value as i8 * 30));
        let gallery = |samples, labels, embeddings, float, clusters| Gallery {
            samples,
            labels: if labelled { Some(labels) } else { None },
            embeddings,
            float,
            clusters,
        };
        html(&ReportInput {
            title,
            metrics: &self.metrics,
            epochs: &self.epochs,
            recipe,
            train: gallery(&self.train, &self.train_labels, int8[0].view(), self.train_float.view(), &self.clusters),
            test: gallery(&self.test, &self.test_labels, int8[1].view(), self.test_float.view(), &self.test_clusters),
            heads: &("4 thresholds".into(), "the nearest of 2 prototypes in 2 dimensions".into()),
            pairs: self.pairs,
            graph: self.graph.as_ref(),
            portraits: self.portraits.as_ref(),
            raw_max: 255,
            unit: Unit::of_full_scale(255),
        })
    }
}

fn metrics(labelled: bool) -> Metrics {
    let truncation = [1, 2, 4].map(|dims| TruncationPoint { dims, knn_acc: 0.5, map: 0.1 * dims as f64 });
    let hash = [2, 4].map(|bits| HashPoint { bits, map: 0.1 * bits as f64, precision_at_500: 0.3, precision_r2: 0.2 });
    let report = FeatureReport {
        dims: 4,
        knn_acc: labelled.then_some(0.75),
        linear_acc: labelled.then_some(0.7),
        cluster_acc: labelled.then_some(0.6),
        nmi: labelled.then_some(0.5),
        ari: labelled.then_some(0.4),
        map: labelled.then_some(0.4),
        truncation: if labelled { truncation.to_vec() } else { vec![] },
        hash: if labelled { hash.to_vec() } else { vec![] },
        collapse: FeatureCollapse { dims: 4, effective_rank: 3.2, dead_dims: vec![] },
    };
    let subset = SubsetPoint { dims: 2, knn_acc: 0.4, knn_acc_std: 0.1, map: 0.2, map_std: 0.05 };
    Metrics {
        schema: SCHEMA.into(),
        objective: "neural-eigenmap".into(),
        dataset: "digits".into(),
        dataset_sha256: "00ff".into(),
        learn: crate::data::Learn::Train,
        seed: 7,
        backend: "flex".into(),
        epochs: 5,
        wall_s: 12.0,
        samples_per_s: 1000.0,
        waiting: 0.02,
        protocol: "As it was measured.".into(),
        float: report.clone(),
        int8: report.clone(),
        baselines: Baselines {
            raw_input: report.clone(),
            pca: report.clone(),
            itq: report.hash.clone(),
            random_subsets: if labelled { vec![subset] } else { vec![] },
            untrained: Some(report),
        },
        assignments: None,
        experts: None,
        agreement: Agreement { bits: Some(0.991), clusters: Some(0.98), cosine: 0.9991 },
        layers: vec![LayerError { layer: 0, kind: "conv2d".into(), relative_rms: 0.01, sqnr_db: 40.0 }],
        ordering: OrderingReport { eigenvalues: vec![0.9, 0.8, 0.5, 0.2], exact: None, dropped: 0, constant: Some(3) },
        blob: BlobCost { bytes: 27_955, macs: 123_456, arena_bytes: 2560 },
        warnings: vec![],
    }
}

#[test]
fn every_section_appears() {
    let page = Run::new(true).html("digits", "seed = 1", true).unwrap();
    for part in ALWAYS.iter().chain(&WITH_LABELS) {
        assert!(page.contains(part), "no {part:?}");
    }
    assert!(!page.contains("Left out") && !page.contains("nothing to draw"));
    let page = page.replace('\u{a0}', " ");
    let verdict = "kNN 0.75 at 4 dimensions; mAP 0.40 at 4 dimensions (PCA 0.40); 27.3 KiB flash, 2.5 KiB RAM; \
                   99.1 % of bits as in float";
    assert!(page.contains(verdict));
}

#[test]
fn experts_appear_with_what_they_look_like() {
    let mut run = Run::new(true);
    assert!(!run.html("digits", "", true).unwrap().contains("Experts"));
    run.metrics.experts = Some(ExpertReport {
        dims: 3,
        gate: "residual".into(),
        agreement: 0.995,
        loss: 0.0625,
        exact: Some(ClusterMatch { acc: 0.875, nmi: 0.5, ari: 0.25 }),
        outliers: Some(Outliers { classes: vec![8, 9], own: 0.9375, blob: Some(0.938), nearest: 0.99 }),
    });
    let page = run.html("digits", "", true).unwrap();
    for part in ["Experts", "residual", "99.5\u{a0}%", "0.0625", "0.875", "(8, 9)", "0.938", "centres were not kept"] {
        assert!(page.contains(part), "no {part:?}");
    }
    // Two clusters of 2x2 pixels, three samples drawn of each.
    run.portraits = Some(Portraits { centres: vec![0.5; 2 * 4], drawn: vec![1.5; 2 * 3 * 4] });
    let page = run.html("digits", "", true).unwrap();
    assert!(page.contains("3 samples") && page.contains("5 samples"));
    assert_eq!(page.matches("alt=\"drawn by cluster 1\"").count(), 3);
    assert_eq!(page.matches("alt=\"centre of cluster").count(), 2);
    balanced(&page);
}

#[test]
fn what_needs_labels_is_left_out_without_them() {
    let page = Run::new(false).html("digits", "seed = 1", false).unwrap();
    for part in ALWAYS {
        assert!(page.contains(part), "no {part:?}");
    }
    for part in WITH_LABELS {
        assert!(!page.contains(part), "{part:?} without labels");
    }
    assert_eq!(page.matches("Left out: ").count(), 2);
    balanced(&page);
}

/// A section of a page, by its id.
fn part<'a>(page: &'a str, id: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!("<section id=\"{id}\">")).expect("the page has the section");
    rest.split_once("</section>").expect("the section ends").0
}

/// Where each of these stands in a text; all are in it.
fn places(text: &str, wanted: &[&str]) -> Vec<usize> {
    wanted.iter().map(|wanted| text.find(wanted).unwrap_or_else(|| panic!("no {wanted:?} in {text}"))).collect()
}

#[test]
fn exact_eigenvalues_stand_beside_the_learned_ones() {
    let mut run = Run::new(true);
    let page = run.html("digits", "", true).unwrap();
    let spectrum = part(&page, "spectrum");
    assert!(spectrum.contains("at two views of a sample") && spectrum.contains("Exact ones are known only where"));
    assert!(!spectrum.contains("<table"));
    run.metrics.ordering.exact = Some(vec![0.95, 0.8, 0.4999, 0.3]);
    let page = run.html("digits", "", true).unwrap();
    let spectrum = part(&page, "spectrum");
    for text in ["0.9500", "−0.0500", "0.0000", "+0.0001", "</i>learned", "</i>exact"] {
        assert!(spectrum.contains(text), "no {text}");
    }
    assert!(!spectrum.contains("are shown") && !spectrum.contains("known only"));
    balanced(&page);
    run.metrics.ordering.exact = Some(vec![1.0, 0.9999, 0.4999]);
    assert!(run.html("digits", "", true).unwrap().contains("The first 2 are as good as 1"));
    run.pairs = None;
    assert!(part(&run.html("digits", "", true).unwrap(), "spectrum").contains("the kernel's operator"));
}

#[test]
fn a_function_of_pictures_is_shown_by_the_lowest_and_the_highest() {
    let page = Run::new(true).html("digits", "", true).unwrap();
    let functions = part(&page, "eigenfunctions");
    // The first output of the four test samples is -2, 0, 2, -1.
    let in_order =
        ["lowest …", "ψ1", "sample 0, label 0", "sample 3, label 0", "sample 1, label 1", "sample 2, label 1", "ψ2"];
    assert!(places(functions, &in_order).is_sorted());
    assert_eq!(functions.matches("<img").count(), 4 * 4);
    assert!(functions.contains("eigenvalue 0.900"));
}

#[test]
fn samples_of_two_values_lie_in_the_plane() {
    let mut run = Run::new(true);
    for samples in [&mut run.train, &mut run.test] {
        samples.raw.truncate(2 * samples.len());
        samples.shape = [1, 1, 2];
    }
    let page = run.html("moons", "", true).unwrap();
    balanced(&page);
    assert!(page.contains("8 samples of 2 values"));
    let functions = part(&page, "eigenfunctions");
    assert_eq!(functions.matches("<svg").count(), 4 + 2);
    assert!(functions.contains("1.5 or more") && !functions.contains("<img"));
    assert!(part(&page, "clusters").contains("Clusters in the plane"));
    assert!(part(&page, "neighbours").contains("Left out: a sample is two values"));
}

#[test]
fn lists_of_values_are_no_pictures() {
    let mut run = Run::new(true);
    run.train.shape = [1, 1, 4];
    run.test.shape = [1, 1, 4];
    let page = run.html("words", "", true).unwrap();
    balanced(&page);
    assert!(!page.contains("<img"));
    assert!(part(&page, "neighbours").contains("Left out: a sample is a list of 4 values"));
    assert!(part(&page, "clusters").contains("most frequent label"));
    assert_eq!(part(&page, "eigenfunctions").matches("<svg").count(), 2);
}

#[test]
fn few_edges_of_a_graph_are_drawn() {
    let mut run = Run::new(true);
    run.graph = Some(generate::cycle(12));
    let page = run.html("nodes", "", true).unwrap();
    let functions = part(&page, "eigenfunctions");
    assert!(functions.contains("Dots: all 12 nodes") && functions.contains("Lines are the graph's edges"));
    let lines = functions.split("<path").nth(1).unwrap();
    assert_eq!([lines.matches('M').count(), lines.matches('L').count()], [12, 12]);
}

#[test]
fn clusters_colour_what_has_no_labels() {
    let mut run = Run::new(false);
    assert!(run.html("digits", "", false).unwrap().contains("The set has no labels."));
    run.test_clusters = vec![0, 1, 0, 1];
    let page = run.html("digits", "", false).unwrap();
    assert!(page.contains("Colours are clusters") && !page.contains("The set has no labels."));
}

#[test]
fn a_model_without_codes_or_clusters_says_so() {
    let mut run = Run::new(true);
    run.metrics.agreement.bits = None;
    run.clusters.clear();
    let page = run.html("digits", "", true).unwrap();
    assert!(part(&page, "codes").contains("Left out: the model has no codes") && !page.contains("A code comes from"));
    assert!(part(&page, "clusters").contains("Left out: the model has no clusters"));
    assert!(!page.contains("A sample belongs to"));
}

#[test]
fn classes_that_training_never_saw_are_not_called_wrong() {
    let mut run = Run::new(true);
    run.test_labels = vec![2, 3, 3, 2];
    assert!(!run.html("omniglot", "", true).unwrap().contains("red frame"));
}

#[test]
fn text_from_outside_is_escaped() {
    let mut run = Run::new(true);
    let hostile = "<script>alert(\"&\")</script>";
    run.metrics.dataset = hostile.into();
    run.metrics.objective = hostile.into();
    run.metrics.backend = hostile.into();
    run.metrics.protocol = hostile.into();
    run.metrics.warnings = vec![hostile.into()];
    run.metrics.layers[0].kind = hostile.into();
    run.pairs = Some(hostile);
    run.epochs[4].terms = BTreeMap::from([(hostile.into(), 1.0)]);
    let page = run.html(hostile, hostile, true).unwrap();
    assert!(!page.contains("<script"));
    assert!(page.matches("&lt;script&gt;alert(&quot;&amp;&quot;)&lt;/script&gt;").count() >= 10);
    balanced(&page);
}

#[test]
fn the_page_needs_nothing_from_outside() {
    let page = Run::new(true).html("digits", "seed = 1", true).unwrap();
    let name_space = "xmlns=\"http://www.w3.org/2000/svg\"";
    let rest = page.replace(name_space, "");
    for outside in ["http:", "https:", "url(", "@import", "<script", "<link", "src=\"/"] {
        assert!(!rest.contains(outside), "{outside}");
    }
}

#[test]
fn tags_are_balanced() {
    balanced(&Run::new(true).html("digits", "seed = 1", true).unwrap());
}

#[test]
#[should_panic(expected = "</p> closes <b>")]
fn the_check_of_tags_can_fail() {
    balanced("<p><b></p></b>");
}

#[test]
fn the_same_run_gives_the_same_bytes() {
    let page = || Run::new(true).html("digits", "seed = 1", true).unwrap();
    assert_eq!(page(), page());
}

#[test]
fn counts_that_differ_are_refused() {
    let mut run = Run::new(true);
    run.train_labels.pop();
    let error = run.html("digits", "", true).unwrap_err().to_string();
    assert_eq!(error, "the training split: wrong number of labels: expected 8, one for each sample, found 7");
    let mut run = Run::new(true);
    run.clusters.push(0);
    assert!(run.html("digits", "", true).unwrap_err().to_string().contains("cluster numbers"));
}

#[test]
fn colours_that_the_style_replaces_are_those_of_the_charts() {
    let page = Run::new(true).html("digits", "", true).unwrap();
    for colour in ["stroke=\"#D9DDE3\"", "fill=\"#57606A\""] {
        let (style, body) = page.split_once("</style>").unwrap();
        assert!(style.contains(colour) && body.contains(colour), "{colour}");
    }
}

/// Every tag that is opened is closed in its turn, every attribute's quotes too; void elements and `<x/>` aside.
fn balanced(page: &str) {
    const VOID: [&str; 3] = ["meta", "img", "!DOCTYPE"];
    let mut open: Vec<&str> = Vec::new();
    let (before, after) = page
        .split_once("<style>")
        .map_or((page, ""), |(before, style)| (before, style.split_once("</style>").expect("the style ends").1));
    for part in [before, after] {
        for tag in part.split('<').skip(1) {
            let (tag, text) = tag.split_once('>').unwrap_or_else(|| panic!("<{tag} never ends"));
            assert!(!text.contains('>'), "a bare > after <{tag}>");
            assert_eq!(tag.matches('"').count() % 2, 0, "quotes in <{tag}>");
            let name = tag.split([' ', '\n', '/']).find(|name| !name.is_empty()).expect("a tag has a name");
            if tag.starts_with('/') {
                let last = open.pop().unwrap_or_default();
                assert_eq!(last, name, "</{name}> closes <{last}>");
            } else if !tag.ends_with('/') && !VOID.contains(&name) {
                open.push(name);
            }
        }
    }
    assert!(open.is_empty(), "never closed: {open:?}");
}
