//! Turns the SVG into a PNG with a font of our own.

use std::sync::Arc;

use resvg::{
    tiny_skia::{Pixmap, Transform},
    usvg::{Options, Tree, fontdb::Database},
};

use super::{Chart, Error, Size, Theme, svg};

/// The chart as a PNG of `size` times `pixel_ratio` pixels; 2 suits screens of high density.
///
/// Text is drawn with the embedded DejaVu Sans Condensed whatever fonts the machine has; a character that it lacks
/// shows as an empty box.
///
/// # Errors
///
/// [`Error::PixelRatio`] outside 1 to 4, [`Error::Raster`] if there is no memory for the picture.
pub(crate) fn png(chart: &Chart, size: Size, theme: Theme, pixel_ratio: u32) -> Result<Vec<u8>, Error> {
    if !(1..=4).contains(&pixel_ratio) {
        return Err(Error::PixelRatio { ratio: pixel_ratio });
    }
    let tree = Tree::from_str(&svg(chart, size, theme), &options()).map_err(|err| raster(&err))?;
    let (width, height) = (size.width() * pixel_ratio, size.height() * pixel_ratio);
    let mut pixels =
        Pixmap::new(width, height).ok_or_else(|| raster(&format!("no memory for {width}x{height} pixels")))?;
    let scale = pixel_ratio as f32;
    resvg::render(&tree, Transform::from_scale(scale, scale), &mut pixels.as_mut());
    pixels.encode_png().map_err(|err| raster(&err))
}

fn raster(reason: &dyn ToString) -> Error {
    Error::Raster { reason: reason.to_string() }
}

/// Options with nothing but the embedded faces, so that pictures do not depend on the machine.
fn options() -> Options<'static> {
    let mut fonts = Database::new();
    fonts.load_font_data(dejavu::sans_condensed::regular().to_vec());
    fonts.load_font_data(dejavu::sans_condensed::bold().to_vec());
    let family = fonts
        .faces()
        .next()
        .and_then(|face| face.families.first())
        .map_or_else(|| "DejaVu Sans".to_owned(), |(name, _)| name.clone());
    fonts.set_sans_serif_family(family.as_str());
    Options { font_family: family, fontdb: Arc::new(fonts), ..Options::default() }
}
