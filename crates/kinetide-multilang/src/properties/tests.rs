use super::*;

const LEAST: &str = "\
executableName = app.py
applicationName = app
streamName = orders
AwsCredentialsProvider = DefaultCredentialsProvider
retrievalMode = POLLING
";

fn parse(text: &str) -> Result<DaemonSettings, PropertiesError> {
    DaemonSettings::from_entries(&entries::read(text.as_bytes()).unwrap())
}

/// The least file, plus these lines.
fn with(lines: &str) -> DaemonSettings {
    parse(&format!("{LEAST}{lines}")).unwrap()
}

fn refused(lines: &str) -> String {
    parse(&format!("{LEAST}{lines}")).unwrap_err().to_string()
}

/// The least file without one of its lines.
fn without(key: &str) -> String {
    let text: String = LEAST.lines().filter(|line| !line.starts_with(key)).map(|line| format!("{line}\n")).collect();
    parse(&text).unwrap_err().to_string()
}

#[test]
fn the_least_file_gives_javas_defaults() {
    let daemon = with("");
    assert_eq!(daemon.command, ["app.py"]);
    assert_eq!((daemon.application.as_str(), daemon.stream.as_str()), ("app", "orders"));
    assert_eq!(daemon.kinesis_credentials, [CredentialsSource::DefaultChain]);
    assert!(daemon.dynamodb_credentials.is_empty());
    assert_eq!(daemon.initial_position, InitialPosition::Latest);
    assert_eq!((daemon.timeout, daemon.shutdown_grace), (None, Duration::ZERO));
    assert_eq!(daemon.worker, Settings::default());
    assert!(daemon.warnings.is_empty(), "{:?}", daemon.warnings);
    assert!(daemon.worker_id.is_none() && daemon.table_name.is_none() && daemon.region.is_none());
}

#[test]
fn every_value_finds_its_place() {
    let daemon = with(
        "tableName = leases\nworkerId = w1\nregionName = eu-west-1 \nkinesisEndpoint = http://localhost:4567\n\
         dynamoDBEndpoint = http://localhost:4568\ninitialPositionInStream = trim_horizon\ntimeoutInSeconds = 5\n\
         shutdownGraceMillis = 3000\nmaxRecords = 500\nawscredentialsproviderDynamoDB = ProfileCredentialsProvider|x\n",
    );
    assert_eq!(daemon.table_name.as_deref(), Some("leases"));
    assert_eq!(daemon.worker_id.unwrap().as_str(), "w1");
    assert_eq!(daemon.region.as_deref(), Some("eu-west-1"));
    assert_eq!(daemon.kinesis_endpoint.as_deref(), Some("http://localhost:4567"));
    assert_eq!(daemon.dynamodb_endpoint.as_deref(), Some("http://localhost:4568"));
    assert_eq!(daemon.initial_position, InitialPosition::TrimHorizon);
    assert_eq!(daemon.timeout, Some(Duration::from_secs(5)));
    assert_eq!(daemon.shutdown_grace, Duration::from_secs(3));
    assert_eq!(daemon.worker.shutdown_grace, Duration::from_secs(3));
    assert_eq!(daemon.worker.records_per_call_max.get(), 500);
    assert_eq!(daemon.dynamodb_credentials, [CredentialsSource::Profile(Some("x".to_owned()))]);
    assert!(daemon.warnings.is_empty(), "{:?}", daemon.warnings);
}

#[test]
fn the_command_is_split_at_blanks_alone() {
    assert_eq!(with("executableName =  python3   my\tapp.py 'x y'  \n").command, ["python3", "my\tapp.py", "'x", "y'"]);
}

#[test]
fn what_is_missing_is_named_in_javas_order() {
    assert!(parse("").unwrap_err().to_string().starts_with("executableName is missing: "));
    assert!(refused("executableName =\n").starts_with("executableName is missing: "));
    assert!(without("applicationName").starts_with("applicationName is missing: "));
    assert!(without("streamName").starts_with("streamName is missing: "));
    assert!(without("AwsCredentialsProvider").starts_with("AwsCredentialsProvider is missing: "));
    assert!(parse("executableName=x\nstreamArn=y").unwrap_err().to_string().starts_with("applicationName"));
    assert!(parse("executableName=x\nmaxRecords=99999").unwrap_err().to_string().starts_with("maxRecords"));
    assert!(
        parse("executableName=x\napplicationName=a\nstreamArn=y").unwrap_err().to_string().starts_with("streamArn")
    );
}

#[test]
fn the_arn_wins() {
    let arn = "streamArn = arn:aws-cn:kinesis:cn-north-1:123456789012:stream/other";
    let daemon = with(&format!("{arn}\nregionName = eu-west-1\n"));
    assert_eq!(daemon.stream.as_str(), "other");
    assert_eq!(daemon.warnings.len(), 2, "{:?}", daemon.warnings);
    assert!(daemon.warnings[0].contains("cn-north-1") && daemon.warnings[0].contains("eu-west-1"));
    let consumer = with("streamArn = arn:aws:kinesis:eu-west-1:123456789012:stream/s/consumer/c:1\n");
    assert_eq!(consumer.stream.as_str(), "s");
    assert_eq!(with("streamArn =\n").stream.as_str(), "orders");
    for bad in [
        "orders",
        "arn:aws:kinesis::123456789012:stream/s",
        "arn:aws:sqs:x:123456789012:stream/s",
        "arn:aws:kinesis:x:12:stream/s",
    ] {
        assert!(refused(&format!("streamArn = {bad}\n")).starts_with(&format!("streamArn is '{bad}', ")), "{bad}");
    }
}

#[test]
fn unknown_keys_are_named_with_the_nearest() {
    assert_eq!(with("maxRecord = 5\n").warnings, ["unknown key 'maxRecord' is ignored; did you mean 'maxRecords'?"]);
    assert_eq!(with("billingMode = X\n").warnings, ["unknown key 'billingMode' is ignored"]);
}

#[test]
fn keys_that_do_nothing_say_so() {
    assert_eq!(
        with("shardSyncIntervalMillis = 1\nvalidateSequenceNumberBeforeCheckpointing = true\nmaxActiveThreads = abc\n")
            .warnings,
        [
            "shardSyncIntervalMillis has no effect yet: it waits for shard synchronisation and lease clean-up",
            "validateSequenceNumberBeforeCheckpointing has no effect: KCL has not used it since 2.0",
            "maxActiveThreads has no effect: there are no threads to limit here",
        ]
    );
}

#[test]
fn bad_numbers_leave_the_default() {
    let daemon = with("failoverTimeMillis = abc\ntimeoutInSeconds = x\nshutdownGraceMillis = -1\n");
    assert_eq!(daemon.worker, Settings::default());
    assert_eq!((daemon.timeout, daemon.shutdown_grace), (None, Duration::ZERO));
    assert_eq!(
        daemon.warnings,
        [
            "failoverTimeMillis is 'abc', which is not a whole number; the default (10000) stays",
            "timeoutInSeconds is 'x', which is not a whole number; it is ignored",
            "shutdownGraceMillis is '-1', which is negative; the default (0) stays",
        ]
    );
    assert_eq!(with("timeoutInSeconds = 0\n").timeout, None);
}

#[test]
fn the_last_in_the_file_counts() {
    let daemon =
        with("workerIdentifier = a\nworkerId = b\nmaxRecords = 1\nmaxRecords = 2\nregionName = x\nregionName = x\n");
    assert_eq!(daemon.worker_id.unwrap().as_str(), "b");
    assert_eq!(daemon.worker.records_per_call_max.get(), 2);
    assert_eq!(
        daemon.warnings,
        [
            "workerIdentifier in line 6 and workerId in line 7 mean the same: the last one counts",
            "maxRecords is given twice, in lines 8 and 9: the last one counts",
        ]
    );
}

#[test]
fn initial_positions() {
    let at = |seconds: i64| InitialPosition::AtTimestamp(Timestamp::from_millis(seconds * 1000));
    assert_eq!(with("initialPositionInStreamExtended = 1731000000\n").initial_position, at(1_731_000_000));
    let both = with("initialPositionInStreamExtended = 5\ninitialPositionInStream = TRIM_HORIZON\n");
    assert_eq!((both.initial_position, both.warnings.len()), (InitialPosition::TrimHorizon, 1));
    let both = with("initialPositionInStream = TRIM_HORIZON\ninitialPositionInStreamExtended = 5\n");
    assert_eq!((both.initial_position, both.warnings.len()), (at(5), 1));
    assert_eq!(
        refused("initialPositionInStream = AT_TIMESTAMP\n"),
        "initialPositionInStream is 'AT_TIMESTAMP', which is none of LATEST, TRIM_HORIZON"
    );
}

#[test]
fn retrieval_polls() {
    let default = with("retrievalMode = default\n").warnings;
    assert!(default[1].starts_with("retrievalMode is DEFAULT: records are polled"), "{default:?}");
    assert!(refused("retrievalMode = fanout\n").starts_with("retrievalMode is 'FANOUT', which this version cannot do"));
}

#[test]
fn credentials_are_never_shown() {
    let error = refused("AwsCredentialsProvider = com.example.Own|AKIASECRET\n");
    assert!(
        error.starts_with("AwsCredentialsProvider names no credentials provider that can be used here: "),
        "{error}"
    );
    assert!(!error.contains("AKIA"));
    let daemon = with("AwsCredentialsProviderDynamoDB = DefaultAWSCredentialsProviderChain,Nope|AKIASECRET\n");
    assert_eq!(daemon.dynamodb_credentials, [CredentialsSource::DefaultChain]);
    assert!(daemon.warnings.iter().all(|warning| !warning.contains("AKIA")));
    assert_eq!(daemon.warnings.len(), 2, "{:?}", daemon.warnings);
}

#[test]
fn names_are_checked() {
    assert!(refused("streamName = or ders\n").starts_with("streamName is 'or ders', which is no stream"));
    assert!(refused("workerId = Leader\n").starts_with("workerId is 'Leader', which is not usable"));
    assert_eq!(with("workerId =\n").warnings, ["workerId is empty: a random one is used"]);
}

#[test]
fn a_missing_file_is_named() {
    let error = DaemonSettings::load(Path::new("/nowhere/app.properties")).unwrap_err().to_string();
    assert!(error.starts_with("cannot read properties file '/nowhere/app.properties': "), "{error}");
}

#[test]
fn what_the_worker_would_refuse_is_told_under_its_key() {
    assert_eq!(refused("taskBackoffTimeMillis = 5\n"), "taskBackoffTimeMillis is '5', which must be at least 10");
    let daemon = with("cleanupLeasesUponShardCompletion = fasle\n");
    assert_eq!(daemon.worker, Settings::default());
    let key = "cleanupLeasesUponShardCompletion";
    assert_eq!(
        daemon.warnings,
        [format!("{key} is 'fasle', which is neither true nor false; the default (true) stays")]
    );
}
