//! Single kernels over one long series, timed: our side of `benches/kernels.py`.
//!
//! ```text
//! kernels --input BARS.f64 [--output FOLDER] [--repeats 5] 'sma(20)' macd …
//! ```
//!
//! The input is plain doubles, little-endian: open, high, low, close, volume, one column after the other.
//! Each call starts a series, allocates its outputs and takes all rows as one piece; the best of the repeats counts.
//! Prints one JSON line, function -> `seconds` (all of that) and `update` (the same into buffers that are there), and
//! writes what the last call gave as doubles, column after column, NaN within the lookback.

use std::error::Error;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use stockflow_core::indicator::kernel::OutputBuffer;
use stockflow_core::indicator::running::Out;
use stockflow_core::indicator::{IndicatorSpec, OutputKind};

/// In the order of the file.
const COLUMNS: &[&str] = &["open", "high", "low", "close", "volume"];

type Outcome<T> = Result<T, Box<dyn Error>>;

struct Arguments {
    input: PathBuf,
    output: Option<PathBuf>,
    repeats: u32,
    specs: Vec<IndicatorSpec>,
}

/// What the calls of one function took at best.
struct Times {
    /// With the outputs allocated.
    seconds: Duration,
    /// Without.
    update: Duration,
}

fn main() -> Outcome<()> {
    let arguments = arguments()?;
    let numbers = read(&arguments.input)?;
    let columns: Vec<&[f64]> = numbers.chunks_exact((numbers.len() / COLUMNS.len()).max(1)).collect();
    let mut entries = Vec::new();
    for spec in &arguments.specs {
        let inputs = spec.inputs().iter().map(|name| column(&columns, name)).collect::<Outcome<Vec<_>>>()?;
        let name = &spec.call().definition().name;
        entries.push(match time(spec, &inputs, arguments.repeats)? {
            Some((times, outputs)) => {
                if let Some(folder) = &arguments.output {
                    write(&folder.join(format!("{name}.f64")), spec.call().lookback(), &outputs)?;
                }
                let (seconds, update) = (times.seconds.as_secs_f64(), times.update.as_secs_f64());
                format!("\"{name}\": {{\"seconds\": {seconds:e}, \"update\": {update:e}}}")
            }
            // Told, so that nobody takes TA-Lib's own batch for ours.
            None => format!("\"{name}\": {{\"seconds\": null, \"update\": null}}"),
        });
    }
    println!("{{{}}}", entries.join(", "));
    Ok(())
}

fn arguments() -> Outcome<Arguments> {
    let (mut input, mut output, mut repeats, mut specs) = (None, None, 5, Vec::new());
    let mut given = std::env::args().skip(1);
    while let Some(argument) = given.next() {
        let mut value = || given.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--input" => input = Some(PathBuf::from(value()?)),
            "--output" => output = Some(PathBuf::from(value()?)),
            "--repeats" => repeats = value()?.parse()?,
            call => specs.push(call.parse()?),
        }
    }
    Ok(Arguments { input: input.ok_or("--input is missing")?, output, repeats: repeats.max(1), specs })
}

fn read(path: &Path) -> Outcome<Vec<f64>> {
    let bytes = std::fs::read(path)?;
    let numbers = bytes.chunks_exact(size_of::<f64>()).map(|it| it.try_into().map(f64::from_le_bytes));
    Ok(numbers.collect::<Result<_, _>>()?)
}

fn column<'a>(columns: &[&'a [f64]], name: &str) -> Outcome<&'a [f64]> {
    let at = COLUMNS.iter().position(|it| *it == name).ok_or(format!("no column `{name}`"))?;
    Ok(columns.get(at).copied().ok_or("the input is too short")?)
}

/// Times the calls and gives the outputs of the last; `None` where the function does not go piece by piece.
fn time(spec: &IndicatorSpec, inputs: &[&[f64]], repeats: u32) -> Outcome<Option<(Times, Vec<OutputBuffer>)>> {
    let rows = inputs.first().map_or(0, |it| it.len());
    let mut times = Times { seconds: Duration::MAX, update: Duration::MAX };
    let mut outputs = Vec::new();
    for _ in 0..repeats {
        // Memory is given back outside of the time, as the peer's is.
        drop(std::mem::take(&mut outputs));
        let start = Instant::now();
        outputs = allocate(spec, rows);
        let Some(()) = update(spec, inputs, &mut outputs)? else { return Ok(None) };
        times.seconds = times.seconds.min(start.elapsed());
    }
    for _ in 0..repeats {
        let start = Instant::now();
        update(spec, inputs, &mut outputs)?;
        times.update = times.update.min(start.elapsed());
    }
    Ok(Some((times, outputs)))
}

fn allocate(spec: &IndicatorSpec, rows: usize) -> Vec<OutputBuffer> {
    let outputs = spec.call().definition().outputs.iter();
    outputs
        .map(|it| match it.kind {
            OutputKind::Float64 => OutputBuffer::Real(vec![0.0; rows]),
            OutputKind::Int32 => OutputBuffer::Integer(vec![0; rows]),
        })
        .collect()
}

/// A series from its start, all rows as one piece.
fn update(spec: &IndicatorSpec, inputs: &[&[f64]], outputs: &mut [OutputBuffer]) -> Outcome<Option<()>> {
    let Some(mut running) = spec.call().start() else { return Ok(None) };
    let mut places: Vec<Out<'_>> = outputs.iter_mut().map(OutputBuffer::as_out).collect();
    running.update(black_box(inputs), &mut places)?;
    black_box(&mut places);
    Ok(Some(()))
}

fn write(path: &Path, lookback: usize, outputs: &[OutputBuffer]) -> Outcome<()> {
    let mut bytes = Vec::new();
    for output in outputs {
        let values: Vec<f64> = match output {
            OutputBuffer::Real(values) => values.clone(),
            OutputBuffer::Integer(values) => values.iter().copied().map(f64::from).collect(),
        };
        let seen = |(row, value)| if row < lookback { f64::NAN } else { value };
        bytes.extend(values.into_iter().enumerate().map(seen).flat_map(f64::to_le_bytes));
    }
    Ok(std::fs::write(path, bytes)?)
}
