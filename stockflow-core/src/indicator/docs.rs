//! The page `docs/indicators.md`, written from the catalogue.

use super::catalogue::{EXCLUDED, catalogue};
use super::definition::{Definition, Flag, Parameter, StateKind};

const HEAD: &str = include_str!("docs_head.md");

const STATE: &str = "\
What a function needs to go on with the next bar is kept from epoch to epoch, so that a new day costs what a day costs:

* **window**: the last rows that it can still see, or sums over them;
* **recursive**: a few numbers that stand for all rows before;
* **history**: nothing is kept, and the symbol is computed again from its history: right, and slower.

An average that is chosen by name decides, too: with `mama`, `vidya` or `alma` nothing is kept, nor in `stochrsi` with `kama`.
These are of kind history, because:

";

/// The whole page, in Markdown. A test holds `docs/indicators.md` against it.
pub fn markdown() -> String {
    let catalogue = catalogue();
    let mut page = HEAD.replace("{count}", &catalogue.len().to_string());
    page.push_str("\n## Flags\n\n");
    for flag in Flag::ALL {
        page.push_str(&format!("* **{}**: {}.\n", flag.as_str(), flag.explain()));
    }
    page.push_str("\n## Left out\n\n");
    if EXCLUDED.is_empty() {
        page.push_str("None of the registry's functions is left out.\n");
    }
    for (name, reason) in EXCLUDED {
        page.push_str(&format!("* `{name}`: {reason}.\n"));
    }
    page.push_str("\n## State\n\n");
    page.push_str(STATE);
    for definition in catalogue.iter().filter(|it| it.state.kind == StateKind::History) {
        page.push_str(&format!("* `{}`: {}.\n", definition.name, definition.state.reason));
    }
    for group in catalogue.groups() {
        page.push_str(&format!("\n## {group}\n\n"));
        page.push_str("| function | what it is | lookback | outputs | state | flags |\n|---|---|---|---|---|---|\n");
        catalogue.iter().filter(|it| it.group == group).for_each(|it| page.push_str(&row(it)));
    }
    page
}

/// Everything about one function, in Markdown.
pub fn describe(definition: &Definition) -> String {
    let mut text = format!("# {}\n\n{}.\n\n", definition.name, definition.description);
    text.push_str(&format!("* Call: `{}`\n* Group: {}\n", definition.signature(), definition.group));
    text.push_str(&format!("* Also called: {}\n", definition.aliases.join(", ")));
    let inputs: Vec<_> = definition.inputs.iter().map(|it| it.usual_column()).collect();
    text.push_str(&format!("* Inputs: {}\n", inputs.join(", ")));
    for parameter in &definition.parameters {
        text.push_str(&format!("* Parameter `{}`: {}; {}\n", parameter.name, parameter.description, domain(parameter)));
    }
    for output in &definition.outputs {
        text.push_str(&format!("* Output `{}`: {:?}\n", output.name, output.kind));
    }
    text.push_str(&format!("* Columns: {}\n", definition.default_columns().join(", ")));
    text.push_str(&format!("* Lookback at the defaults: {} rows\n", definition.default_lookback()));
    let why = if definition.state.kind == StateKind::History { "because" } else { "it keeps" };
    text.push_str(&format!("* State: {}: {why} {}\n", definition.state.kind.as_str(), definition.state.reason));
    for flag in &definition.flags {
        text.push_str(&format!("* {}: {}\n", flag.as_str(), flag.explain()));
    }
    text.push_str(&format!("\n```sql\n{}\n```\n", definition.sql_example()));
    text
}

/// Everything about one function, for machines: the definition and what follows from it.
///
/// # Errors
///
/// None that any definition of the catalogue gives; a definition with a NaN in it has no JSON.
pub fn json(definition: &Definition) -> Result<serde_json::Value, serde_json::Error> {
    let mut value = serde_json::to_value(definition)?;
    value["signature"] = definition.signature().into();
    value["lookback"] = definition.default_lookback().into();
    value["columns"] = definition.default_columns().into();
    value["example"] = definition.sql_example().into();
    Ok(value)
}

fn row(definition: &Definition) -> String {
    let parameters: Vec<_> =
        definition.parameters.iter().map(|it| format!("<br>`{}` {}", it.name, domain(it))).collect();
    let outputs: Vec<_> = definition.outputs.iter().map(|it| format!("{} ({:?})", it.name, it.kind)).collect();
    let flags: Vec<_> = definition.flags.iter().map(|it| it.as_str()).collect();
    let inputs: Vec<_> = definition.inputs.iter().map(|it| it.usual_column()).collect();
    format!(
        "| `{}({})`{} | {} | {} | {} | {} | {} |\n",
        definition.sql_name,
        inputs.join(", "),
        parameters.concat(),
        definition.description.replace('|', "\\|"),
        definition.default_lookback(),
        outputs.join(", "),
        definition.state.kind.as_str(),
        flags.join(", "),
    )
}

fn domain(parameter: &Parameter) -> String {
    let default = parameter.show(parameter.default_value());
    // The list of averages is long and the same everywhere, so it stands once, at the head of the page.
    let allowed = match &parameter.domain {
        super::definition::Domain::Choice { .. } => "a moving average".to_string(),
        _ => parameter.allowed(),
    };
    format!("{allowed}, default {default}")
}
