//! Compressed bodies.
//!
//! reqwest could do it, but the features for it reach DataFusion's decompression: one build of it more for each set.

use std::io::Read;

use bytes::Bytes;
use flate2::read::{MultiGzDecoder, ZlibDecoder};

/// What is understood, as browsers say it.
pub(super) const ACCEPTED: &str = "gzip, deflate, br";

/// Why there is no body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Undecoded {
    /// It is longer than allowed; the rest was not decompressed.
    TooLong,
    /// It is damaged, or compressed in another way than was asked for.
    Broken(String),
}

/// The body without its encodings, which are separated by commas in the order in which they were applied.
pub(super) fn decoded(encodings: &str, mut body: Bytes, limit: usize) -> Result<Bytes, Undecoded> {
    for encoding in encodings.rsplit(',').map(|it| it.trim().to_ascii_lowercase()) {
        // A reply without a body may name an encoding nevertheless.
        if body.is_empty() {
            return Ok(body);
        }
        body = match encoding.as_str() {
            "" | "identity" => body,
            "gzip" | "x-gzip" => all(&encoding, MultiGzDecoder::new(&*body), limit)?,
            "deflate" => all(&encoding, ZlibDecoder::new(&*body), limit)?,
            "br" => all(&encoding, brotli::Decompressor::new(&*body, 4096), limit)?,
            other => return Err(Undecoded::Broken(format!("the body has the encoding `{other}`, not `{ACCEPTED}`"))),
        };
    }
    Ok(body)
}

fn all(encoding: &str, decoder: impl Read, limit: usize) -> Result<Bytes, Undecoded> {
    let mut body = Vec::new();
    decoder
        .take(u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1))
        .read_to_end(&mut body)
        .map_err(|error| Undecoded::Broken(format!("the body is no whole `{encoding}`: {error}")))?;
    if body.len() > limit { Err(Undecoded::TooLong) } else { Ok(body.into()) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};

    use super::*;

    fn encoded(encoding: &str, body: &[u8]) -> Bytes {
        match encoding {
            "gzip" => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(body).unwrap();
                encoder.finish().unwrap().into()
            }
            "deflate" => {
                let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(body).unwrap();
                encoder.finish().unwrap().into()
            }
            _ => {
                let mut out = Vec::new();
                brotli::CompressorWriter::new(&mut out, 4096, 5, 20).write_all(body).unwrap();
                out.into()
            }
        }
    }

    #[test]
    fn what_is_accepted_is_understood_within_the_limit() {
        let page = Bytes::from("stock".repeat(20_000));
        for encoding in ACCEPTED.split(", ") {
            let body = encoded(encoding, &page);
            assert!(body.len() < 5000, "{encoding}: {}", body.len());
            assert_eq!(decoded(encoding, body.clone(), page.len()).as_ref(), Ok(&page), "{encoding}");
            assert_eq!(decoded(encoding, body.clone(), page.len() - 1), Err(Undecoded::TooLong), "{encoding}");
            assert!(matches!(decoded(encoding, body.slice(..body.len() / 2), page.len()), Err(Undecoded::Broken(_))));
        }
    }

    #[test]
    fn encodings_are_undone_from_the_last() {
        let page = Bytes::from_static(b"{}");
        let body = encoded("br", &encoded("gzip", &page));
        assert_eq!(decoded("GZIP , br", body, 100).as_ref(), Ok(&page));
        assert_eq!(decoded("", page.clone(), 100).as_ref(), Ok(&page));
        assert_eq!(decoded("gzip", Bytes::new(), 100), Ok(Bytes::new()));
        let unknown = "the body has the encoding `zstd`, not `gzip, deflate, br`".to_owned();
        assert_eq!(decoded("zstd", page, 100), Err(Undecoded::Broken(unknown)));
    }
}
