//! A progress bar on a terminal, plain lines elsewhere; Ctrl-C stops after the current batch.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};

use crate::error::{Error, Result};
use crate::run::Progress;
use crate::train::Epoch;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
/// Whether batches are running, so that an interruption will be noticed soon.
static TRAINING: AtomicBool = AtomicBool::new(false);

/// Lines that a long training prints where there is no terminal.
const LINES: usize = 20;

/// Progress on stderr.
pub struct Bar {
    bar: Option<ProgressBar>,
    terminal: bool,
    stage: Instant,
    loss: Option<f64>,
    epochs: usize,
}

impl Bar {
    /// For a training of so many epochs. Takes over Ctrl-C.
    pub fn new(epochs: usize) -> Self {
        // Outside training, and the second time, Ctrl-C ends the process at once: files are whole at any moment. Where no
        // handler can be set, it does so anyway.
        let _ = ctrlc::set_handler(|| {
            if INTERRUPTED.swap(true, Ordering::SeqCst) || !TRAINING.load(Ordering::SeqCst) {
                std::process::exit(130);
            }
        });
        let terminal = std::io::stderr().is_terminal();
        Self { bar: None, terminal, stage: Instant::now(), loss: None, epochs }
    }

    fn finish_stage(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.finish_stage();
    }
}

impl Progress for Bar {
    fn stage(&mut self, name: &str) {
        TRAINING.store(false, Ordering::SeqCst);
        self.finish_stage();
        self.stage = Instant::now();
        if self.terminal {
            let bar = ProgressBar::new_spinner().with_message(name.to_string());
            bar.enable_steady_tick(std::time::Duration::from_millis(120));
            self.bar = Some(bar);
        } else {
            eprintln!("{name}");
        }
    }

    fn batch(&mut self, epoch: usize, step: usize, steps: usize) -> Result<()> {
        TRAINING.store(true, Ordering::SeqCst);
        if INTERRUPTED.load(Ordering::SeqCst) {
            return Err(Error::Interrupted(String::new()));
        }
        if self.terminal {
            let total = (self.epochs * steps) as u64;
            if self.bar.as_ref().is_none_or(|bar| bar.length() != Some(total)) {
                self.finish_stage();
                let template = "{bar:32} epoch {msg}  {elapsed} of about {duration}";
                let style = ProgressStyle::with_template(template).expect("a fixed template");
                let bar = ProgressBar::new(total).with_style(style);
                bar.set_position((epoch * steps) as u64);
                bar.reset_eta();
                self.bar = Some(bar);
            }
            if let Some(bar) = &self.bar {
                let loss = self.loss.map_or(String::new(), |loss| format!("  loss {loss:.3}"));
                bar.set_message(format!("{}/{}{loss}", epoch + 1, self.epochs));
                bar.set_position((epoch * steps + step + 1) as u64);
            }
        }
        Ok(())
    }

    fn epoch(&mut self, epoch: &Epoch, epochs: usize) {
        self.loss = Some(epoch.loss);
        let every = epochs.div_ceil(LINES).max(1);
        if !self.terminal && (epoch.epoch.is_multiple_of(every) || epoch.epoch == epochs) {
            eprintln!(
                "epoch {}/{epochs}  loss {:.4}  {:.1} s",
                epoch.epoch,
                epoch.loss,
                self.stage.elapsed().as_secs_f64()
            );
        }
    }

    fn note(&mut self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }
}
