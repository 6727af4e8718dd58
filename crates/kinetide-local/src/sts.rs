//! AssumeRole and GetCallerIdentity, so that clients which assume a role before they start can start.
//!
//! Nothing is verified: any caller is the account's root, any role can be assumed. Answers are the query protocol's
//! XML.

use axum::response::Response;

use crate::faults::AwsError;
use crate::settings::Settings;
use crate::wire::{self, Protocol, xml_text};
use crate::{calendar, clock, form};

const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";
const SESSION_S_DEFAULT: u64 = 3600;

#[derive(Debug)]
pub(crate) struct Sts {
    account_id: String,
}

impl Sts {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self { account_id: settings.account_id.clone() }
    }

    pub(crate) fn handle(&self, operation: &str, protocol: Protocol, body: &[u8]) -> Response {
        let result = match operation {
            "GetCallerIdentity" => self.caller_identity(),
            "AssumeRole" => self.assume_role(&String::from_utf8_lossy(body)),
            _ => {
                let message = format!("STS {operation:?} is not emulated: there are AssumeRole and GetCallerIdentity");
                return wire::error(protocol, &AwsError::new(400, "InvalidAction", message));
            }
        };
        let metadata =
            "<ResponseMetadata><RequestId>00000000-0000-0000-0000-000000000000</RequestId></ResponseMetadata>";
        let xml = format!(
            "<{operation}Response xmlns=\"{NAMESPACE}\"><{operation}Result>{result}</{operation}Result>{metadata}\
             </{operation}Response>"
        );
        wire::answer(protocol, xml)
    }

    fn caller_identity(&self) -> String {
        let account = &self.account_id;
        format!("<Arn>arn:aws:iam::{account}:root</Arn><UserId>{account}</UserId><Account>{account}</Account>")
    }

    fn assume_role(&self, form: &str) -> String {
        let text = |name| form::value(form, name).map(|value| xml_text(&value));
        let session = text("RoleSessionName").unwrap_or_else(|| "session".to_owned());
        let role = text("RoleArn").unwrap_or_else(|| format!("arn:aws:iam::{}:role/local", self.account_id));
        let assumed = role.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/");
        let seconds = text("DurationSeconds").and_then(|value| value.parse().ok()).unwrap_or(SESSION_S_DEFAULT);
        let expiration = calendar::rfc3339(clock::wall_ms() / 1000 + seconds);
        format!(
            "<Credentials><AccessKeyId>ASIAKINETIDELOCAL000</AccessKeyId><SecretAccessKey>local</SecretAccessKey>\
             <SessionToken>local</SessionToken><Expiration>{expiration}</Expiration></Credentials>\
             <AssumedRoleUser><Arn>{assumed}/{session}</Arn>\
             <AssumedRoleId>AROAKINETIDELOCAL000:{session}</AssumedRoleId></AssumedRoleUser>"
        )
    }
}
