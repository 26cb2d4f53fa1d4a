//! Answers a host over the serial line: `eigenlet_shared::link` has the messages.
#![no_std]
#![no_main]

use eigenlet_firmware::{
    board::{self, ARENA, Serial},
    entry, singleton,
    slot::{self, SlotError},
};
use eigenlet_runtime::{Arena, Dims, EncoderError, Expert, Features, Model, Raw, Sample, VerifyError};
use eigenlet_shared::link::{
    self, Hello, MAX_CONTENT, MAX_FRAME, ModelInfo, NoModel, Receiver, Refusal, Request, Response, VERSION,
};

/// The longest embedding or code that an answer holds, with room for what stands around it.
const OUTPUT: usize = MAX_CONTENT - 32;

/// The most indices that a sample in a frame has.
const INDICES: usize = MAX_CONTENT / 2;

/// The memory that serving takes, apart from the stack.
struct Buffers {
    receiver: Receiver,
    indices: [u16; INDICES],
    frame: [u8; MAX_FRAME],
    output: [u8; OUTPUT],
    arena: Arena<ARENA>,
}

#[entry]
fn main() -> ! {
    let buffers = singleton!(: Buffers = Buffers {
        receiver: Receiver::new(),
        indices: [0; INDICES],
        frame: [0; MAX_FRAME],
        output: [0; OUTPUT],
        arena: Arena::new(),
    });
    let Some(buffers) = buffers else { board::exit(false) };
    let slot = find_model();
    let mut serial = Serial::open();
    defmt::info!("eigenlet serves on {}", board::NAME);
    loop {
        let content = match buffers.receiver.push(serial.read()) {
            None => continue,
            Some(Ok(content)) => content,
            Some(Err(error)) => {
                defmt::warn!("dropped: {}", defmt::Display2Format(&error));
                continue;
            }
        };
        let (sequence, response) = match link::decode(content) {
            Ok((sequence, request)) => {
                let response = match &slot {
                    Ok(model) => {
                        let run = Run { model, arena: buffers.arena.bytes(), indices: &mut buffers.indices };
                        answer(request, run, &mut buffers.output)
                    }
                    Err(_) if matches!(request, Request::Hello) => Ok(hello(slot.as_ref())),
                    Err(reason) => Err(Refusal::NoModel(*reason)),
                };
                (sequence, response.unwrap_or_else(Response::Refused))
            }
            Err(_) => (content.first().copied().unwrap_or(0), Response::Refused(Refusal::NotUnderstood)),
        };
        match link::encode(sequence, &response, &mut buffers.frame) {
            Ok(frame) => serial.write(frame),
            Err(error) => defmt::error!("no answer: {}", defmt::Display2Format(&error)),
        }
    }
}

/// The model in the slot, if this firmware can serve it; the log says what it found.
fn find_model() -> Result<Model<'static>, NoModel> {
    let start = slot::region().as_ptr();
    let model = match slot::model() {
        Ok(model) => model,
        Err(SlotError::Absent) => {
            defmt::warn!("no model: the slot at {} is erased", start);
            return Err(NoModel::Absent);
        }
        Err(SlotError::Damaged(error)) => {
            defmt::error!("no usable model in the slot at {}: {}", start, defmt::Display2Format(&error));
            return Err(NoModel::Damaged);
        }
    };
    let (expected, found) = (model.arena_bytes() as u32, ARENA as u32);
    if expected > found {
        defmt::error!("the model needs {} bytes of activations, the firmware has {}", expected, found);
        return Err(NoModel::Arena { expected, found });
    }
    Ok(model)
}

fn hello(slot: Result<&Model, &NoModel>) -> Response<'static> {
    let model = slot.map_err(|reason| *reason).map(|model| ModelInfo {
        raw: model.raw(),
        sample: model.input_len() as u32,
        dims: model.dims(),
        bits: model.bits(),
        clusters: model.clusters(),
        expert_dims: model.expert_dims(),
        golden: model.golden_count(),
    });
    Response::Hello(Hello { version: VERSION, arena: ARENA as u32, model })
}

/// A model and the memory that it runs in.
struct Run<'a> {
    model: &'a Model<'a>,
    arena: &'a mut [i8],
    indices: &'a mut [u16],
}

impl<'a> Run<'a> {
    /// The layers' output on a sample as it came over the line.
    fn features(self, sample: &[u8]) -> Result<Features<'a>, Refusal> {
        let sample = match self.model.raw() {
            Raw::U8 => Sample::Bytes(sample),
            Raw::Indices => {
                let cut = Refusal::Index { position: sample.len() as u32 / 2 };
                Sample::Indices(link::indices(sample, self.indices).map_err(|_| cut)?)
            }
        };
        self.model.run_sample(self.arena, sample).map_err(refusal)
    }
}

fn answer<'o>(request: Request, run: Run, output: &'o mut [u8]) -> Result<Response<'o>, Refusal> {
    let model = run.model;
    match request {
        Request::Hello => Ok(hello(Ok(model))),
        Request::Verify => match model.verify(run.arena) {
            Ok(samples) => Ok(Response::Verified { samples }),
            Err(VerifyError::Mismatch { sample, .. }) => Err(Refusal::Golden { sample }),
            Err(_) => Err(Refusal::NoHead),
        },
        Request::Embed { dims, sample } => {
            let mut features = run.features(sample)?;
            let embedding = features.embed(Dims::new(dims)).map_err(refusal)?;
            Ok(Response::Embedding(bytes(output, embedding)?))
        }
        Request::Hash { sample } => {
            let code = part(output, usize::from(model.bits()).div_ceil(8))?;
            let mut features = run.features(sample)?;
            features.hash_into(model.bits(), code).map_err(refusal)?;
            Ok(Response::Code(code))
        }
        Request::Assign { sample } => {
            let cluster = run.features(sample)?.assign().map_err(refusal)?;
            Ok(Response::Cluster { id: cluster.id, margin: cluster.margin })
        }
        Request::Expert { dims, sample } => {
            let mut features = run.features(sample)?;
            let Expert { id, margin, score, embedding } = features.expert(Dims::new(dims)).map_err(refusal)?;
            Ok(Response::Expert { id, margin, score, embedding: bytes(output, embedding)? })
        }
    }
}

fn part(output: &mut [u8], length: usize) -> Result<&mut [u8], Refusal> {
    output.get_mut(..length).ok_or(Refusal::TooLong)
}

/// The values as bytes, in `output`.
fn bytes<'o>(output: &'o mut [u8], values: &[i8]) -> Result<&'o [u8], Refusal> {
    let output = part(output, values.len())?;
    output.iter_mut().zip(values).for_each(|(to, value)| *to = *value as u8);
    Ok(output)
}

fn refusal(error: EncoderError) -> Refusal {
    match error {
        EncoderError::Sample { expected, found } => Refusal::Sample { expected: expected as u32, found: found as u32 },
        EncoderError::Index { position, .. } => Refusal::Index { position: position as u32 },
        EncoderError::Dims { expected, found } => Refusal::Dims { expected, found: found as u16 },
        EncoderError::Arena { expected, found } => {
            Refusal::NoModel(NoModel::Arena { expected: expected as u32, found: found as u32 })
        }
        EncoderError::NoHead(_) => Refusal::NoHead,
        _ => Refusal::NotUnderstood,
    }
}
