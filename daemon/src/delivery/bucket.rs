//! An S3-style bucket, by the `object_store` crate over our own way out: `PUT PREFIX/NAME`, and later `GET
//! PREFIX/NAME.receipt`, which the licensor puts beside it.

use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use leasehold_engine::row::UsageSegmentRow;
use leasehold_keys::note::NOTE_MAX_BYTES;
use object_store::{
    ClientOptions, MultipartUpload as _, ObjectStoreExt as _, PutPayload, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder},
    client::{HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService},
    path::Path as Key,
};
use tokio::{fs::File, io::AsyncReadExt as _};

use super::{file_body, secrets::BucketKeys, settings::BucketSettings};
use crate::way_out::{
    Answer, Trouble, Way,
    problem::{header_of, plain},
};

/// Files above it go in parts of this size, the smallest that such servers take.
const PART_BYTES: usize = 5 * 1_024 * 1_024;

/// What the last request came to, where it did not end well: `object_store` tells it in words only.
type Seen = Arc<Mutex<Option<Ended>>>;

enum Ended {
    /// There was no answer.
    Nowhere(Trouble),
    /// The answer was not yes.
    Answered(Answer),
}

/// A bucket, over a way to its server.
pub(super) struct Bucket {
    store: Arc<AmazonS3>,
    seen: Seen,
    heads: Arc<Mutex<HeaderMap>>,
    at: String,
    bucket: String,
    prefix: String,
}

/// What came of asking for a receipt.
pub(super) enum Asked {
    /// It is there, unread.
    Receipt(Bytes),
    /// It is not.
    None,
}

impl Bucket {
    pub(super) fn new(
        way: Way,
        bucket: &str,
        prefix: &str,
        settings: &BucketSettings,
        keys: &BucketKeys,
    ) -> Result<Self, Trouble> {
        let (seen, heads) = (Seen::default(), Arc::<Mutex<HeaderMap>>::default());
        let at = way.to.to_string();
        let builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(&settings.region)
            .with_endpoint(format!("https://{}", way.to.authority()))
            .with_virtual_hosted_style_request(false)
            .with_access_key_id(keys.id.expose())
            .with_secret_access_key(keys.secret.expose())
            // One attempt at a time; when the next one is due is decided for all files together.
            .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
            .with_http_connector(OwnWay { way, seen: seen.clone(), heads: heads.clone() });
        let builder = match &keys.token {
            Some(token) => builder.with_token(token.expose()),
            None => builder,
        };
        let store = builder.build().map_err(|fault| Trouble::BadDestination {
            said: format!("s3://{bucket}/{prefix}"),
            why: plain(&fault.to_string()),
        })?;
        Ok(Self { store: Arc::new(store), seen, heads, at, bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }

    #[cfg(test)]
    pub(super) fn store(&self) -> &AmazonS3 {
        &self.store
    }

    fn key(&self, name: &str) -> Key {
        match self.prefix.as_str() {
            "" => Key::from(name),
            prefix => Key::from(format!("{prefix}/{name}")),
        }
    }

    /// Sends a file: whole, or a large one part by part, so that no more than a part is in memory.
    pub(super) async fn send(&self, row: &UsageSegmentRow, file: &Path) -> Result<(), Trouble> {
        let mut from = file_body::open(file, row).await?;
        let key = self.key(&row.file);
        let first = part(&mut from, file).await?;
        if (first.len() as u64) == row.bytes {
            return self
                .store
                .put(&key, first.into())
                .await
                .map(|_| ())
                .map_err(|fault| self.trouble(&fault.to_string()));
        }
        let mut upload = self.store.put_multipart(&key).await.map_err(|fault| self.trouble(&fault.to_string()))?;
        let sent = async {
            let mut next = first;
            while !next.is_empty() {
                let put = upload.put_part(next.into());
                put.await.map_err(|fault| self.trouble(&fault.to_string()))?;
                next = part(&mut from, file).await?;
            }
            upload.complete().await.map(|_| ()).map_err(|fault| self.trouble(&fault.to_string()))
        };
        let sent = sent.await;
        if sent.is_err() {
            // Parts that are there already cost somebody; where they cannot be taken back now, the bucket's own rules do it.
            let _ = upload.abort().await;
        }
        sent
    }

    /// Asks for the receipt of a file that was sent.
    pub(super) async fn receipt(&self, row: &UsageSegmentRow) -> Result<Asked, Trouble> {
        match self.get(&format!("{}.receipt", row.file)).await {
            Ok(bytes) if bytes.len() > NOTE_MAX_BYTES => {
                Err(Trouble::Garbage { at: self.at.clone(), why: "the receipt is too long for one".into() })
            }
            Ok(bytes) => Ok(Asked::Receipt(bytes)),
            Err(fault) => match self.refusal() {
                Some((404, code, _)) if code.is_empty() || code == "NoSuchKey" => Ok(Asked::None),
                // Where listing is not allowed, what is not there is answered so too.
                Some((403, code, said)) if code == "AccessDenied" => Err(Trouble::ReceiptForbidden { said }),
                _ => Err(self.trouble(&fault)),
            },
        }
    }

    /// Sees that the bucket is there; a small object need not be.
    pub(super) async fn look(&self, probe: &str) -> Result<(), Trouble> {
        match self.get(probe).await {
            Ok(_) => Ok(()),
            Err(fault) => match self.refusal() {
                Some((404, code, _)) if code.is_empty() || code == "NoSuchKey" => Ok(()),
                // Whether it may be written is another question than whether it may be read.
                Some((403, code, _)) if code == "AccessDenied" => Ok(()),
                _ => Err(self.trouble(&fault)),
            },
        }
    }

    /// Writes a small object.
    pub(super) async fn probe(&self, probe: &str) -> Result<(), Trouble> {
        let payload = PutPayload::from_static(b"leasehold doctor\n");
        self.store.put(&self.key(probe), payload).await.map(|_| ()).map_err(|fault| self.trouble(&fault.to_string()))
    }

    /// The head of the last answer.
    pub(super) fn last_head(&self) -> HeaderMap {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn get(&self, name: &str) -> Result<Bytes, String> {
        let got = self.store.get(&self.key(name)).await.map_err(|fault| fault.to_string())?;
        got.bytes().await.map_err(|fault| fault.to_string())
    }

    /// Status, code and words of the last answer, where that was a refusal.
    fn refusal(&self) -> Option<(u16, String, String)> {
        match &*self.seen.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(Ended::Answered(answer)) => {
                let (code, said) = words(answer);
                Some((answer.status.as_u16(), code, said))
            }
            _ => None,
        }
    }

    /// What the last request came to.
    fn trouble(&self, otherwise: &str) -> Trouble {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).take();
        let answer = match seen {
            Some(Ended::Nowhere(trouble)) => return trouble,
            Some(Ended::Answered(answer)) => answer,
            None => return Trouble::Garbage { at: self.at.clone(), why: plain(otherwise) },
        };
        let (code, said) = words(&answer);
        let status = answer.status.as_u16();
        match (status, code.as_str()) {
            (_, "RequestTimeTooSkewed") => Trouble::ClockOff { ahead_s: 0 },
            (_, "PermanentRedirect" | "TemporaryRedirect") | (300..=399, _) => {
                let region = header_of(&answer, header::HeaderName::from_static("x-amz-bucket-region"));
                let to = if region.is_empty() { header_of(&answer, header::LOCATION) } else { region };
                Trouble::Redirected { to }
            }
            (_, "AuthorizationHeaderMalformed") | (401 | 403, _) => Trouble::WrongCredentials { said },
            (404, _) => Trouble::NotThere { what: format!("the bucket {} at {}", self.bucket, self.at), said },
            (408 | 425 | 429 | 500.., _) => {
                let retry_after_s = header_of(&answer, header::RETRY_AFTER).parse().ok();
                Trouble::ServerBusy { status, said, retry_after_s }
            }
            (400..=499, _) => Trouble::ServerRefused { status, said },
            _ => Trouble::Garbage { at: self.at.clone(), why: format!("its status is {status}") },
        }
    }
}

/// The next part of a file; empty at its end.
async fn part(from: &mut File, path: &Path) -> Result<Bytes, Trouble> {
    let mut part = Vec::with_capacity(PART_BYTES);
    let read = from.take(PART_BYTES as u64).read_to_end(&mut part).await;
    read.map_err(|why| Trouble::Disk { path: path.to_owned(), why: why.to_string() })?;
    Ok(part.into())
}

/// The code of an answer in XML, and what it says.
fn words(answer: &Answer) -> (String, String) {
    let body = String::from_utf8_lossy(&answer.body);
    let between = |tag: &str| {
        let (_, rest) = body.split_once(&format!("<{tag}>"))?;
        let (inner, _) = rest.split_once(&format!("</{tag}>"))?;
        Some(plain(inner))
    };
    let code = between("Code").unwrap_or_default();
    let message = between("Message").unwrap_or_default();
    let said = match (code.is_empty(), message.is_empty()) {
        (true, true) => format!("{} without words", answer.status),
        (true, false) => message,
        (false, true) => code.clone(),
        (false, false) => format!("{message} ({code})"),
    };
    (code, said)
}

/// Has `object_store` go our way.
#[derive(Clone)]
struct OwnWay {
    way: Way,
    seen: Seen,
    heads: Arc<Mutex<HeaderMap>>,
}

impl fmt::Debug for OwnWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.way.fmt(f)
    }
}

impl HttpConnector for OwnWay {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for OwnWay {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let end = |ended: Ended| *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(ended);
        match self.way.ask(request).await {
            Ok(answer) => {
                *self.heads.lock().unwrap_or_else(PoisonError::into_inner) = answer.headers.clone();
                let mut response = http::Response::builder().status(answer.status);
                if let Some(headers) = response.headers_mut() {
                    *headers = answer.headers.clone();
                }
                if !answer.status.is_success() || answer.status == StatusCode::NO_CONTENT {
                    end(Ended::Answered(answer.clone()));
                }
                response.body(answer.body.into()).map_err(|fault| HttpError::new(HttpErrorKind::Unknown, fault))
            }
            Err(trouble) => {
                let said = std::io::Error::other(trouble.to_string());
                end(Ended::Nowhere(trouble));
                Err(HttpError::new(HttpErrorKind::Unknown, said))
            }
        }
    }
}
