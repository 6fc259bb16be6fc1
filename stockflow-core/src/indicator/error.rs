//! What can be wrong with an indicator: its name, its parameters, its place in a query, or the rows it is given.

/// Everything that this module refuses, with the offending value in the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IndicatorError {
    /// No function of this name is in the catalogue.
    #[error("unknown indicator `{name}`{}", did_you_mean(.nearest))]
    Unknown {
        /// The name as written.
        name: String,
        /// The nearest known name, if one is near.
        nearest: Option<String>,
    },
    /// A parameter is outside its range, of the wrong type or not known.
    #[error("invalid {parameter} for {function}: {reason}")]
    Parameter {
        /// The function's name.
        function: String,
        /// The parameter's name.
        parameter: String,
        /// The value and what is allowed.
        reason: String,
    },
    /// The function is called with the wrong arguments or in a place where it has no meaning.
    #[error("invalid call of {function}: {reason}")]
    Call {
        /// The function's name.
        function: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The text of an indicator, such as `sma(20)`, cannot be read.
    #[error("invalid indicator `{text}`: {reason}")]
    Syntax {
        /// The text as written.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Two indicators of one list would write the same column.
    #[error("indicators `{first}` and `{second}` both give the column `{column}`: leave one out or name it with `as`")]
    SameColumn {
        /// The earlier one.
        first: String,
        /// The later one.
        second: String,
        /// The column that both would write.
        column: String,
    },
    /// The rows of one partition cannot be computed: ties or NULLs in the order key, mixed intervals.
    #[error("{function}: {reason}")]
    Rows {
        /// The function's name.
        function: String,
        /// What is wrong with the rows, with the offending value.
        reason: String,
    },
    /// The kernel broke its promise; a fault of ours or of the library, not of the input.
    #[error("{function}: the kernel failed: {reason}")]
    Kernel {
        /// The function's name.
        function: String,
        /// What it answered.
        reason: String,
    },
}

impl IndicatorError {
    /// Whether the rows are to blame, and not the call.
    pub fn is_data(&self) -> bool {
        matches!(self, Self::Rows { .. })
    }

    pub(crate) fn parameter(function: &str, parameter: &str, reason: impl Into<String>) -> Self {
        Self::Parameter { function: function.into(), parameter: parameter.into(), reason: reason.into() }
    }

    pub(crate) fn call(function: &str, reason: impl Into<String>) -> Self {
        Self::Call { function: function.into(), reason: reason.into() }
    }

    pub(crate) fn syntax(text: &str, reason: impl Into<String>) -> Self {
        Self::Syntax { text: text.into(), reason: reason.into() }
    }

    pub(crate) fn rows(function: &str, reason: impl Into<String>) -> Self {
        Self::Rows { function: function.into(), reason: reason.into() }
    }

    pub(crate) fn kernel(function: &str, reason: impl Into<String>) -> Self {
        Self::Kernel { function: function.into(), reason: reason.into() }
    }
}

fn did_you_mean(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|it| format!(", did you mean `{it}`?")).unwrap_or_default()
}
