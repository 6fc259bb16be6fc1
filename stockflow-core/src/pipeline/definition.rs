//! The pipeline's identity: what it looked like, and what has changed since.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::builder::Pipeline;
use crate::error::Result;
use crate::store::{self, CheckpointStore};

/// Raised when the engine itself would give other results for the same definition.
const ENGINE: u32 = 1;

/// What a pipeline is, as plain data without secrets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Definition {
    /// Source, steps, history: a change means that earlier results do not match later ones.
    pub(crate) pipeline: Value,
    /// The sinks by name; one may come or go by itself.
    pub(crate) sinks: BTreeMap<String, Value>,
}

impl Definition {
    pub(crate) fn of(pipeline: &Pipeline) -> Self {
        let steps: Vec<Value> = pipeline
            .steps
            .iter()
            .enumerate()
            .map(|(idx, step)| json!({"name": step.name, "input": pipeline.step_input(idx), "transform": step.transform.definition()}))
            .collect();
        let mut body = json!({
            "engine": ENGINE,
            "mode": pipeline.mode,
            "late": pipeline.late,
            "source": pipeline.source.definition(),
            "steps": steps,
            "history": pipeline.history.as_ref().map(|history| &history.relation),
            "tables": pipeline.tables.keys().collect::<Vec<_>>(),
        });
        if !pipeline.companions.is_empty() {
            body["companions"] = pipeline.companions.keys().cloned().collect();
        }
        let sinks = pipeline.sinks.iter().map(|sink| {
            (sink.name.clone(), json!({"relation": pipeline.sink_relation(sink), "sink": sink.sink.definition()}))
        });
        Self { pipeline: body, sinks: sinks.collect() }
    }

    /// Hash of everything that decides on results.
    pub(crate) fn fingerprint(&self) -> String {
        hex(&Sha256::digest(canonical(&serde_json::to_value(self).unwrap_or_default())))[..16].to_owned()
    }

    /// Hash of everything that decides on state: the sinks do not.
    pub(crate) fn input_fingerprint(&self) -> String {
        hex(&Sha256::digest(canonical(&self.pipeline)))[..16].to_owned()
    }

    /// What differs from an earlier definition: `path: before → now`. New and removed sinks do not count.
    pub(crate) fn difference(&self, earlier: &Definition) -> Vec<String> {
        let mut found = Vec::new();
        differ("", &earlier.pipeline, &self.pipeline, &mut found);
        for (name, sink) in &self.sinks {
            if let Some(earlier) = earlier.sinks.get(name) {
                differ(&format!("sinks.{name}"), earlier, sink, &mut found);
            }
        }
        found
    }

    /// Whether what comes before the history relation (or anything, if there is none) is as it was.
    pub(crate) fn same_input(&self, earlier: &Definition) -> bool {
        let before = |definition: &Definition| {
            let history = definition.pipeline.get("history").and_then(Value::as_str).map(str::to_owned);
            let steps = definition.pipeline.get("steps").and_then(Value::as_array).cloned().unwrap_or_default();
            let end = steps
                .iter()
                .position(|step| step.get("name").and_then(Value::as_str) == history.as_deref())
                .map_or(steps.len(), |idx| idx + 1);
            (definition.pipeline.get("source").cloned(), steps.into_iter().take(end).collect::<Vec<_>>())
        };
        before(self) == before(earlier)
    }

    /// Whether it differs only in how single rows are read and judged: in what the source calls decoding, in the parameters of
    /// steps up to the history relation, and in what becomes of late bars.
    pub(crate) fn is_mended(&self, earlier: &Definition, decoding: &[&str]) -> bool {
        let masked = |definition: &Definition| {
            let mut masked = definition.clone();
            let history = masked.pipeline.get("history").cloned().unwrap_or_default();
            if let Some(fields) = masked.pipeline.as_object_mut() {
                fields.remove("late");
            }
            if let Some(source) = masked.pipeline.get_mut("source").and_then(Value::as_object_mut) {
                source.retain(|name, _| !decoding.contains(&name.as_str()));
            }
            let mut is_before = true;
            for step in masked.pipeline.get_mut("steps").and_then(Value::as_array_mut).into_iter().flatten() {
                if let Some(kind) = step.pointer("/transform/type").cloned().filter(|_| is_before) {
                    step["transform"] = kind;
                }
                is_before &= step.get("name") != Some(&history);
            }
            masked
        };
        masked(self).difference(&masked(earlier)).is_empty()
    }

    pub(crate) async fn save(&self, store: &CheckpointStore) -> Result<String> {
        let fingerprint = self.fingerprint();
        store.create(&name(&fingerprint), store::json(self)?).await?;
        Ok(fingerprint)
    }

    pub(crate) async fn load(store: &CheckpointStore, fingerprint: &str) -> Result<Option<Definition>> {
        let name = name(fingerprint);
        store.get(&name).await?.map(|bytes| store.parse(&name, &bytes)).transpose()
    }
}

fn name(fingerprint: &str) -> String {
    format!("definitions/{fingerprint}.json")
}

/// JSON with sorted keys: equal values have equal texts.
pub(crate) fn canonical(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let mut keys: Vec<&String> = fields.keys().collect();
            keys.sort();
            let fields: Vec<String> = keys
                .into_iter()
                .map(|key| format!("{}:{}", Value::from(key.as_str()), canonical(&fields[key])))
                .collect();
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn differ(path: &str, before: &Value, now: &Value, found: &mut Vec<String>) {
    match (before, now) {
        (Value::Object(a), Value::Object(b)) => {
            let mut keys: Vec<&String> = a.keys().chain(b.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                differ(&path, a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null), found);
            }
        }
        (Value::Array(a), Value::Array(b)) => {
            for idx in 0..a.len().max(b.len()) {
                differ(
                    &format!("{path}[{idx}]"),
                    a.get(idx).unwrap_or(&Value::Null),
                    b.get(idx).unwrap_or(&Value::Null),
                    found,
                );
            }
        }
        (a, b) if a != b => {
            let show = |value: &Value| if value.is_null() { "nothing".to_owned() } else { value.to_string() };
            found.push(format!("`{path}` was {} and is {}", show(before), show(now)));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_names_its_path() {
        let definition = |period: u32| Definition {
            pipeline: json!({"steps": [{"indicators": [format!("sma({period})")]}]}),
            sinks: BTreeMap::new(),
        };
        assert_eq!(definition(20).difference(&definition(20)), Vec::<String>::new());
        assert_eq!(
            definition(20).difference(&definition(50)),
            ["`steps[0].indicators[0]` was \"sma(50)\" and is \"sma(20)\""]
        );
        assert_ne!(definition(20).fingerprint(), definition(50).fingerprint());
    }
}
