//! Finds region, credentials and endpoints, and builds the clients.
//!
//! The SDK's retries are off: every retry is ours (see [`crate::retry`]). TLS is rustls with ring.

use std::sync::Arc;
use std::time::Duration;

use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;

use crate::error::{WorkerError, chain};

/// How long a connection may take to open.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// How long one call may take; a GetRecords answer of 10 MiB needs some of it.
const CALL_TIME_MAX: Duration = Duration::from_secs(10);

/// How AWS is reached. Everything left out is found as every AWS tool finds it: environment, profile, instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AwsSettings {
    /// The region, such as `eu-central-1`.
    pub region: Option<String>,
    /// The profile in the shared configuration files.
    pub profile: Option<String>,
    /// The endpoint of every service that has none of its own.
    pub endpoint_url: Option<String>,
    /// The endpoint of Kinesis.
    pub kinesis_endpoint: Option<String>,
    /// The endpoint of DynamoDB.
    pub dynamodb_endpoint: Option<String>,
    /// Where credentials for Kinesis come from: the first source that has some. Empty: the default chain.
    pub kinesis_credentials: Vec<CredentialsSource>,
    /// Where credentials for DynamoDB come from. Empty: as for Kinesis.
    pub dynamodb_credentials: Vec<CredentialsSource>,
}

/// A place where credentials come from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CredentialsSource {
    /// Environment, profile, web identity, container, instance: what every AWS tool tries.
    DefaultChain,
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`.
    Environment,
    /// A profile of the shared configuration files; `None`: the default one.
    Profile(Option<String>),
    /// The instance metadata service of EC2.
    InstanceProfile,
    /// The credentials endpoint of ECS and EKS.
    Container,
    /// A web identity token file, as EKS mounts it.
    WebIdentity,
    /// These. Only for endpoints that check nothing: a secret in code or on a command line is no secret.
    Static {
        /// The access key.
        access_key_id: String,
        /// The secret key.
        secret_access_key: String,
    },
}

/// Clients of the services, ready to be used.
#[derive(Debug, Clone)]
pub struct Aws {
    pub(super) kinesis: aws_sdk_kinesis::Client,
    pub(super) dynamodb: aws_sdk_dynamodb::Client,
    /// Where they are, for messages.
    pub(super) kinesis_address: Arc<str>,
    pub(super) dynamodb_address: Arc<str>,
    pub(super) region: Arc<str>,
}

impl Aws {
    /// Finds region and credentials and builds the clients.
    ///
    /// # Errors
    /// [`WorkerError::Aws`] says which of the two was not found, and where it was looked for.
    pub async fn load(settings: &AwsSettings) -> Result<Self, WorkerError> {
        check_addresses(settings)?;
        let config = loader(settings).load().await;
        if config.region().is_none_or(|region| region.as_ref().is_empty()) {
            let message = "no AWS region: set AWS_REGION, the profile's region, --region or regionName";
            return Err(WorkerError::Aws(message.into()));
        }
        let kinesis_credentials = credentials(&settings.kinesis_credentials, &config);
        let dynamodb_credentials = match &settings.dynamodb_credentials[..] {
            [] => kinesis_credentials.clone(),
            sources => credentials(sources, &config),
        };
        check(&kinesis_credentials, settings).await?;
        if !settings.dynamodb_credentials.is_empty() {
            check(&dynamodb_credentials, settings).await?;
        }

        let mut kinesis = aws_sdk_kinesis::config::Builder::from(&config);
        kinesis.set_credentials_provider(kinesis_credentials);
        if let Some(url) = &settings.kinesis_endpoint {
            kinesis.set_endpoint_url(Some(url.clone()));
        }
        let mut dynamodb = aws_sdk_dynamodb::config::Builder::from(&config);
        dynamodb.set_credentials_provider(dynamodb_credentials);
        if let Some(url) = &settings.dynamodb_endpoint {
            dynamodb.set_endpoint_url(Some(url.clone()));
        }
        Ok(Self {
            kinesis: aws_sdk_kinesis::Client::from_conf(kinesis.build()),
            dynamodb: aws_sdk_dynamodb::Client::from_conf(dynamodb.build()),
            kinesis_address: address(&settings.kinesis_endpoint, "KINESIS", "Kinesis", &config),
            dynamodb_address: address(&settings.dynamodb_endpoint, "DYNAMODB", "DynamoDB", &config),
            region: config.region().map_or("", |region| region.as_ref()).into(),
        })
    }
}

/// Addresses are checked here: the SDK finds a wrong one at every call anew, and panics at an empty one.
fn check_addresses(settings: &AwsSettings) -> Result<(), WorkerError> {
    let given = [&settings.endpoint_url, &settings.kinesis_endpoint, &settings.dynamodb_endpoint];
    let given = given.into_iter().flatten().map(|url| ("the endpoint", url.clone()));
    let names = ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_KINESIS", "AWS_ENDPOINT_URL_DYNAMODB"];
    let variables = names.into_iter().filter_map(|name| Some((name, std::env::var(name).ok()?)));
    for (what, url) in given.chain(variables) {
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(WorkerError::Aws(format!("{what} is '{url}': it must begin with http:// or https://")));
        }
    }
    Ok(())
}

/// Where a service is called, as far as it is known here.
fn address(own: &Option<String>, variable: &str, service: &str, config: &SdkConfig) -> Arc<str> {
    let variable = std::env::var(format!("AWS_ENDPOINT_URL_{variable}")).ok();
    let url = own.clone().or(variable).or(config.endpoint_url().map(str::to_owned));
    let region = config.region().map_or("no region", |region| region.as_ref());
    url.unwrap_or_else(|| format!("{service} in {region}")).into()
}

fn loader(settings: &AwsSettings) -> ConfigLoader {
    let https = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT_TIME_MAX).operation_timeout(CALL_TIME_MAX).build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(https)
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts);
    if let Some(region) = &settings.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(profile) = &settings.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(url) = &settings.endpoint_url {
        loader = loader.endpoint_url(url);
    }
    loader
}

/// A provider that tries the sources in turn; the default chain, if there are none.
fn credentials(sources: &[CredentialsSource], config: &SdkConfig) -> Option<SharedCredentialsProvider> {
    use aws_config::meta::credentials::CredentialsProviderChain;
    let mut sources = sources.iter();
    let Some(first) = sources.next() else { return config.credentials_provider() };
    let mut chain = CredentialsProviderChain::first_try("first", provider(first, config));
    for source in sources {
        chain = chain.or_else("next", provider(source, config));
    }
    Some(SharedCredentialsProvider::new(chain))
}

fn provider(source: &CredentialsSource, config: &SdkConfig) -> SharedCredentialsProvider {
    use aws_config::{ecs, environment, imds, profile, web_identity_token};
    match source {
        CredentialsSource::DefaultChain => match config.credentials_provider() {
            Some(provider) => provider,
            None => SharedCredentialsProvider::new(environment::EnvironmentVariableCredentialsProvider::new()),
        },
        CredentialsSource::Environment => {
            SharedCredentialsProvider::new(environment::EnvironmentVariableCredentialsProvider::new())
        }
        CredentialsSource::Profile(name) => {
            let builder = profile::ProfileFileCredentialsProvider::builder();
            let builder = if let Some(name) = name { builder.profile_name(name) } else { builder };
            SharedCredentialsProvider::new(builder.build())
        }
        CredentialsSource::InstanceProfile => {
            SharedCredentialsProvider::new(imds::credentials::ImdsCredentialsProvider::builder().build())
        }
        CredentialsSource::Container => SharedCredentialsProvider::new(ecs::EcsCredentialsProvider::builder().build()),
        CredentialsSource::WebIdentity => {
            SharedCredentialsProvider::new(web_identity_token::WebIdentityTokenCredentialsProvider::builder().build())
        }
        CredentialsSource::Static { access_key_id, secret_access_key } => SharedCredentialsProvider::new(
            Credentials::from_keys(access_key_id.clone(), secret_access_key.clone(), None),
        ),
    }
}

/// Asks for credentials once, so that their lack is one clear sentence at start and not the failure of some later call.
async fn check(provider: &Option<SharedCredentialsProvider>, settings: &AwsSettings) -> Result<(), WorkerError> {
    let reason = match provider {
        None => "none are configured".to_owned(),
        Some(provider) => match provider.provide_credentials().await {
            Ok(_) => return Ok(()),
            // The SDK lists every place it looked, over several lines.
            Err(CredentialsError::CredentialsNotLoaded(_)) => "none were found".to_owned(),
            Err(error) => chain(&error).replace('\n', " "),
        },
    };
    let hint = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile";
    let profile = settings.profile.as_ref().map_or(String::new(), |profile| format!(" in profile '{profile}'"));
    Err(WorkerError::Aws(format!("no AWS credentials: {reason}{profile}; {hint}")))
}
