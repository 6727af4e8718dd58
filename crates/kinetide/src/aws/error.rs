//! One classifier for the failures of AWS calls: by what the caller can do about them.

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::lease::{TableError, TableErrorKind};
use crate::stream::{SourceError, SourceErrorKind};

/// What became of a failed call.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    /// The service answered with this error code.
    Refused { code: String, status: u16 },
    /// Nothing reached the service.
    NotSent,
    /// No credentials, or the request could not be built.
    NotBuilt,
    /// The answer was lost: the call may have been carried out.
    Lost,
}

fn fate<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Fate {
    match error {
        SdkError::ServiceError(service) => Fate::Refused {
            code: service.err().code().unwrap_or_default().to_owned(),
            status: service.raw().status().as_u16(),
        },
        SdkError::DispatchFailure(failure) if is_connect_failure(failure) => Fate::NotSent,
        SdkError::DispatchFailure(failure) if failure.is_user() => Fate::NotBuilt,
        SdkError::ConstructionFailure(_) => Fate::NotBuilt,
        _ => Fate::Lost,
    }
}

/// True if no connection was made, so that the service saw nothing.
fn is_connect_failure(failure: &aws_smithy_runtime_api::client::result::DispatchFailure) -> bool {
    let mut cause = failure.as_connector_error().map(|error| error as &dyn std::error::Error);
    while let Some(error) = cause {
        let refused = error.downcast_ref::<std::io::Error>().is_some_and(|io| {
            use std::io::ErrorKind::{AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkUnreachable};
            matches!(io.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable | AddrNotAvailable)
        });
        // A resolver's failure has no kind of its own.
        if refused || error.to_string().contains("dns error") {
            return true;
        }
        cause = error.source();
    }
    false
}

/// What to tell a person: the service's own words, or what became of the call and why.
fn message<E>(error: &SdkError<E, HttpResponse>, fate: &Fate, address: &str) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    if let SdkError::ServiceError(service) = error {
        let (code, text) = (service.err().code().unwrap_or("unknown error"), service.err().message());
        return text.map_or_else(|| code.to_owned(), |text| format!("{code}: {text}"));
    }
    let what = match fate {
        Fate::NotSent => "no connection to",
        Fate::NotBuilt => "no request could be made for",
        _ => "no answer from",
    };
    format!("{what} {address}: {}", root_cause(error))
}

/// The innermost cause; what the SDK wraps around it says the same in more words.
fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.last().map(|cause| cause.to_string().replace('\n', " ")).unwrap_or_default()
}

fn source_kind(fate: &Fate) -> SourceErrorKind {
    let (code, status) = match fate {
        Fate::Refused { code, status } => (code.as_str(), *status),
        Fate::NotBuilt => return SourceErrorKind::Denied,
        Fate::NotSent | Fate::Lost => return SourceErrorKind::Unavailable,
    };
    match code {
        "ProvisionedThroughputExceededException" | "LimitExceededException" | "KMSThrottlingException" => {
            SourceErrorKind::Throttled
        }
        "ThrottlingException" | "RequestLimitExceeded" | "TooManyRequestsException" => SourceErrorKind::Throttled,
        "ExpiredIteratorException" => SourceErrorKind::IteratorExpired,
        "ResourceNotFoundException" => SourceErrorKind::NotFound,
        "ResourceInUseException" => SourceErrorKind::NotReady,
        code if is_denial(code) => SourceErrorKind::Denied,
        _ if status >= 500 => SourceErrorKind::Unavailable,
        _ => SourceErrorKind::Invalid,
    }
}

fn table_kind(fate: &Fate) -> TableErrorKind {
    let (code, status) = match fate {
        Fate::Refused { code, status } => (code.as_str(), *status),
        Fate::NotBuilt => return TableErrorKind::Denied,
        Fate::NotSent => return TableErrorKind::Unavailable,
        Fate::Lost => return TableErrorKind::Ambiguous,
    };
    match code {
        "ProvisionedThroughputExceededException" | "ThrottlingException" | "RequestLimitExceeded" => {
            TableErrorKind::Throttled
        }
        "LimitExceededException" | "TransactionInProgressException" => TableErrorKind::Throttled,
        "ResourceNotFoundException" => TableErrorKind::Missing,
        "ResourceInUseException" => TableErrorKind::Unavailable,
        code if is_denial(code) => TableErrorKind::Denied,
        // The service failed while it worked on the request.
        _ if status >= 500 => TableErrorKind::Ambiguous,
        _ => TableErrorKind::Invalid,
    }
}

fn is_denial(code: &str) -> bool {
    matches!(
        code,
        "AccessDeniedException"
            | "UnrecognizedClientException"
            | "InvalidSignatureException"
            | "ExpiredTokenException"
            | "MissingAuthenticationTokenException"
            | "IncompleteSignature"
            | "KMSAccessDeniedException"
    )
}

/// Classifies a failed call to Kinesis at this address.
pub(super) fn source_error<E>(operation: &'static str, address: &str, error: SdkError<E, HttpResponse>) -> SourceError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let fate = fate(&error);
    SourceError::new(source_kind(&fate), operation, message(&error, &fate, address))
}

/// A table, and where it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) table: &'a str,
    pub(super) address: &'a str,
}

/// Classifies a failed call to DynamoDB.
pub(super) fn table_error<E>(operation: &'static str, place: Place<'_>, error: SdkError<E, HttpResponse>) -> TableError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let fate = fate(&error);
    TableError::new(table_kind(&fate), operation, place.table, message(&error, &fate, place.address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: &str, status: u16) -> Fate {
        Fate::Refused { code: code.into(), status }
    }

    #[test]
    fn a_lost_answer_is_ambiguous_only_for_writes() {
        assert_eq!(table_kind(&Fate::Lost), TableErrorKind::Ambiguous);
        assert_eq!(source_kind(&Fate::Lost), SourceErrorKind::Unavailable);
        assert_eq!(table_kind(&Fate::NotSent), TableErrorKind::Unavailable);
    }

    #[test]
    fn codes_say_what_to_do() {
        assert_eq!(table_kind(&refused("ThrottlingException", 400)), TableErrorKind::Throttled);
        assert_eq!(table_kind(&refused("InternalServerError", 500)), TableErrorKind::Ambiguous);
        assert_eq!(table_kind(&refused("ValidationException", 400)), TableErrorKind::Invalid);
        assert_eq!(table_kind(&refused("UnrecognizedClientException", 400)), TableErrorKind::Denied);
        assert_eq!(source_kind(&refused("ExpiredIteratorException", 400)), SourceErrorKind::IteratorExpired);
        assert_eq!(source_kind(&refused("LimitExceededException", 400)), SourceErrorKind::Throttled);
        assert_eq!(source_kind(&refused("ServiceUnavailable", 503)), SourceErrorKind::Unavailable);
        assert_eq!(source_kind(&refused("InvalidArgumentException", 400)), SourceErrorKind::Invalid);
    }
}
