//! The `kinetide` command: parses arguments, sets up logging, and runs one subcommand. What a subcommand does is in
//! [`commands`]; everything that could be used without a terminal is in the libraries.

mod args;
mod commands;
mod demo;
mod output;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use args::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    init_logging(&cli);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&anyhow::Error::new(error).context("cannot start")),
    };
    let result = runtime.block_on(run(cli));
    // A blocking read of standard input cannot be cut short; nobody waits for it.
    runtime.shutdown_background();
    result.unwrap_or_else(|error| fail(&error))
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let global = cli.global;
    match cli.command {
        Command::Demo(args) => demo::run(&global, &args).await,
        Command::Local(args) => commands::local::run(&global, &args).await,
        Command::Run(args) => commands::run::run(&global, args).await,
        Command::Put(args) => commands::put::run(&global, &args).await,
        Command::Tail(args) => commands::tail::run(&global, &args).await,
        Command::Consume(args) => commands::consume::run(&global, &args).await,
    }
}

fn fail(error: &anyhow::Error) -> ExitCode {
    output::tell(&format!("kinetide: {}", kinetide::error::chain(error.as_ref())));
    ExitCode::FAILURE
}

/// Logs go to standard error: standard output is for results.
fn init_logging(cli: &Cli) {
    let level = cli.global.log_level.as_deref().unwrap_or(cli.command.log_level_default());
    let directives = match std::env::var("RUST_LOG") {
        Ok(directives) if cli.global.log_level.is_none() => directives,
        _ if level.contains('=') => level.to_owned(),
        // The SDK reports what our own errors say already, at every attempt.
        _ => format!(
            "{level},aws_config=error,aws_smithy_runtime=error,hyper=warn,h2=warn,ferrokinesis=warn,dynoxide=warn"
        ),
    };
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(directives).unwrap_or_else(|_| EnvFilter::new(level)))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_target(false)
        // A closed pipe must not become a panic: the daemon goes on without its log.
        .log_internal_errors(false)
        .init();
}
