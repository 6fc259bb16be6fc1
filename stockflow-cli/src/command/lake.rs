//! `stockflow lake maintain`
