//! Sends the operator to another process.

use std::sync::Arc;

use datafusion::common::{plan_datafusion_err, plan_err};
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::windows::WindowAggExec;
use datafusion_proto::bytes::{physical_plan_from_bytes, physical_plan_to_bytes};
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};

use super::exec::SymbolWindowExec;

/// Writes and reads [`SymbolWindowExec`]; every other node is left to DataFusion.
///
/// The window expressions travel as those of DataFusion's own operator over an empty input of the same columns, so that
/// whatever it learns to write we can write, too. The process that reads needs the same functions
/// ([`functions::register`](crate::functions::register)).
#[derive(Debug, Clone, Copy, Default)]
pub struct StockflowCodec;

/// Says what follows, and in which form.
const MARK: &[u8] = b"stockflow.SymbolWindowExec/1";

impl PhysicalExtensionCodec for StockflowCodec {
    fn try_decode(
        &self,
        bytes: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        context: &TaskContext,
        _: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let refuse = || plan_datafusion_err!("these bytes are no SymbolWindowExec of this version of stockflow");
        let rest = bytes.strip_prefix(MARK).ok_or_else(refuse)?;
        let (ordinal, rest) = rest.split_first_chunk::<4>().ok_or_else(refuse)?;
        let (trust, rest) = rest.split_first().ok_or_else(refuse)?;
        let plan = physical_plan_from_bytes(rest, context)?;
        let window = plan.downcast_ref::<WindowAggExec>().ok_or_else(refuse)?;
        let [input] = inputs else { return plan_err!("SymbolWindowExec has one input, not {}", inputs.len()) };
        let ordinal = u32::from_le_bytes(*ordinal) as usize;
        let window = SymbolWindowExec::try_new(window.window_expr().to_vec(), Arc::clone(input), ordinal, *trust == 1)?;
        Ok(Arc::new(window.ok_or_else(refuse)?))
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        bytes: &mut Vec<u8>,
        _: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        let Some(window) = node.downcast_ref::<SymbolWindowExec>() else {
            return plan_err!("{} is no node of stockflow", node.name());
        };
        let [input] = window.children()[..] else { return plan_err!("SymbolWindowExec has one input") };
        let empty = Arc::new(EmptyExec::new(input.schema()));
        let plan = WindowAggExec::try_new(window.window_expr().to_vec(), empty, false)?;
        let ordinal = u32::try_from(window.ordinal()).map_err(|error| plan_datafusion_err!("{error}"))?;
        bytes.extend_from_slice(MARK);
        bytes.extend_from_slice(&ordinal.to_le_bytes());
        bytes.push(u8::from(window.trusts_order()));
        bytes.extend_from_slice(&physical_plan_to_bytes(Arc::new(plan))?);
        Ok(())
    }
}
