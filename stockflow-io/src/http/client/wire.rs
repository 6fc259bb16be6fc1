//! One attempt on the wire: headers, cookies, redirects, and a bound on the body.

mod encoding;

use std::sync::{Arc, PoisonError, RwLock};

use bytes::{Bytes, BytesMut};
use reqwest::Client;
use reqwest::cookie::{CookieStore, Jar};
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CONTENT_ENCODING, CONTENT_TYPE, COOKIE, HeaderMap, HeaderName,
    HeaderValue, LOCATION, RETRY_AFTER, SET_COOKIE,
};
use reqwest::redirect::Policy;
use url::{Url, form_urlencoded};

use crate::http::error::FetchError;
use crate::http::options::HttpOptions;
use crate::http::request::{Reply, ReplyHeaders, Request};
use crate::http::secret::Secrets;
use encoding::Undecoded;

const ANYTHING: &str = "application/json,text/html,application/xhtml+xml,text/csv;q=0.9,*/*;q=0.8";
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Connections and cookies.
pub(crate) struct Wire {
    options: HttpOptions,
    client: Client,
    /// For bases: they are asked without a proxy.
    direct: Client,
    /// By the provider's own hosts, also when a base stands in for them: that is why reqwest does not keep them.
    cookies: RwLock<Arc<Jar>>,
}

/// Why there is no reply.
#[derive(Debug)]
pub(crate) enum Lost {
    /// Something on the way failed, as told here without secrets.
    Connection(String),
    /// Asking again is of no use.
    For(FetchError),
}

impl Wire {
    pub(crate) fn new(options: &HttpOptions) -> Result<Self, FetchError> {
        for (domain, base) in &options.bases {
            if !matches!(base.scheme(), "http" | "https") {
                let reason = format!("the server for `{domain}` is no HTTP URL");
                return Err(FetchError::Option { option: "base", reason });
            }
        }
        let client = build(options, false)?;
        let direct = if options.bases.is_empty() { client.clone() } else { build(options, true)? };
        Ok(Self { options: options.clone(), client, direct, cookies: RwLock::default() })
    }

    pub(crate) fn clear_cookies(&self) {
        *self.cookies.write().unwrap_or_else(PoisonError::into_inner) = Arc::default();
    }

    /// Asks, and follows redirects.
    pub(crate) async fn ask(&self, request: &Request) -> Result<Reply, Lost> {
        let (mut url, mut form) = (request.url().clone(), request.form());
        let redirect = |reason: String| Lost::For(FetchError::Redirect { place: request.place(), reason });
        for _ in 0..=self.options.max_redirects {
            let response = self.exchange(&url, form).await.map_err(|error| lost(request, error))?;
            let status = response.status().as_u16();
            let Some(location) = location(status, response.headers()) else {
                let headers = headers_that_matter(response.headers());
                let body = self.body(request, response).await?;
                return Ok(Reply::new(status, headers, body, url));
            };
            let next = url
                .join(location)
                .map_err(|_| redirect(format!("status {status} points to something that is no URL")))?;
            if next.scheme() != url.scheme() || next.host_str().is_none() {
                return Err(redirect(format!(
                    "status {status} points to `{}:`, not to `{}:`",
                    next.scheme(),
                    url.scheme()
                )));
            }
            // As browsers do: only 307 and 308 send a form again.
            if !matches!(status, 307 | 308) {
                form = None;
            }
            url = next;
        }
        Err(redirect(format!("more than {} redirects", self.options.max_redirects)))
    }

    async fn exchange(&self, url: &Url, form: Option<&[(String, String)]>) -> reqwest::Result<reqwest::Response> {
        let (client, wire, forwarded) = match self.options.wire(url) {
            Some(wire) => (&self.direct, wire, url.host_str()),
            None => (&self.client, url.clone(), None),
        };
        let mut call = match form {
            None => client.get(wire),
            Some(form) => {
                let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
                client.post(wire).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body)
            }
        };
        if let Some(host) = forwarded {
            call = call.header(FORWARDED_HOST, host);
        }
        let jar = Arc::clone(&self.cookies.read().unwrap_or_else(PoisonError::into_inner));
        if let Some(mut cookies) = jar.cookies(url) {
            cookies.set_sensitive(true);
            call = call.header(COOKIE, cookies);
        }
        let response = call.send().await?;
        jar.set_cookies(&mut response.headers().get_all(SET_COOKIE).iter(), url);
        Ok(response)
    }

    /// The body, decompressed, unless it is too long; no more than twice what is allowed is held in memory.
    async fn body(&self, request: &Request, mut response: reqwest::Response) -> Result<Bytes, Lost> {
        let limit = self.options.max_body;
        let too_large = || Lost::For(FetchError::TooLarge { place: request.place(), limit });
        let encodings = encodings(response.headers());
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| lost(request, error))? {
            if body.len() + chunk.len() > limit {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        encoding::decoded(&encodings, body.freeze(), limit).map_err(|error| match error {
            Undecoded::TooLong => too_large(),
            Undecoded::Broken(reason) => Lost::Connection(reason),
        })
    }
}

fn build(options: &HttpOptions, direct: bool) -> Result<Client, FetchError> {
    let language = HeaderValue::from_str(&options.accept_language).map_err(|_| FetchError::Option {
        option: "accept_language",
        reason: format!("`{}` cannot stand in a header", options.accept_language),
    })?;
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static(ANYTHING));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(encoding::ACCEPTED));
    headers.insert(ACCEPT_LANGUAGE, language);
    let mut builder = Client::builder()
        .user_agent(&options.user_agent)
        .default_headers(headers)
        .connect_timeout(options.connect_timeout)
        // Redirects are followed here, where hosts may be replaced.
        .redirect(Policy::none())
        // Attempts are counted and spaced by the client, not below it.
        .retry(reqwest::retry::never());
    if direct {
        builder = builder.no_proxy();
    }
    builder.build().map_err(|error| FetchError::Option {
        option: "set-up",
        reason: format!("{}; see to the user agent and to the system's certificates", told(error)),
    })
}

fn location(status: u16, headers: &HeaderMap) -> Option<&str> {
    matches!(status, 301 | 302 | 303 | 307 | 308).then(|| headers.get(LOCATION)?.to_str().ok()).flatten()
}

fn headers_that_matter(headers: &HeaderMap) -> ReplyHeaders {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).map(str::to_owned);
    ReplyHeaders { content_type: text(CONTENT_TYPE), retry_after: text(RETRY_AFTER) }
}

fn encodings(headers: &HeaderMap) -> String {
    let texts: Vec<&str> = headers.get_all(CONTENT_ENCODING).iter().filter_map(|value| value.to_str().ok()).collect();
    texts.join(",")
}

fn lost(request: &Request, error: reqwest::Error) -> Lost {
    Lost::Connection(Secrets::of(request.url()).hide(&told(error)))
}

/// The error and its causes, without the URL and its secrets.
fn told(error: reqwest::Error) -> String {
    let error = error.without_url();
    let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
    let mut texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.dedup();
    texts.join(": ")
}
