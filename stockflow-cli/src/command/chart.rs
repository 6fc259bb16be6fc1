//! `stockflow chart SYMBOL`

use std::io::Write;
use std::path::Path;

use stockflow_io::location::Location;

use crate::args::{ChartArgs, Global, split_list};
use crate::chart::PriceScale;
use crate::draw::{self, Look, Request};
use crate::exit::{Exit, Failure, Outcome};
use crate::render::{self, stdout};
use crate::{connectors, tables};

/// Draws a symbol's bars with indicators, as SVG and PNG in the data folder or into the file that is named.
pub(crate) async fn run(args: ChartArgs, global: &Global) -> Outcome {
    let request = Request {
        symbol: args.symbol,
        indicators: draw::indicators(&split_list(&args.indicators))?,
        from: args.from,
        to: args.to,
        scale: if args.log { PriceScale::Log } else { PriceScale::Linear },
    };
    let look = Look { theme: args.theme, size: args.size };
    if let Some(path) = &args.output {
        draw::check_ending(path)?;
    }
    let lake = Location::parse(&global.data_dir)?;
    let bars = connectors::open_delta(&lake.join("bars")).await?;
    let bars = bars.ok_or_else(|| {
        Failure::usage(format!("there is no table `bars` in `{}`", global.data_dir))
            .or_next("fill it with `stockflow run`, or name the folder with `--data-dir`")
    })?;
    let chart = draw::draw(&tables::session()?, bars, &request).await?;
    let paths = match (args.output, lake.local_path()) {
        (Some(path), _) => {
            draw::write(&chart, look, &path)?;
            vec![path]
        }
        (None, Some(_)) => {
            draw::write_both(&chart, look, &Path::new(&global.data_dir).join("charts"), &request.symbol)?
        }
        (None, None) => draw::write_both(&chart, look, Path::new("."), &request.symbol)?,
    };
    if global.json {
        render::json(&paths)?;
        return Ok(Exit::Done);
    }
    let mut out = stdout();
    for path in paths {
        writeln!(out, "{}", path.display())?;
    }
    out.flush()?;
    Ok(Exit::Done)
}
