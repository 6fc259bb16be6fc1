//! TA-Lib's own registry as definitions, and its batch calls as kernels.
//!
//! Source: the crate `ta-lib`, pinned exactly, because its answers still move between patch versions.
//! The golden values are the guard.

use std::sync::{Arc, LazyLock};

use ta_lib::Core;
use ta_lib::abstract_api::{FuncFlags, FuncId, FuncInfo, InputFlags, InputInfo, InputType, OptInputType, OutputType};

use super::definition::{
    BarColumn, Definition, Domain, Flag, Input, Output, OutputKind, Parameter, State, StateKind, Value,
};
use super::functions::{stateless, unit, window};
use super::kernel::Kernel;
use super::running::{Out, Running};

/// Version of the crate behind the kernels, and of our own kernels and what they save: part of the fingerprint of any state.
pub const KERNEL_VERSION: &str = "ta-lib 0.8.3, stockflow 1";

/// No unstable period, default candle thresholds: what every other user of TA-Lib gets, too.
static CORE: LazyLock<Core> = LazyLock::new(Core::new);

/// A code that asks for the default instead of being a value of its own; leave the parameter out for that.
const DEFAULT_CODE: &str = "DEFAULT";

/// The registry's entry as a definition.
pub(crate) fn definition(info: &'static FuncInfo) -> Definition {
    let name = info.name.to_lowercase();
    let plain = !SQL_NAMES.contains(&name.as_str());
    let mut aliases = Vec::new();
    if plain {
        aliases.push(format!("ta_{name}"));
    }
    if let Some(pattern) = name.strip_prefix("cdl").filter(|_| info.flags.contains(FuncFlags::CANDLESTICK)) {
        aliases.push(format!("cdl_{pattern}"));
    }
    Definition {
        sql_name: if plain { name.clone() } else { format!("ta_{name}") },
        aliases,
        group: info.group.as_str().to_string(),
        description: info.hint.to_string(),
        inputs: inputs(info),
        parameters: info.opt_inputs.iter().map(parameter).collect(),
        outputs: outputs(info, &name),
        flags: flags(info),
        state: state(&name),
        kernel: Arc::new(TaLib { id: info.id, name: name.clone() }),
        name,
    }
}

/// Names that SQL has for something else or for the plain function: there ours is `ta_<name>` only.
///
/// `stddev` and `var` are sample values in SQL and population values here, so the plain names must not change hands.
pub(crate) const SQL_NAMES: [&str; 27] = [
    "acos",
    "add",
    "asin",
    "atan",
    "ceil",
    "correl",
    "cos",
    "cosh",
    "div",
    "exp",
    "floor",
    "ln",
    "log10",
    "max",
    "median",
    "min",
    "mult",
    "percentile",
    "sin",
    "sinh",
    "sqrt",
    "stddev",
    "sub",
    "sum",
    "tan",
    "tanh",
    "var",
];

fn state(name: &str) -> State {
    match unit(name) {
        Some(unit) => State { kind: unit.kind, reason: unit.keeps },
        None if window::WINDOWED.binary_search(&name).is_ok() => {
            State { kind: StateKind::Window, reason: "the rows that it can still see" }
        }
        None => State { kind: StateKind::History, reason: stateless::reason(name) },
    }
}

fn inputs(info: &FuncInfo) -> Vec<Input> {
    info.inputs.iter().flat_map(input).collect()
}

fn input(info: &InputInfo) -> Vec<Input> {
    match info.kind {
        InputType::Price => price_columns(info.flags).map(|it| Input::new(it.as_str(), Some(it), false)).collect(),
        InputType::Real | InputType::Integer => {
            let name = info.param_name.strip_prefix("in").unwrap_or(info.param_name).to_lowercase();
            // The pair is what TA-Lib's own abstract interface picks; any two series will do.
            let column = match name.as_str() {
                "real" => Some(BarColumn::Close),
                "real0" => Some(BarColumn::High),
                "real1" => Some(BarColumn::Low),
                _ => None,
            };
            vec![Input::new(name, column, true)]
        }
    }
}

/// The parts of a bar that a price bundle reads, in the registry's order.
fn price_columns(flags: InputFlags) -> impl Iterator<Item = BarColumn> {
    PRICE_BUNDLE.into_iter().filter(move |(flag, _)| flags.contains(*flag)).map(|(_, column)| column)
}

const PRICE_BUNDLE: [(InputFlags, BarColumn); 5] = [
    (InputFlags::PRICE_OPEN, BarColumn::Open),
    (InputFlags::PRICE_HIGH, BarColumn::High),
    (InputFlags::PRICE_LOW, BarColumn::Low),
    (InputFlags::PRICE_CLOSE, BarColumn::Close),
    (InputFlags::PRICE_VOLUME, BarColumn::Volume),
];

fn parameter(info: &ta_lib::abstract_api::OptInputInfo) -> Parameter {
    let domain = match info.kind {
        OptInputType::RealRange { min, max, default, .. } => Domain::Real { min, max, default },
        OptInputType::IntegerRange { min, max, default, .. } => Domain::Integer { min, max, default },
        OptInputType::IntegerList { values, default } => Domain::Choice {
            choices: values
                .iter()
                .filter(|(_, name)| *name != DEFAULT_CODE)
                .map(|(code, name)| (*code as i32, name.to_lowercase()))
                .collect(),
            default: default as i32,
        },
        // The registry has none today; a list of reals would be read as its range.
        OptInputType::RealList { values, default } => Domain::Real {
            min: values.iter().map(|(it, _)| *it).fold(default, f64::min),
            max: values.iter().map(|(it, _)| *it).fold(default, f64::max),
            default,
        },
    };
    Parameter {
        name: info.param_name.strip_prefix("optIn").unwrap_or(info.param_name).to_lowercase(),
        description: info.hint.to_string(),
        domain,
    }
}

fn outputs(info: &FuncInfo, function: &str) -> Vec<Output> {
    let natives: Vec<_> = info.outputs.iter().map(|it| native_name(it.param_name)).collect();
    let single = natives.len() == 1;
    let main_line = natives.first().cloned().unwrap_or_default();
    let is_shared = natives.iter().skip(1).any(|it| it.starts_with(&main_line));
    let named = natives.into_iter().zip(info.outputs);
    named
        .map(|(native, output)| Output {
            name: if single {
                "value".to_string()
            } else {
                short_name(&native, function, is_shared.then_some(main_line.as_str()))
            },
            native,
            kind: match output.kind {
                OutputType::Real => OutputKind::Float64,
                OutputType::Integer => OutputKind::Int32,
            },
        })
        .collect()
}

/// `outRealUpperBand` is `upperband`, `outReal` is `real`.
fn native_name(name: &str) -> String {
    let name = name.strip_prefix("out").unwrap_or(name);
    name.strip_prefix("Real").filter(|rest| !rest.is_empty()).unwrap_or(name).to_lowercase()
}

/// Says no more than is needed beside the function's name: `macdsignal` is `signal`, `upperband` is `upper`.
fn short_name(native: &str, function: &str, main_line: Option<&str>) -> String {
    let rest = |prefix: &str| native.strip_prefix(prefix).filter(|it| !it.is_empty());
    let name = rest(function).or_else(|| main_line.and_then(rest)).unwrap_or(native);
    name.strip_suffix("band").filter(|it| !it.is_empty()).unwrap_or(name).to_string()
}

fn flags(info: &FuncInfo) -> Vec<Flag> {
    [
        (FuncFlags::OVERLAP, Flag::Overlap),
        (FuncFlags::VOLUME, Flag::Volume),
        (FuncFlags::UNSTABLE_PERIOD, Flag::Unstable),
        (FuncFlags::CANDLESTICK, Flag::Candlestick),
        (FuncFlags::PATH_DEPENDENT, Flag::PathDependent),
        (FuncFlags::NAN_INF_OUTPUT, Flag::NanOutput),
        (FuncFlags::PERIOD1_IDENTITY, Flag::Period1Identity),
        (FuncFlags::DISPLAY_SHIFT, Flag::DisplayShift),
        (FuncFlags::USES_TRANSCENDENTAL, Flag::Transcendental),
        (FuncFlags::POSITIVE_INPUT, Flag::PositiveInput),
    ]
    .into_iter()
    .filter_map(|(theirs, ours)| info.flags.contains(theirs).then_some(ours))
    .collect()
}

/// A function of TA-Lib, called through its registry.
#[derive(Debug, Clone)]
struct TaLib {
    id: FuncId,
    name: String,
}

impl TaLib {
    fn bind<'a>(&self, values: &[Value]) -> Result<ta_lib::abstract_api::ParamHolder<'a>, String> {
        let mut call = self.id.new_call(&CORE);
        for (index, value) in values.iter().enumerate() {
            match value {
                Value::Integer(value) => call.set_opt_input(index, *value),
                Value::Real(value) => call.set_opt_input(index, *value),
            }
            .map_err(|code| format!("{code:?}"))?;
        }
        Ok(call)
    }
}

impl Kernel for TaLib {
    fn lookback(&self, values: &[Value]) -> Result<usize, String> {
        self.bind(values)?.lookback().map_err(|code| format!("{code:?}"))
    }

    fn run(&self, values: &[Value], inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let rows = inputs.first().map_or(0, |it| it.len());
        if rows == 0 || rows - 1 > Core::INDEX_MAX {
            return Err(format!("{rows} rows in one partition, at most {} can be computed", Core::INDEX_MAX));
        }
        let lookback = self.lookback(values)?;
        let mut call = self.bind(values)?;
        let mut series = inputs.iter().copied();
        for (slot, info) in self.id.info().inputs.iter().enumerate() {
            if info.kind == InputType::Price {
                let mut part = |flag| if info.flags.contains(flag) { series.next() } else { None };
                let [open, high, low, close, volume] = PRICE_BUNDLE.map(|(flag, _)| part(flag));
                call.set_price_input(slot, open, high, low, close, volume, None)
            } else {
                call.set_input(slot, series.next().unwrap_or_default())
            }
            .map_err(|code| format!("{code:?}"))?;
        }
        for (index, output) in outputs.iter_mut().enumerate() {
            match output {
                Out::Real(out) => call.set_output(index, &mut out[lookback..]),
                Out::Integer(out) => call.set_int_output(index, &mut out[lookback..]),
            }
            .map_err(|code| format!("{code:?}"))?;
        }
        let range = call.call(0, rows - 1).map_err(|code| format!("{code:?}"))?;
        if range.beg_idx != lookback || range.beg_idx + range.count != rows {
            return Err(format!("{rows} rows and a lookback of {lookback} gave {range:?}"));
        }
        Ok(())
    }

    fn start(&self, values: &[Value]) -> Option<Box<dyn Running>> {
        if let Some(unit) = unit(&self.name) {
            return (unit.start)(values);
        }
        window::WINDOWED.binary_search(&self.name.as_str()).ok()?;
        let n_inputs = inputs(self.id.info()).len();
        let running = window::Windowed::new(&self.name, Arc::new(self.clone()), values, n_inputs)?;
        Some(Box::new(running))
    }
}
