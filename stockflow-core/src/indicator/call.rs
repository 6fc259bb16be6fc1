//! A function with the values of its parameters, checked once; and its form in a config file.

use std::fmt;
use std::str::FromStr;

use super::catalogue::catalogue;
use super::definition::{Definition, Output, Parameter, Value};
use super::error::IndicatorError;
use super::running::Running;

/// A function and a valid value for each of its parameters.
#[derive(Debug, Clone)]
pub struct IndicatorCall {
    definition: &'static Definition,
    values: Vec<Value>,
    lookback: usize,
}

impl IndicatorCall {
    /// A function with parameters in their order; those that are left out on the right take their defaults.
    ///
    /// # Errors
    ///
    /// [`IndicatorError::Parameter`] if a value is outside its range, [`IndicatorError::Call`] if there are too many
    /// or their combination has no meaning.
    pub fn new(definition: &'static Definition, given: &[Value]) -> Result<Self, IndicatorError> {
        if given.len() > definition.parameters.len() {
            return Err(too_many(definition, given.len()));
        }
        let mut values = definition.defaults();
        for ((place, parameter), value) in values.iter_mut().zip(&definition.parameters).zip(given) {
            *place = parameter.check(&definition.name, *value)?;
        }
        Ok(Self { definition, lookback: definition.lookback(&values)?, values })
    }

    /// The same by name: `IndicatorCall::named("rsi", &[Value::Integer(14)])`.
    ///
    /// # Errors
    ///
    /// [`IndicatorError::Unknown`], else as [`IndicatorCall::new`].
    pub fn named(name: &str, given: &[Value]) -> Result<Self, IndicatorError> {
        Self::new(catalogue().get(name)?, given)
    }

    /// What the function is.
    pub fn definition(&self) -> &'static Definition {
        self.definition
    }

    /// All values, in the order of the parameters.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// Rows before the first value.
    pub fn lookback(&self) -> usize {
        self.lookback
    }

    /// A series at its start, which takes its rows piece by piece; `None` where all rows are needed at once.
    pub fn start(&self) -> Option<Box<dyn Running>> {
        self.definition.kernel.start(&self.values)
    }

    /// Whether it takes the rows of a series piece by piece, and what it needs to go on can be saved.
    pub fn goes_piece_by_piece(&self) -> bool {
        self.start().is_some()
    }

    /// Name and all values, defaults included: `macd(12,26,9)`. The same for however the call was written.
    pub fn canonical(&self) -> String {
        let values: Vec<_> = self.values.iter().map(Value::to_string).collect();
        format!("{}({})", self.definition.name, values.join(","))
    }

    /// The values that are worth saying.
    fn spoken(&self) -> &[Value] {
        &self.values[..n_spoken(self.definition, &self.values)]
    }
}

impl PartialEq for IndicatorCall {
    fn eq(&self, other: &Self) -> bool {
        self.definition.name == other.definition.name && self.values == other.values
    }
}

impl fmt::Display for IndicatorCall {
    /// As in a config file: `rsi(14)`, `macd`, `bbands(10, 2.5)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<_> = self.definition.parameters.iter().zip(self.spoken()).map(|(p, v)| p.show(*v)).collect();
        f.write_str(&self.definition.name)?;
        if shown.is_empty() { Ok(()) } else { write!(f, "({})", shown.join(", ")) }
    }
}

/// One entry of a list of indicators: a call, the columns that it reads, and the columns that it writes.
///
/// Text form: `sma(20)`, `macd`, `bbands(20, 2.5)`, `bbands(nbdevup = 2.5)`, `apo(12, 26, sma)`,
/// `ema(12, input = high)`, `sma(200) as slow`.
#[derive(Debug, Clone, PartialEq)]
pub struct IndicatorSpec {
    call: IndicatorCall,
    inputs: Vec<String>,
    name: Option<String>,
}

impl IndicatorSpec {
    /// A call over the usual columns of a bar.
    ///
    /// # Errors
    ///
    /// [`IndicatorError::Call`] if there is no usual column for one of its inputs (`mavp`'s periods).
    pub fn new(call: IndicatorCall) -> Result<Self, IndicatorError> {
        Self::with_inputs(call, &[])
    }

    /// A call that reads the named columns instead: pairs of an input's name and a column's.
    /// The name `input` stands for the first input where any series will do.
    ///
    /// # Errors
    ///
    /// [`IndicatorError::Parameter`] if the function has no such input, [`IndicatorError::Call`] if one is missing.
    pub fn with_inputs(call: IndicatorCall, named: &[(&str, &str)]) -> Result<Self, IndicatorError> {
        let definition = call.definition;
        let mut columns: Vec<_> =
            definition.inputs.iter().map(|it| it.column.map(|c| c.as_str().to_string())).collect();
        for (name, column) in named {
            let index = input_index(definition, name)
                .ok_or_else(|| IndicatorError::parameter(&definition.name, name, unknown_argument(definition, name)))?;
            columns[index] = Some((*column).to_string());
        }
        let missing = definition.inputs.iter().zip(&columns).find(|(_, column)| column.is_none());
        if let Some((input, _)) = missing {
            let reason = format!("say which column holds its {0}: `{0} = COLUMN`", input.name);
            return Err(IndicatorError::call(&definition.name, reason));
        }
        Ok(Self { call, inputs: columns.into_iter().flatten().collect(), name: None })
    }

    /// Names the output columns: `slow`, or `slow_signal` and so on where there are several.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The function and its values.
    pub fn call(&self) -> &IndicatorCall {
        &self.call
    }

    /// The columns that it reads, in the order of the function's inputs.
    pub fn inputs(&self) -> &[String] {
        &self.inputs
    }

    /// The columns that it writes, in the order of the function's outputs.
    ///
    /// One output: the name and the parameters up to the last that is not at its default, with a `timeperiod` always
    /// (`sma_20`, `rsi_14`, `obv`, `apo_10_20`).
    /// Several: the same with the output's name after it, but no parameters while they are at their defaults
    /// (`macd`, `macd_signal`, `macd_hist`, `bbands_upper`, `bbands_10_upper`).
    /// Columns other than the usual ones are named, too (`ema_12_high`); `2.5` is written `2p5` and `-1` is `m1`.
    /// So two different entries never write the same column, unless `as` says so.
    pub fn columns(&self) -> Vec<String> {
        let definition = self.call.definition;
        let stem = self.name.clone().unwrap_or_else(|| {
            let stem = column_stem(definition, &self.call.values);
            self.unusual_inputs().fold(stem, |stem, (_, column)| format!("{stem}_{column}"))
        });
        with_outputs(definition, &stem)
    }

    fn unusual_inputs(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.call.definition.inputs.iter().zip(&self.inputs);
        pairs.filter(|(input, it)| input.usual_column() != it.as_str() || input.column.is_none()).map(|(input, it)| {
            let name = if input_index(self.call.definition, "input")
                .is_some_and(|i| self.call.definition.inputs[i].name == input.name)
            {
                "input"
            } else {
                input.name.as_str()
            };
            (name, it.as_str())
        })
    }
}

impl fmt::Display for IndicatorSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let definition = self.call.definition;
        let values = definition.parameters.iter().zip(self.call.spoken()).map(|(p, v)| p.show(*v));
        let inputs = self.unusual_inputs().map(|(input, column)| format!("{input} = {column}"));
        let arguments: Vec<_> = values.chain(inputs).collect();
        f.write_str(&definition.name)?;
        if !arguments.is_empty() {
            write!(f, "({})", arguments.join(", "))?;
        }
        self.name.as_ref().map_or(Ok(()), |name| write!(f, " as {name}"))
    }
}

impl FromStr for IndicatorSpec {
    type Err = IndicatorError;

    fn from_str(text: &str) -> Result<Self, IndicatorError> {
        let text = text.trim();
        let (head, name) = match split_name(text) {
            Some((head, name)) if is_identifier(name.trim()) => (head.trim(), Some(name.trim())),
            Some((_, name)) => {
                return Err(IndicatorError::syntax(text, format!("`{}` is no column name", name.trim())));
            }
            None => (text, None),
        };
        let (function, inner) = match head.split_once('(') {
            None => (head, ""),
            Some((function, rest)) => match rest.strip_suffix(')') {
                Some(inner) => (function.trim(), inner),
                None => return Err(IndicatorError::syntax(text, "the closing parenthesis is missing")),
            },
        };
        if !is_identifier(function) {
            return Err(IndicatorError::syntax(text, "write it like `sma(20)` or `macd`"));
        }
        let definition = catalogue().get(function)?;
        let (values, inputs) = parse_arguments(definition, text, inner)?;
        let call = IndicatorCall::new(definition, &values)?;
        let spec = Self::with_inputs(call, &inputs)?;
        Ok(match name {
            Some(name) => spec.with_name(name),
            None => spec,
        })
    }
}

impl TryFrom<String> for IndicatorSpec {
    type Error = IndicatorError;

    fn try_from(text: String) -> Result<Self, IndicatorError> {
        text.parse()
    }
}

impl From<IndicatorSpec> for String {
    fn from(spec: IndicatorSpec) -> Self {
        spec.to_string()
    }
}

impl serde::Serialize for IndicatorSpec {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for IndicatorSpec {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Reads a list of indicators and makes sure that no two of them write the same column.
///
/// # Errors
///
/// The first entry that cannot be read, or [`IndicatorError::SameColumn`].
pub fn parse_list<S: AsRef<str>>(texts: &[S]) -> Result<Vec<IndicatorSpec>, IndicatorError> {
    let specs = texts.iter().map(|it| it.as_ref().parse()).collect::<Result<Vec<IndicatorSpec>, _>>()?;
    check_columns(&specs)?;
    Ok(specs)
}

/// Makes sure that no two indicators write the same column.
///
/// # Errors
///
/// [`IndicatorError::SameColumn`] with both of them.
pub fn check_columns(specs: &[IndicatorSpec]) -> Result<(), IndicatorError> {
    let mut seen = std::collections::HashMap::new();
    for spec in specs {
        for column in spec.columns() {
            // Many readers of a table know no upper and lower case.
            if let Some(first) = seen.insert(column.to_lowercase(), spec) {
                return Err(IndicatorError::SameColumn { first: first.to_string(), second: spec.to_string(), column });
            }
        }
    }
    Ok(())
}

type Arguments<'a> = (Vec<Value>, Vec<(&'a str, &'a str)>);

fn parse_arguments<'a>(definition: &Definition, text: &str, inner: &'a str) -> Result<Arguments<'a>, IndicatorError> {
    let mut values = definition.defaults();
    let mut inputs = Vec::new();
    let mut seen = Vec::new();
    let mut is_named = false;
    let arguments = inner.split(',').map(str::trim).filter(|_| !inner.trim().is_empty());
    let n_given = inner.split(',').count();
    for (index, argument) in arguments.enumerate() {
        if argument.is_empty() {
            return Err(IndicatorError::syntax(text, "a comma has no argument beside it"));
        }
        let Some((name, value)) = argument.split_once('=') else {
            if is_named {
                return Err(IndicatorError::syntax(text, format!("`{argument}` stands after a named argument")));
            }
            let parameter = definition.parameters.get(index).ok_or_else(|| too_many(definition, n_given))?;
            values[index] = parameter.parse_text(&definition.name, argument)?;
            seen.push(parameter.name.to_ascii_lowercase());
            continue;
        };
        is_named = true;
        let (name, value) = (name.trim(), value.strip_prefix('>').unwrap_or(value).trim());
        let value = value.trim_matches('"');
        if seen.contains(&name.to_ascii_lowercase()) {
            return Err(IndicatorError::syntax(text, format!("`{name}` is given twice")));
        }
        seen.push(name.to_ascii_lowercase());
        if let Some(at) = definition.parameters.iter().position(|it| it.name.eq_ignore_ascii_case(name)) {
            values[at] = definition.parameters[at].parse_text(&definition.name, value)?;
        } else if value.is_empty() {
            return Err(IndicatorError::syntax(text, format!("`{name}` needs a column name")));
        } else {
            inputs.push((name, value));
        }
    }
    Ok((values, inputs))
}

fn input_index(definition: &Definition, name: &str) -> Option<usize> {
    let by_name = definition.inputs.iter().position(|it| it.name.eq_ignore_ascii_case(name));
    by_name.or_else(|| {
        let is_first = name.eq_ignore_ascii_case("input");
        definition.inputs.iter().position(|it| is_first && it.any_series)
    })
}

fn too_many(definition: &Definition, n_given: usize) -> IndicatorError {
    let names: Vec<_> = definition.parameters.iter().map(|it| it.name.as_str()).collect();
    let reason = match names.len() {
        0 => format!("it has no parameters, {n_given} given"),
        n => format!("it has {n} parameters ({}), {n_given} given", names.join(", ")),
    };
    IndicatorError::call(&definition.name, reason)
}

fn unknown_argument(definition: &Definition, name: &str) -> String {
    let known: Vec<_> = definition
        .parameters
        .iter()
        .map(|it| it.name.as_str())
        .chain(definition.inputs.iter().map(|it| it.name.as_str()))
        .collect();
    let nearest = known.iter().max_by(|a, b| strsim::jaro_winkler(name, a).total_cmp(&strsim::jaro_winkler(name, b)));
    match nearest.filter(|it| strsim::jaro_winkler(name, it) >= 0.8) {
        Some(nearest) => format!("it has no such argument, did you mean `{nearest}`?"),
        None => format!("it has no such argument, only {}", known.join(", ")),
    }
}

/// What stands before and after the last ` as `, in upper or lower case.
fn split_name(text: &str) -> Option<(&str, &str)> {
    let at = text.to_ascii_lowercase().rfind(" as ")?;
    Some((text.get(..at)?, text.get(at + 4..)?))
}

fn is_identifier(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|it| it.is_alphanumeric() || it == '_')
}

/// How many values from the left are worth saying: up to the last that is not the default, and a period at least.
fn n_spoken(definition: &Definition, values: &[Value]) -> usize {
    let is_given = |(parameter, value): (&Parameter, &Value)| parameter.default_value() != *value;
    let last = definition.parameters.iter().zip(values).rposition(is_given).map_or(0, |it| it + 1);
    let has_period = definition.parameters.first().is_some_and(|it| it.name == "timeperiod");
    if has_period && definition.outputs.len() == 1 { last.max(1) } else { last }
}

fn column_stem(definition: &Definition, values: &[Value]) -> String {
    let spoken = definition.parameters.iter().zip(&values[..n_spoken(definition, values)]);
    let shown = spoken.map(|(parameter, value)| parameter.show(*value).replace('.', "p").replace('-', "m"));
    shown.fold(definition.name.clone(), |stem, value| format!("{stem}_{value}"))
}

fn with_outputs(definition: &Definition, stem: &str) -> Vec<String> {
    let column = |output: &Output| match definition.outputs.len() {
        1 => stem.to_string(),
        _ if output.name == definition.name => stem.to_string(),
        _ => format!("{stem}_{}", output.name),
    };
    definition.outputs.iter().map(column).collect()
}

/// The columns of a call over the usual inputs.
pub(crate) fn column_names(definition: &Definition, values: &[Value]) -> Vec<String> {
    with_outputs(definition, &column_stem(definition, values))
}
