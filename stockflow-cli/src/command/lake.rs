//! `stockflow lake maintain`
use crate::args::{Global, LakeCommand};
use crate::exit::{Exit, Outcome};
pub(crate) async fn run(_command: LakeCommand, _global: &Global) -> Outcome { Ok(Exit::Done) }
