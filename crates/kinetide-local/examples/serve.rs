//! Serves Kinesis and DynamoDB on 127.0.0.1 until killed: `serve [port] [data directory]`.

use std::path::PathBuf;

use kinetide_local::{Local, Settings};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut settings = Settings::default();
    if let Some(port) = arguments.next() {
        settings.port = port.parse()?;
    }
    settings.data_dir = arguments.next().map(PathBuf::from);
    let mut local = Local::start(settings).await?;
    println!("{}", local.endpoint_url());
    Ok(local.stopped().await?)
}
