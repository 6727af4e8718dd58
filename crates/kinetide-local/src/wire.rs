//! The protocols AWS clients speak, as far as the endpoint needs them.
//!
//! One request is one [`Protocol`]; answers and errors are rendered in it here and nowhere else. Not here: what a
//! request means. Invariants: an error has the shape its client understands, whatever went wrong; every answer carries
//! a request id.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ciborium::Value as Cbor;
use serde_json::Value as Json;

use crate::clock;
use crate::faults::AwsError;

const REQUEST_ID: &str = "x-amzn-requestid";

/// How a client wrote its request and reads its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// JSON with the operation in `X-Amz-Target`; the content type is echoed.
    Json(&'static str),
    /// The CBOR of Kinesis, which differs from RPC v2 in its timestamps.
    KinesisCbor,
    /// Form in, XML out.
    Query,
    /// Smithy RPC v2 with CBOR, the operation in the path.
    RpcCbor,
    /// REST services: only ever answered with an error.
    RestXml,
}

pub(crate) const JSON_10: Protocol = Protocol::Json("application/x-amz-json-1.0");
pub(crate) const JSON_11: Protocol = Protocol::Json("application/x-amz-json-1.1");

impl Protocol {
    fn content_type(self) -> &'static str {
        match self {
            Self::Json(content_type) => content_type,
            Self::KinesisCbor => "application/x-amz-cbor-1.1",
            Self::Query => "text/xml",
            Self::RestXml => "application/xml",
            Self::RpcCbor => "application/cbor",
        }
    }

    pub(crate) fn is_cbor(self) -> bool {
        matches!(self, Self::KinesisCbor | Self::RpcCbor)
    }
}

/// 200 with a body already encoded for the protocol.
pub(crate) fn answer(protocol: Protocol, body: impl Into<Body>) -> Response {
    respond(StatusCode::OK, protocol, body.into())
}

pub(crate) fn respond(status: StatusCode, protocol: Protocol, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(protocol.content_type()));
    if protocol == Protocol::RpcCbor {
        headers.insert("smithy-protocol", HeaderValue::from_static("rpc-v2-cbor"));
    }
    headers.insert(REQUEST_ID, request_id());
    response
}

pub(crate) fn error(protocol: Protocol, error: &AwsError) -> Response {
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = match protocol {
        Protocol::Json(_) => Body::from(error_json(error).to_string()),
        Protocol::KinesisCbor | Protocol::RpcCbor => Body::from(encode_cbor(&json_to_cbor(error_json(error)))),
        Protocol::Query => Body::from(error_xml(error)),
        Protocol::RestXml => Body::from(format!("<Error>{}</Error>", code_and_message(error))),
    };
    let mut response = respond(status, protocol, body);
    if let Ok(code) = HeaderValue::from_str(&error.code) {
        response.headers_mut().insert("x-amzn-errortype", code);
    }
    response
}

fn error_json(error: &AwsError) -> Json {
    serde_json::json!({ "__type": error.code, "message": error.message })
}

fn error_xml(error: &AwsError) -> String {
    let side = if error.status < 500 { "Sender" } else { "Receiver" };
    format!("<ErrorResponse><Error><Type>{side}</Type>{}</Error></ErrorResponse>", code_and_message(error))
}

fn code_and_message(error: &AwsError) -> String {
    format!("<Code>{}</Code><Message>{}</Message>", xml_text(&error.code), xml_text(&error.message))
}

/// Text between two XML tags.
pub(crate) fn xml_text(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Unique within this process and, by the clock in front, over restarts; shaped like the service's.
fn request_id() -> HeaderValue {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let count = NEXT.fetch_add(1, Ordering::Relaxed);
    let now = clock::wall_ms();
    let id = format!("{:08x}-{:04x}-4000-8000-{:012x}", now >> 16, now & 0xffff, count & 0xffff_ffff_ffff);
    HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("0"))
}

/// The value of a header, or an empty text.
pub(crate) fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
}

/// A request body as JSON, whatever it was written in. Kinesis' CBOR timestamps, tag 1 over milliseconds, become
/// seconds.
pub(crate) fn decode(protocol: Protocol, body: &[u8]) -> Result<Json, AwsError> {
    let malformed = |reason: String| AwsError::new(400, "SerializationException", reason);
    let value = if protocol.is_cbor() {
        cbor_to_json(ciborium::from_reader(body).map_err(|error| malformed(error.to_string()))?)
    } else {
        serde_json::from_slice(body).map_err(|error| malformed(error.to_string()))?
    };
    if value.is_object() { Ok(value) } else { Err(malformed("the request is not an object".to_owned())) }
}

/// An answer in the client's encoding. In Kinesis' CBOR every `…Timestamp` becomes tag 1 over milliseconds.
pub(crate) fn encode(protocol: Protocol, value: Json) -> Vec<u8> {
    if protocol.is_cbor() { encode_cbor(&json_to_cbor(value)) } else { value.to_string().into_bytes() }
}

pub(crate) fn encode_cbor<T: serde::Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Writing into memory fails only for a value that cannot be CBOR, and all of ours are made of maps, lists and
    // scalars.
    let written = ciborium::into_writer(value, &mut bytes);
    debug_assert!(written.is_ok(), "unencodable answer: {written:?}");
    bytes
}

/// Above this a timestamp is in milliseconds: as seconds it would lie in the year 5138.
const SECONDS_MAX: f64 = 1e11;

/// The wire knows seconds and milliseconds, tagged and not; decide by magnitude.
pub(crate) fn timestamp_ms(value: f64) -> u64 {
    let ms = if value > SECONDS_MAX { value } else { value * 1000.0 };
    ms.round().max(0.0) as u64
}

fn cbor_to_json(value: Cbor) -> Json {
    match value {
        Cbor::Bool(flag) => Json::Bool(flag),
        Cbor::Integer(number) => i64::try_from(i128::from(number)).map_or(Json::Null, Json::from),
        Cbor::Float(number) => Json::from(number),
        Cbor::Text(text) => Json::String(text),
        Cbor::Bytes(bytes) => Json::String(STANDARD.encode(bytes)),
        Cbor::Array(items) => items.into_iter().map(cbor_to_json).collect(),
        Cbor::Map(entries) => Json::Object(entries.into_iter().filter_map(entry_to_json).collect()),
        Cbor::Tag(1, inner) => {
            cbor_number(&inner).map_or(Json::Null, |time| Json::from(timestamp_ms(time) as f64 / 1000.0))
        }
        Cbor::Tag(_, inner) => cbor_to_json(*inner),
        _ => Json::Null,
    }
}

fn entry_to_json((key, value): (Cbor, Cbor)) -> Option<(String, Json)> {
    key.into_text().ok().map(|key| (key, cbor_to_json(value)))
}

/// An integer or a float, tagged or not.
pub(crate) fn cbor_number(value: &Cbor) -> Option<f64> {
    match value {
        Cbor::Integer(number) => Some(i128::from(*number) as f64),
        Cbor::Float(number) => Some(*number),
        Cbor::Tag(_, inner) => cbor_number(inner),
        _ => None,
    }
}

fn json_to_cbor(value: Json) -> Cbor {
    match value {
        Json::Null => Cbor::Null,
        Json::Bool(flag) => Cbor::Bool(flag),
        Json::Number(number) => number.as_i64().map_or_else(|| Cbor::Float(number.as_f64().unwrap_or(0.0)), Cbor::from),
        Json::String(text) => Cbor::Text(text),
        Json::Array(items) => Cbor::Array(items.into_iter().map(json_to_cbor).collect()),
        Json::Object(entries) => Cbor::Map(entries.into_iter().map(entry_to_cbor).collect()),
    }
}

fn entry_to_cbor((key, value): (String, Json)) -> (Cbor, Cbor) {
    let value = match value.as_f64() {
        Some(seconds) if key.ends_with("Timestamp") => Cbor::Tag(1, Box::new(Cbor::from(timestamp_ms(seconds)))),
        _ => json_to_cbor(value),
    };
    (Cbor::Text(key), value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn timestamps_are_read_in_either_unit_and_written_as_tagged_milliseconds() {
        for written in [Cbor::from(1_700_000_000_123_i64), Cbor::Float(1_700_000_000.123)] {
            let body = encode_cbor(&Cbor::Map(vec![(Cbor::from("Timestamp"), Cbor::Tag(1, Box::new(written)))]));
            assert_eq!(decode(Protocol::KinesisCbor, &body).unwrap(), json!({ "Timestamp": 1_700_000_000.123 }));
        }
        let bytes = encode(Protocol::KinesisCbor, json!({ "StreamCreationTimestamp": 1_700_000_000 }));
        let back: Cbor = ciborium::from_reader(&bytes[..]).unwrap();
        let tagged = Cbor::Tag(1, Box::new(Cbor::from(1_700_000_000_000_i64)));
        assert_eq!(back, Cbor::Map(vec![(Cbor::from("StreamCreationTimestamp"), tagged)]));
    }

    #[test]
    fn errors_have_the_shape_of_their_protocol() {
        let fault = AwsError::new(400, "Bad<Thing>", "a & b");
        assert_eq!(error_json(&fault), json!({ "__type": "Bad<Thing>", "message": "a & b" }));
        assert!(error_xml(&fault).contains("<Code>Bad&lt;Thing&gt;</Code><Message>a &amp; b</Message>"));
        assert_eq!(error(Protocol::KinesisCbor, &fault).status(), 400);
    }
}
