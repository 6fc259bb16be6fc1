//! `stockflow explain [PIPELINE.toml]`
