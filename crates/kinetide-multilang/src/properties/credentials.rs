//! Names of Java credentials providers, translated.
//!
//! A value is a list of `Name|argument|…` with commas between: a chain. What cannot be translated is left out with a
//! reason; a list of which nothing remains is for the caller to refuse. Arguments, and names that look like anything
//! but a class, are never repeated: somebody may have put a secret there.

use kinetide::aws::CredentialsSource;

/// What a list of providers came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) sources: Vec<CredentialsSource>,
    /// Providers left out, and why.
    pub(super) problems: Vec<String>,
    /// Providers taken that should be written otherwise.
    pub(super) notes: Vec<String>,
}

/// Packages in which Java looks for a name, and the one of SDK 1.
const PACKAGES: [&str; 2] = ["software.amazon.kinesis.multilang.auth.", "software.amazon.awssdk.auth.credentials."];
const PACKAGES_V1: [&str; 2] = ["com.amazonaws.auth.profile.", "com.amazonaws.auth."];

/// Translates a list.
pub(super) fn sources(list: &str) -> Named {
    let mut named = Named::default();
    for provider in list.split(',').map(str::trim).filter(|provider| !provider.is_empty()) {
        let (class, arguments) = provider.split_once('|').unwrap_or((provider, ""));
        named.add(class.trim(), arguments.split('|').next().unwrap_or_default().trim());
    }
    if named.sources.is_empty() && named.problems.is_empty() {
        named.problems.push("the list is empty".to_owned());
    }
    named
}

impl Named {
    fn add(&mut self, class: &str, argument: &str) {
        let short = PACKAGES.iter().find_map(|package| class.strip_prefix(package)).unwrap_or(class);
        let short_v1 = PACKAGES_V1.iter().find_map(|package| short.strip_prefix(package)).unwrap_or(short);
        if let Some(source) = current(short, argument) {
            self.sources.push(source);
        } else if let Some((source, name)) = former(short_v1, argument) {
            self.notes.push(format!("{short_v1} is a name of AWS SDK 1; write {name}"));
            self.sources.push(source);
        } else {
            self.problems.push(problem(short));
        }
    }
}

fn profile(name: &str) -> CredentialsSource {
    CredentialsSource::Profile((!name.is_empty()).then(|| name.to_owned()))
}

fn current(class: &str, argument: &str) -> Option<CredentialsSource> {
    Some(match class {
        "DefaultCredentialsProvider" => CredentialsSource::DefaultChain,
        "EnvironmentVariableCredentialsProvider" => CredentialsSource::Environment,
        "ProfileCredentialsProvider" => profile(argument),
        "InstanceProfileCredentialsProvider" => CredentialsSource::InstanceProfile,
        "ContainerCredentialsProvider" => CredentialsSource::Container,
        "WebIdentityTokenFileCredentialsProvider" => CredentialsSource::WebIdentity,
        _ => return None,
    })
}

/// Names that the Java daemon has not known since 3.0. Some are also current ones, under the package of SDK 1.
fn former(class: &str, argument: &str) -> Option<(CredentialsSource, &'static str)> {
    Some(match class {
        "DefaultAWSCredentialsProviderChain" => (CredentialsSource::DefaultChain, "DefaultCredentialsProvider"),
        "EnvironmentVariableCredentialsProvider" => {
            (CredentialsSource::Environment, "EnvironmentVariableCredentialsProvider")
        }
        "ProfileCredentialsProvider" => (profile(argument), "ProfileCredentialsProvider"),
        "InstanceProfileCredentialsProvider" => {
            (CredentialsSource::InstanceProfile, "InstanceProfileCredentialsProvider")
        }
        "ContainerCredentialsProvider" | "EC2ContainerCredentialsProviderWrapper" => {
            (CredentialsSource::Container, "ContainerCredentialsProvider")
        }
        "WebIdentityTokenCredentialsProvider" => {
            (CredentialsSource::WebIdentity, "WebIdentityTokenFileCredentialsProvider")
        }
        _ => return None,
    })
}

fn problem(class: &str) -> String {
    let why = match class {
        "StsAssumeRoleCredentialsProvider" | "KclStsAssumeRoleCredentialsProvider" | "AnonymousCredentialsProvider" => {
            "is not built yet"
        }
        "SystemPropertyCredentialsProvider" | "SystemPropertiesCredentialsProvider" => {
            "reads Java system properties, and there is no Java here"
        }
        _ => "is not known; Java classes of your own cannot be used",
    };
    format!("{} {why}", shown(class))
}

/// A class name as it is, anything else not at all.
fn shown(class: &str) -> &str {
    let is_word = class.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'$'));
    let is_class = ["Provider", "Chain", "Credentials"].iter().any(|part| class.contains(part));
    if is_word && is_class { class } else { "a name that is no credentials provider" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn current_names_with_and_without_package() {
        for name in [
            "DefaultCredentialsProvider",
            "software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider",
            "software.amazon.kinesis.multilang.auth.DefaultCredentialsProvider|x",
        ] {
            let named = sources(name);
            assert_eq!(named, Named { sources: vec![CredentialsSource::DefaultChain], ..Named::default() }, "{name}");
        }
    }

    #[test]
    fn lists_are_chains() {
        let named = sources(
            "EnvironmentVariableCredentialsProvider, ProfileCredentialsProvider|dev,ProfileCredentialsProvider",
        );
        let expected = [
            CredentialsSource::Environment,
            CredentialsSource::Profile(Some("dev".to_owned())),
            CredentialsSource::Profile(None),
        ];
        assert_eq!(named.sources, expected);
    }

    #[test]
    fn names_of_sdk_1_work_and_are_noted() {
        let named =
            sources("DefaultAWSCredentialsProviderChain,com.amazonaws.auth.profile.ProfileCredentialsProvider|dev");
        assert_eq!(
            named.sources,
            [CredentialsSource::DefaultChain, CredentialsSource::Profile(Some("dev".to_owned()))]
        );
        assert_eq!(
            named.notes[0],
            "DefaultAWSCredentialsProviderChain is a name of AWS SDK 1; write DefaultCredentialsProvider"
        );
    }

    #[test]
    fn what_cannot_be_used_says_why() {
        let named = sources(
            "StsAssumeRoleCredentialsProvider|arn|session,com.example.OwnProvider,SystemPropertyCredentialsProvider",
        );
        assert!(named.sources.is_empty());
        let problems = [
            "StsAssumeRoleCredentialsProvider is not built yet",
            "com.example.OwnProvider is not known; Java classes of your own cannot be used",
            "SystemPropertyCredentialsProvider reads Java system properties, and there is no Java here",
        ];
        assert_eq!(named.problems, problems);
        assert_eq!(sources(" , ").problems, ["the list is empty"]);
    }

    #[test]
    fn secrets_are_not_repeated() {
        let named = sources("AKIAIOSFODNN7EXAMPLE,wJalrXUtnFEMI/K7MDENG,StaticCredentialsProvider|AKIA|secret");
        let text = format!("{named:?}");
        assert!(!text.contains("AKIA") && !text.contains("MDENG") && !text.contains("secret"), "{text}");
    }
}
