//! One window function for any definition.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::{ScalarValue, plan_datafusion_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::function::{ExpressionArgs, PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{
    DocSection, Documentation, LimitEffect, PartitionEvaluator, Signature, TypeSignature, Volatility, WindowUDFImpl,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Literal;

use super::super::call::IndicatorCall;
use super::super::definition::{Definition, Domain, OutputKind, Parameter, Value};
use super::super::error::IndicatorError;
use super::evaluator::BatchEvaluator;
use super::stamp::Stamp;

const SECTION: DocSection = DocSection {
    include: true,
    label: "Indicators",
    description: Some("Technical indicators, computed for each symbol in the order of its bars."),
};

/// A function of the catalogue as a window function.
///
/// # Arguments
///
/// The inputs, coerced to Float64; then the parameters, which must be literals and may be left out from the right;
/// then what the analyzer appends: the [`Stamp`], the order keys, the column `interval`.
///
/// # Output
///
/// Float64 or Int32, nullable; a struct of them where there are several outputs.
/// The struct itself is NULL where nothing was computed.
///
/// # Nulls
///
/// As [`kernel`](crate::indicator::kernel) says.
#[derive(Debug)]
pub struct IndicatorUdwf {
    definition: &'static Definition,
    signature: Signature,
    documentation: Documentation,
}

impl IndicatorUdwf {
    /// The window function of a definition.
    pub fn new(definition: &'static Definition) -> Self {
        let inputs = definition.inputs.iter().map(|it| it.name.clone());
        let names: Vec<_> = inputs.chain(definition.parameters.iter().map(|it| it.name.clone())).collect();
        let signature = Signature::new(TypeSignature::UserDefined, Volatility::Immutable);
        // Names are an extra: a definition whose names clash is still callable by position.
        let signature = signature.clone().with_parameter_names(names).unwrap_or(signature);
        Self { definition, signature, documentation: documentation(definition) }
    }

    /// What the function is.
    pub fn definition(&self) -> &'static Definition {
        self.definition
    }

    /// The call that stands in the arguments of a physical window expression, and its stamp if it has one.
    ///
    /// # Errors
    ///
    /// A plan error if a parameter is no literal or outside its range.
    pub fn call_of(&self, arguments: &[Arc<dyn PhysicalExpr>]) -> Result<(IndicatorCall, Option<Stamp>)> {
        let name = &self.definition.name;
        let mut values = Vec::new();
        let mut stamp = None;
        for argument in arguments.iter().skip(self.definition.inputs.len()) {
            let literal = argument.downcast_ref::<Literal>().map(Literal::value);
            stamp = literal.and_then(Stamp::from_scalar);
            if stamp.is_some() {
                break;
            }
            let Some(parameter) = self.definition.parameters.get(values.len()) else {
                return plan_err!("{}", IndicatorError::call(name, "it has too many arguments"));
            };
            let Some(literal) = literal else {
                return plan_err!("{}", not_literal(name, parameter, &argument.to_string()));
            };
            values.push(literal_value(name, parameter, literal).map_err(|it| plan_datafusion_err!("{it}"))?);
        }
        let call = IndicatorCall::new(self.definition, &values).map_err(|it| plan_datafusion_err!("{it}"))?;
        Ok((call, stamp))
    }

    /// The arguments that hold rows: the inputs, then the order keys and `interval`.
    fn row_arguments<'a>(&self, arguments: &'a [Arc<dyn PhysicalExpr>]) -> Vec<&'a Arc<dyn PhysicalExpr>> {
        let is_stamp = |it: &Arc<dyn PhysicalExpr>| {
            it.downcast_ref::<Literal>().is_some_and(|it| Stamp::from_scalar(it.value()).is_some())
        };
        let hidden = arguments.iter().position(is_stamp).map_or(arguments.len(), |it| it + 1);
        arguments.iter().take(self.definition.inputs.len()).chain(&arguments[hidden..]).collect()
    }

    fn data_type(&self) -> DataType {
        match self.definition.outputs.as_slice() {
            [output] => arrow_type(output.kind),
            _ => DataType::Struct(struct_fields(self.definition)),
        }
    }
}

impl WindowUDFImpl for IndicatorUdwf {
    #[allow(clippy::misnamed_getters)]
    fn name(&self) -> &str {
        // SQL has names of its own, so this is not always the catalogue’s.
        &self.definition.sql_name
    }

    fn aliases(&self) -> &[String] {
        &self.definition.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn expressions(&self, args: ExpressionArgs) -> Vec<Arc<dyn PhysicalExpr>> {
        self.row_arguments(args.input_exprs()).into_iter().map(Arc::clone).collect()
    }

    fn partition_evaluator(&self, args: PartitionEvaluatorArgs) -> Result<Box<dyn PartitionEvaluator>> {
        let (call, stamp) = self.call_of(args.input_exprs())?;
        let Some(stamp) = stamp else {
            let reason = "its window was never checked: register it with `stockflow_core::indicator::register_all`";
            return plan_err!("{}", IndicatorError::call(&self.definition.name, reason));
        };
        if self.row_arguments(args.input_exprs()).len() != self.definition.inputs.len() + stamp.n_hidden() {
            return plan_err!("{}", IndicatorError::call(&self.definition.name, "its hidden arguments are damaged"));
        }
        Ok(Box::new(BatchEvaluator::new(call, stamp)))
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(args.name(), self.data_type(), true)))
    }

    /// Inputs become Float64; everything else stays what it is.
    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let definition = self.definition;
        if types.len() < definition.inputs.len() {
            let reason = format!("{} arguments, written as {}", types.len(), definition.signature());
            return plan_err!("{}", IndicatorError::call(&definition.name, reason));
        }
        let coerce = |(index, given): (usize, &DataType)| match definition.inputs.get(index) {
            None => Ok(given.clone()),
            Some(_) if is_number(given) => Ok(DataType::Float64),
            Some(input) => {
                let reason = format!("`{}` must be a number, it is {given}", input.name);
                plan_err!("{}", IndicatorError::call(&definition.name, reason))
            }
        };
        types.iter().enumerate().map(coerce).collect()
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }

    /// A row's value depends on it and the rows before it, so a limit may be pushed below.
    fn limit_effect(&self, _args: &[Arc<dyn PhysicalExpr>]) -> LimitEffect {
        LimitEffect::None
    }
}

impl PartialEq for IndicatorUdwf {
    fn eq(&self, other: &Self) -> bool {
        self.definition.name == other.definition.name
    }
}

impl Eq for IndicatorUdwf {}

impl Hash for IndicatorUdwf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.definition.name.hash(state);
    }
}

pub(super) fn arrow_type(kind: OutputKind) -> DataType {
    match kind {
        OutputKind::Float64 => DataType::Float64,
        OutputKind::Int32 => DataType::Int32,
    }
}

pub(crate) fn struct_fields(definition: &Definition) -> Fields {
    definition.outputs.iter().map(|it| Field::new(&it.name, arrow_type(it.kind), true)).collect()
}

fn is_number(given: &DataType) -> bool {
    match given {
        DataType::Null => true,
        DataType::Dictionary(_, value) => is_number(value),
        other => other.is_numeric(),
    }
}

pub(super) fn not_literal(function: &str, parameter: &Parameter, given: &str) -> IndicatorError {
    IndicatorError::parameter(
        function,
        &parameter.name,
        format!("`{given}` is no literal, write a number such as {}", { parameter.show(parameter.default_value()) }),
    )
}

/// The value of a parameter from a literal of any numeric type, or a choice's name.
pub(super) fn literal_value(
    function: &str,
    parameter: &Parameter,
    literal: &ScalarValue,
) -> Result<Value, IndicatorError> {
    if literal.is_null() {
        return Err(IndicatorError::parameter(function, &parameter.name, "NULL is no value, leave it out instead"));
    }
    if let Some(text) = literal.try_as_str().flatten() {
        return match parameter.domain {
            Domain::Choice { .. } => parameter.parse_text(function, text),
            _ => Err(IndicatorError::parameter(function, &parameter.name, format!("'{text}' is not a number"))),
        };
    }
    let number =
        Some(literal).filter(|it| it.data_type().is_numeric()).and_then(|it| match it.cast_to(&DataType::Float64) {
            Ok(ScalarValue::Float64(number)) => number,
            _ => None,
        });
    match number {
        Some(number) => parameter.parse_number(function, number),
        None => Err(IndicatorError::parameter(function, &parameter.name, format!("{literal} is not a number"))),
    }
}

fn documentation(definition: &Definition) -> Documentation {
    let mut builder = Documentation::builder(SECTION, definition.description.clone(), definition.signature())
        .with_sql_example(definition.sql_example());
    for input in &definition.inputs {
        builder = builder.with_argument(&input.name, format!("a series, usually {}", input.usual_column()));
    }
    for parameter in &definition.parameters {
        let default = parameter.show(parameter.default_value());
        let text = format!("{}; {}, default {default}", parameter.description, parameter.allowed());
        builder = builder.with_argument(&parameter.name, text);
    }
    builder.build()
}
