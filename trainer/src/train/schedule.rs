//! The learning rate over time: a linear warm-up, then a cosine down to a fraction of the peak.

use super::TrainSpec;

/// Learning rate as a function of the step.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    peak: f64,
    end: f64,
    warmup: usize,
    total: usize,
}

impl Schedule {
    /// The recipe's schedule for epochs of `steps` batches.
    pub fn new(spec: &TrainSpec, steps: usize) -> Self {
        let peak = spec.optimizer.rate();
        Self {
            peak,
            end: peak * spec.final_rate,
            warmup: spec.warmup.min(spec.epochs) * steps,
            total: spec.epochs * steps,
        }
    }

    /// The rate at a step, counted from 0 over the whole run.
    pub fn rate(&self, step: usize) -> f64 {
        if step < self.warmup {
            return self.peak * (step + 1) as f64 / self.warmup as f64;
        }
        let done = (step - self.warmup) as f64 / (self.total - self.warmup).max(1) as f64;
        let cosine = (1.0 + (std::f64::consts::PI * done.min(1.0)).cos()) / 2.0;
        self.end + (self.peak - self.end) * cosine
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_to_the_peak_then_falls_to_the_end() {
        let schedule = Schedule { peak: 2.0, end: 0.02, warmup: 10, total: 110 };
        assert!((schedule.rate(0) - 0.2).abs() < 1e-12);
        assert!((schedule.rate(9) - 2.0).abs() < 1e-12);
        assert!((schedule.rate(60) - 1.01).abs() < 1e-12);
        assert!((schedule.rate(110) - 0.02).abs() < 1e-12);
        assert!((10..109).all(|step| schedule.rate(step) >= schedule.rate(step + 1)));
    }
}
