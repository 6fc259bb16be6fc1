//! The client for price providers over HTTP: polite, patient, and replaceable by a folder of recorded replies.
//!
//! A source asks through [`Fetch`] and does not know who answers:
//!
//! | who | what it adds |
//! |---|---|
//! | [`HttpClient`] | limits by host, back-off, deadlines, redirects, cookies, a bound on bodies |
//! | [`Recorder`] | one file a reply, without secrets |
//! | [`Replayer`] | the same files in place of the network |
//!
//! A reply is handed on when it is *final*: a success that the request's [`Judge`] accepts, or a refusal that asking
//! again would not change (400, 401, 403, 404, 422 and the like) and in which the judge finds no throttling.
//! Everything else is waited out or ends as a [`FetchError`].
//!
//! **429 is back-pressure.** It pauses every request of the host and lowers the host's rate; it never uses up a
//! request's deadline.
//! Only a host that answers nothing else for [`Limit::patience`] fails what waits for it, or for the patience of a
//! [request](Request::with_patience) that can be made elsewhere.
//!
//! Secrets (the query parameters `crumb`, `apikey`, `api_key`, `token` and Yahoo's own tokens of consent) are in no error,
//! `Debug` output, event or recorded file.
//!
//! What is not here: what the replies mean.

mod backoff;
mod client;
mod error;
mod limit;
mod options;
mod record;
mod replay;
mod request;
mod secret;
mod verdict;

pub use backoff::Backoff;
pub use client::HttpClient;
pub use error::{FetchError, Place};
pub use limit::Limit;
pub use options::HttpOptions;
pub use record::Recorder;
pub use replay::Replayer;
pub use request::{Fetch, Reply, ReplyHeaders, Request};
pub use verdict::{Judge, Verdict, accept_all, accept_json, accept_text};
