//! Another server in the place of a provider's.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use url::Url;

/// The server's URL as it was written. A name and a password may stand in it: it is printed nowhere, and not read before it is
/// needed, lest a complaint repeats it.
#[derive(Clone)]
pub(crate) struct Server(String);

impl Server {
    /// The URL, or what is wrong with the text.
    pub(crate) fn url(&self) -> Result<Url, String> {
        Url::parse(&self.0).map_err(|error| format!("is no URL: {error}"))
    }

    /// The text itself, for a pipeline that is put together.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl FromStr for Server {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
