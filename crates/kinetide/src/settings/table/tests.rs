use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// Field → value, as `Debug` prints them.
fn fields(settings: &Settings) -> BTreeMap<String, String> {
    let printed = format!("{settings:#?}").replace("(\n        ", "(").replace(",\n    )", ")");
    let line =
        |line: &str| line.trim().trim_end_matches(',').split_once(": ").map(|(k, v)| (k.to_owned(), v.to_owned()));
    printed.lines().filter_map(line).collect()
}

fn set(row: &Row, text: &str) -> Settings {
    let mut settings = Settings::default();
    row.apply(&mut settings, &row.parse(text).unwrap()).unwrap();
    settings
}

fn row(key: &str) -> &'static Row {
    find(key).unwrap_or_else(|| panic!("no row for {key}"))
}

#[test]
fn every_field_has_one_row() {
    let known: BTreeSet<String> = fields(&Settings::default()).into_keys().collect();
    let rows: Vec<&str> = ROWS.iter().map(|row| row.field).filter(|field| !field.is_empty()).collect();
    let unique: BTreeSet<String> = rows.iter().map(|field| (*field).to_owned()).collect();
    assert_eq!(unique, known);
    assert_eq!(unique.len(), rows.len(), "a field in two rows");
}

#[test]
fn every_key_names_one_row() {
    let mut seen = BTreeSet::new();
    for row in ROWS {
        for key in row.keys() {
            assert!(seen.insert(key.to_lowercase()), "{key} twice");
            assert_eq!(find(&key).map(|found| found.doc), Some(row.doc), "{key}");
        }
    }
    assert!(seen.len() > 100);
}

#[test]
fn defaults_are_the_java_ones() {
    let settable = ROWS.iter().filter(|row| !row.field.is_empty() && !row.property.is_empty());
    for row in settable {
        let is_deviation = DEVIATIONS.iter().any(|(field, _)| *field == row.field);
        let is_java = set(row, row.java_default) == Settings::default() && row.java_default != "0";
        assert_eq!(is_java, !is_deviation, "{}", row.property);
    }
    assert_eq!(Settings::default().initialization_attempts_max.get().to_string(), "20");
}

#[test]
fn a_row_sets_its_field_and_no_other() {
    let default = fields(&Settings::default());
    for row in ROWS.iter().filter(|row| !matches!(row.setter, Setter::Nothing)) {
        let text = match row.kind {
            Kind::Flag => {
                if row.java_default == "true" {
                    "false"
                } else {
                    "true"
                }
            }
            Kind::Word(words) => words[1],
            _ => "4321",
        };
        let changed: Vec<String> = fields(&set(row, text))
            .into_iter()
            .filter(|(name, value)| default[name] != *value)
            .map(|(name, _)| name)
            .collect();
        assert_eq!(changed, [row.field], "{}", row.property);
    }
}

#[test]
fn keys_are_case_sensitive_but_for_credentials() {
    assert!(find("failoverTimeMillis").is_some());
    assert!(find("FailoverTimeMillis").is_none());
    assert!(find("RetrievalMode").is_none());
    assert_eq!(row("awscredentialsprovider").property, "AwsCredentialsProvider");
    assert_eq!(row("AWSCREDENTIALSPROVIDERDynamoDB").property, "AwsCredentialsProviderDynamoDB");
    assert!(find("awsCredentialsProviderDYNAMODB").is_none());
    assert_eq!(row("workerIdentifier").property, "workerId");
    assert_eq!(row("pollingConfig.maxRecords").property, "maxRecords");
    assert!(find("fanoutConfig.consumerName").is_some() && find("consumerName").is_none());
    assert!(find("").is_none());
}

#[test]
fn numbers_that_cannot_be_read_leave_the_default() {
    let row = row("failoverTimeMillis");
    for text in ["abc", "", "1.5", "5_000", "0x10", "-12", "99999999999999999999"] {
        let error = row.parse(text).unwrap_err();
        assert!(!error.is_refused, "{text}");
        assert!(error.to_string().starts_with(&format!("failoverTimeMillis is '{text}', which is ")), "{error}");
        assert!(error.to_string().ends_with("; the default (10000) stays"), "{error}");
    }
    assert_eq!(row.parse(" 5000 ").unwrap(), Value::Time(Duration::from_secs(5)));
}

#[test]
fn zero_leaves_the_default() {
    let mut settings = Settings::default();
    let note = row("maxRecords").apply(&mut settings, &Value::Number(0)).unwrap();
    assert_eq!(note.unwrap(), "maxRecords is 0, which leaves the default (10000)");
    assert_eq!(row("shutdownGraceMillis").apply(&mut settings, &Value::Time(Duration::ZERO)).unwrap(), None);
    assert_eq!(settings, Settings::default());
}

#[test]
fn bounds_refuse_or_raise() {
    let apply = |key, text: &str| {
        let mut settings = Settings::default();
        let note = row(key).apply(&mut settings, &row(key).parse(text).unwrap());
        (settings, note)
    };
    let (_, refused) = apply("maxRecords", "10001");
    assert_eq!(refused.unwrap_err().to_string(), "maxRecords is '10001', which must be at most 10000");
    let (settings, raised) = apply("idleTimeBetweenReadsInMillis", "50");
    assert_eq!(raised.unwrap().unwrap(), "idleTimeBetweenReadsInMillis is 50: raised to 200");
    assert_eq!(settings.idle_time_between_reads, Some(Duration::from_millis(200)));
    for key in ["taskBackoffTimeMillis", "parentShardPollIntervalMillis"] {
        assert_eq!(apply(key, "9").1.unwrap_err().to_string(), format!("{key} is '9', which must be at least 10"));
        assert_eq!(apply(key, "10").0.validate(), Ok(()));
    }
    assert!(apply("failoverTimeMillis", "999").1.unwrap_err().is_refused);
    assert!(!apply("maxLeasesForWorker", "5000000000").1.unwrap_err().is_refused);
}

#[test]
fn flags_words_and_times() {
    for (text, flag) in [
        ("true", true),
        ("YES", true),
        ("y", true),
        ("On", true),
        ("1", true),
        ("", false),
        ("0", false),
        ("No", false),
    ] {
        assert_eq!(row("callProcessRecordsEvenForEmptyRecordList").parse(text).unwrap(), Value::Flag(flag), "{text}");
    }
    for text in ["ture", "t", "2", "true false"] {
        let error = row("cleanupLeasesUponShardCompletion").parse(text).unwrap_err();
        assert!(!error.is_refused);
        let sentence = format!(
            "cleanupLeasesUponShardCompletion is '{text}', which is neither true nor false; the default (true) stays"
        );
        assert_eq!(error.to_string(), sentence);
    }
    assert_eq!(row("initialPositionInStream").parse("trim_horizon ").unwrap(), Value::Word("TRIM_HORIZON"));
    let error = row("retrievalMode").parse("fast").unwrap_err();
    assert_eq!(error.to_string(), "retrievalMode is 'fast', which is none of DEFAULT, POLLING, FANOUT");
    assert!(error.is_refused);
    assert_eq!(row("initialPositionInStreamExtended").parse(" -5 ").unwrap(), Value::EpochSeconds(-5));
    assert!(row("initialPositionInStreamExtended").parse("2026-01-01").unwrap_err().is_refused);
    assert!(row("staleWorkerMetricsEntryCleanupDuration").parse("1 day").unwrap_err().is_refused);
    assert!(row("kinesisEndpoint").parse("localhost:4567").unwrap_err().is_refused);
    assert!(row("shardPrioritization").parse("x").unwrap_err().is_refused);
    assert!(row("workerMetricsEMAAlpha").parse("NaN").is_err());
}

#[test]
fn documentation_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/settings.md");
    if std::env::var_os("KINETIDE_BLESS").is_some() {
        std::fs::write(path, markdown()).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == markdown(), "docs/settings.md is not what the table says; run with KINETIDE_BLESS=1");
}
