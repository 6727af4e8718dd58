//! One port, four services: reads a request, finds out whom it is for, and lets the faults have their say.
//!
//! Not here: sockets (`server`) and what the services do. Invariants: routing looks at headers alone, except for the
//! query protocol, whose operation stands in the body; whoever asks for something else gets an error of the shape they
//! can read.

use std::io::Read as _;

use axum::body::Body;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::Response;
use bytes::Bytes;
use hyper::Request;
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;

use crate::cloudwatch::CloudWatch;
use crate::dynamodb::DynamoDb;
use crate::faults::{Action, Answer, AwsError, Faults, Service, Verdict};
use crate::kinesis::Kinesis;
use crate::settings::{LocalError, Settings};
use crate::sts::Sts;
use crate::wire::{self, JSON_10, JSON_11, Protocol, header_text};
use crate::{clock, form, storage};

/// PutRecords carries 10 MiB of data, a third more in base64; the rest is keys and room.
const BODY_BYTES_MAX: usize = 20 << 20;

/// A fault closed the connection: there is no answer.
#[derive(Debug, thiserror::Error)]
#[error("a fault dropped the request")]
pub(crate) struct Dropped;

/// All services behind the port.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) faults: Faults,
    pub(crate) cloudwatch: CloudWatch,
    kinesis: Kinesis,
    dynamodb: DynamoDb,
    sts: Sts,
    /// Last, so that the stores are closed before the directory is free.
    _lock: Option<storage::Lock>,
}

/// A request that has found its service.
struct Call {
    service: Service,
    operation: String,
    protocol: Protocol,
    body: Bytes,
}

/// What to tell a client whose request found none.
type Refusal = (Protocol, AwsError);

impl Endpoint {
    pub(crate) async fn open(settings: &Settings, closing: CancellationToken) -> Result<Self, LocalError> {
        let lock = match &settings.data_dir {
            Some(directory) => Some(storage::Lock::take(directory).await?),
            None => None,
        };
        Ok(Self {
            faults: settings.faults.clone(),
            cloudwatch: CloudWatch::default(),
            kinesis: Kinesis::open(settings, closing).await?,
            dynamodb: DynamoDb::open(settings)?,
            sts: Sts::new(settings),
            _lock: lock,
        })
    }

    /// Waits for what goes on in the background, then puts everything on the disk.
    pub(crate) async fn settle(&self) {
        self.kinesis.settle().await;
    }

    /// What has to be done from time to time, until the endpoint closes.
    pub(crate) async fn upkeep(&self) {
        self.kinesis.upkeep().await;
    }

    pub(crate) async fn handle(&self, request: Request<Incoming>) -> Result<Response, Dropped> {
        let (parts, body) = request.into_parts();
        if parts.method == Method::GET && parts.uri.path().starts_with("/_kinetide/") {
            return Ok(self.introspect(parts.uri.path()));
        }
        let body = match read(&parts.headers, body).await {
            Ok(body) => body,
            Err(error) => return Ok(wire::error(guess(&parts.headers), &error)),
        };
        match identify(&parts.uri, &parts.headers, body) {
            Ok(call) => self.judged(call).await,
            Err((protocol, error)) => Ok(wire::error(protocol, &error)),
        }
    }

    async fn judged(&self, call: Call) -> Result<Response, Dropped> {
        let protocol = call.protocol;
        let Verdict { delay, action } = self.faults.judge(call.service, &call.operation, &call.body);
        if !delay.is_zero() {
            clock::sleep(delay).await;
        }
        match action {
            None | Some(Action::Delay(_)) => Ok(self.dispatch(call).await),
            Some(Action::FailBefore(error)) => Ok(wire::error(protocol, &error)),
            Some(Action::DropBefore) => Err(Dropped),
            Some(Action::Answer(answer)) => Ok(canned(answer)),
            Some(Action::FailAfter(error)) => {
                self.dispatch(call).await;
                Ok(wire::error(protocol, &error))
            }
            Some(Action::DropAfter) => {
                self.dispatch(call).await;
                Err(Dropped)
            }
        }
    }

    async fn dispatch(&self, call: Call) -> Response {
        let Call { service, operation, protocol, body } = call;
        match service {
            Service::Kinesis => self.kinesis.handle(&operation, protocol, body).await,
            Service::DynamoDb => self.dynamodb.handle(&operation, protocol, body).await,
            Service::CloudWatch => self.cloudwatch.handle(&operation, protocol, &body),
            Service::Sts => self.sts.handle(&operation, protocol, &body),
        }
    }

    fn introspect(&self, path: &str) -> Response {
        match path {
            "/_kinetide/health" => wire::answer(Protocol::Json("application/json"), r#"{"status":"ok"}"#),
            "/_kinetide/metrics" => {
                let json = serde_json::to_vec(&self.cloudwatch.all()).unwrap_or_default();
                wire::answer(Protocol::Json("application/json"), json)
            }
            _ => {
                let error = AwsError::new(404, "NotFound", "there are /_kinetide/health and /_kinetide/metrics");
                wire::error(Protocol::Json("application/json"), &error)
            }
        }
    }
}

async fn read(headers: &HeaderMap, body: Incoming) -> Result<Bytes, AwsError> {
    let too_large =
        || AwsError::new(413, "RequestEntityTooLarge", format!("request bodies end at {BODY_BYTES_MAX} bytes"));
    let body = axum::body::to_bytes(Body::new(body), BODY_BYTES_MAX).await.map_err(|_| too_large())?;
    if header_text(headers, "content-encoding") != "gzip" {
        return Ok(body);
    }
    let mut plain = Vec::new();
    // One byte more than allowed tells a bomb from a body that just fits.
    let limit = BODY_BYTES_MAX as u64 + 1;
    let unpacked = flate2::read::MultiGzDecoder::new(&body[..]).take(limit).read_to_end(&mut plain);
    unpacked.map_err(|error| AwsError::new(400, "SerializationException", format!("not gzip: {error}")))?;
    if plain.len() > BODY_BYTES_MAX { Err(too_large()) } else { Ok(plain.into()) }
}

/// The protocol of a request that could not be read, from its headers alone.
fn guess(headers: &HeaderMap) -> Protocol {
    match media_type(headers) {
        "application/x-amz-cbor-1.1" => Protocol::KinesisCbor,
        "application/cbor" => Protocol::RpcCbor,
        "application/x-www-form-urlencoded" => Protocol::Query,
        "application/x-amz-json-1.0" => JSON_10,
        _ => JSON_11,
    }
}

fn media_type(headers: &HeaderMap) -> &str {
    header_text(headers, header::CONTENT_TYPE.as_str()).split(';').next().unwrap_or("").trim()
}

fn identify(uri: &Uri, headers: &HeaderMap, body: Bytes) -> Result<Call, Refusal> {
    let target = header_text(headers, "x-amz-target");
    if !target.is_empty() {
        return by_target(target, guess(headers), body);
    }
    if let Some(path) = uri.path().strip_prefix("/service/") {
        return by_path(path, body);
    }
    if media_type(headers) == "application/x-www-form-urlencoded"
        || form::value(uri.query().unwrap_or(""), "Action").is_some()
    {
        return by_action(uri, body);
    }
    Err((Protocol::RestXml, unknown(&signed_for(headers), "")))
}

fn by_target(target: &str, protocol: Protocol, body: Bytes) -> Result<Call, Refusal> {
    let (prefix, operation) = target.split_once('.').unwrap_or((target, ""));
    let service = match prefix {
        "Kinesis_20131202" => Service::Kinesis,
        "DynamoDB_20120810" | "DynamoDBStreams_20120810" => Service::DynamoDb,
        "GraniteServiceVersion20100801" => Service::CloudWatch,
        _ => return Err((protocol, unknown(prefix, operation))),
    };
    Ok(Call { service, operation: operation.to_owned(), protocol, body })
}

fn by_path(path: &str, body: Bytes) -> Result<Call, Refusal> {
    match path.split_once("/operation/") {
        Some(("GraniteServiceVersion20100801", operation)) => Ok(Call {
            service: Service::CloudWatch,
            operation: operation.to_owned(),
            protocol: Protocol::RpcCbor,
            body,
        }),
        other => {
            let (service, operation) = other.unwrap_or((path, ""));
            Err((Protocol::RpcCbor, unknown(service, operation)))
        }
    }
}

fn by_action(uri: &Uri, body: Bytes) -> Result<Call, Refusal> {
    let body = if body.is_empty() { Bytes::from(uri.query().unwrap_or("").to_owned()) } else { body };
    let text = String::from_utf8_lossy(&body);
    let operation = form::value(&text, "Action").unwrap_or_default();
    let service = match form::value(&text, "Version").as_deref() {
        Some("2010-08-01") => Service::CloudWatch,
        Some("2011-06-15") => Service::Sts,
        version => {
            return Err((Protocol::Query, unknown(&format!("version {}", version.unwrap_or("none")), &operation)));
        }
    };
    drop(text);
    Ok(Call { service, operation, protocol: Protocol::Query, body })
}

/// The service a client signed for, which names it better than a path does.
fn signed_for(headers: &HeaderMap) -> String {
    let scope = header_text(headers, "authorization").split("Credential=").nth(1).unwrap_or("");
    scope.split('/').nth(3).unwrap_or("unknown").to_owned()
}

fn unknown(service: &str, operation: &str) -> AwsError {
    let message = format!(
        "no service for {service:?} {operation:?} here: this is a local endpoint for Kinesis, DynamoDB, \
         CloudWatch PutMetricData and STS"
    );
    AwsError::new(400, "UnknownOperationException", message)
}

fn canned(answer: Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let mut response = wire::respond(status, JSON_11, Body::from(answer.body));
    if let Ok(content_type) = answer.content_type.parse() {
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    }
    response
}
