//! Single kernels over one symbol's million bars: `evaluate` with its NULL rules and output arrays, and `update`, which
//! takes all rows as one piece into buffers that are there.
//!
//! Against TA-Lib in C: `scripts/bench --jobs kernels`.
//!
//! `cargo bench --workspace --all-features --bench indicator -- sma`

// The macros of criterion make an undocumented public function.
#![allow(missing_docs)]

use std::hint::black_box;

use arrow::array::Float64Array;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use stockflow_benches::Bars;
use stockflow_core::indicator::kernel::{OutputBuffer, evaluate};
use stockflow_core::indicator::running::Out;
use stockflow_core::indicator::{IndicatorSpec, OutputKind, parse_list};

const ROWS: usize = 1_000_000;

/// The widely used ones. Periods of 20 and 200 show whether the cost of a bar depends on the period.
const INDICATORS: &[&str] = &[
    "sma(20)",
    "sma(200)",
    "ema(12)",
    "ema(200)",
    "wma(20)",
    "wma(200)",
    "dema(20)",
    "tema(20)",
    "trima(20)",
    "kama(20)",
    "bbands(20)",
    "macd",
    "rsi(14)",
    "stoch",
    "stochf",
    "stochrsi",
    "adx(14)",
    "plus_di(14)",
    "minus_di(14)",
    "cci(14)",
    "mom(10)",
    "roc(10)",
    "willr(14)",
    "mfi(14)",
    "aroon(14)",
    "atr(14)",
    "natr(14)",
    "trange",
    "obv",
    "ad",
    "adosc",
    "sar",
    "stddev(20)",
    "stddev(200)",
];

fn indicators(criterion: &mut Criterion) {
    let bars = Bars::generate(ROWS);
    let specs = parse_list(INDICATORS).expect("the list above is valid");
    for (text, spec) in INDICATORS.iter().zip(&specs) {
        let inputs: Vec<Float64Array> = spec.inputs().iter().map(|name| bars.column(name).to_vec().into()).collect();
        let inputs: Vec<&Float64Array> = inputs.iter().collect();
        let mut group = criterion.benchmark_group(format!("indicator/{}", spec.call().definition().name));
        group.throughput(Throughput::Elements(ROWS as u64)).sample_size(20);
        group.bench_function(id("evaluate", text, spec), |bencher| {
            bencher.iter(|| evaluate(spec.call(), black_box(&inputs)).expect("valid inputs"));
        });
        // Functions that need all rows at once have no such form.
        if spec.call().goes_piece_by_piece() {
            let slices: Vec<&[f64]> = inputs.iter().map(|it| it.values().as_ref()).collect();
            let mut outputs = buffers(spec);
            group.bench_function(id("update", text, spec), |bencher| {
                bencher.iter(|| {
                    let mut running = spec.call().start().expect("it goes piece by piece");
                    let mut places: Vec<Out<'_>> = outputs.iter_mut().map(OutputBuffer::as_out).collect();
                    running.update(black_box(&slices), &mut places).expect("valid inputs");
                    black_box(&mut places);
                });
            });
        }
        group.finish();
    }
}

fn buffers(spec: &IndicatorSpec) -> Vec<OutputBuffer> {
    let outputs = spec.call().definition().outputs.iter();
    outputs
        .map(|it| match it.kind {
            OutputKind::Float64 => OutputBuffer::Real(vec![0.0; ROWS]),
            OutputKind::Int32 => OutputBuffer::Integer(vec![0; ROWS]),
        })
        .collect()
}

/// The form, and `period=20` where a period is given, else `default`.
fn id(form: &str, text: &str, spec: &IndicatorSpec) -> BenchmarkId {
    match spec.call().values().first().filter(|_| text.contains('(')) {
        Some(period) => BenchmarkId::new(form, format!("period={period}")),
        None => BenchmarkId::new(form, "default"),
    }
}

criterion_group!(benches, indicators);
criterion_main!(benches);
