//! The socket: binding, connections, and an orderly end.
//!
//! Not here: what a request means (`endpoint`). Invariants: only 127.0.0.1 is ever bound; every task belongs to the one
//! that [`Local`] owns, so that dropping it ends them all; a dropped request closes its connection and sends nothing.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use hyper::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::cloudwatch::MetricDatum;
use crate::endpoint::{Dropped, Endpoint};
use crate::faults::Faults;
use crate::settings::{LocalError, Settings};

/// How long requests in flight may take to finish once a stop is asked for.
const GRACE: Duration = Duration::from_secs(5);
/// Pause after a failed accept, which mostly means that file descriptors ran out: retrying at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A running endpoint. Dropping it stops it at once; [`stop`](Local::stop) lets requests in flight finish.
#[derive(Debug)]
pub struct Local {
    address: SocketAddr,
    endpoint: Arc<Endpoint>,
    closing: CancellationToken,
    /// Gone once it has ended and was asked about.
    serving: Option<JoinHandle<()>>,
}

impl Local {
    /// Binds 127.0.0.1, opens or creates the stores, creates the streams that are missing, and serves in the
    /// background.
    ///
    /// When it returns, the port answers and every stream of the settings is ACTIVE.
    ///
    /// # Errors
    /// The port is taken, the data directory is unusable or in use, a store does not open, or a stream cannot be
    /// created.
    pub async fn start(settings: Settings) -> Result<Self, LocalError> {
        let listener = bind(settings.port).await?;
        let address = listener.local_addr().map_err(|error| LocalError::Serve { reason: error.to_string() })?;
        let closing = CancellationToken::new();
        let endpoint = Arc::new(Endpoint::open(&settings, closing.clone()).await?);
        let serving = Some(tokio::spawn(serve(listener, Arc::clone(&endpoint), closing.clone())));
        Ok(Self { address, endpoint, closing, serving })
    }

    /// What to set as endpoint, for example in `AWS_ENDPOINT_URL`: `http://127.0.0.1:PORT`.
    pub fn endpoint_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The port it listens on; of interest when 0 was asked for.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The rules in force and the request counters.
    pub fn faults(&self) -> &Faults {
        &self.endpoint.faults
    }

    /// What PutMetricData has received, oldest first.
    pub fn metrics(&self) -> Vec<MetricDatum> {
        self.endpoint.cloudwatch.all()
    }

    /// Takes no more connections, lets requests in flight finish for up to five seconds, and writes out what is
    /// durable.
    pub async fn stop(mut self) {
        self.closing.cancel();
        if let Err(error) = self.stopped().await {
            tracing::error!(%error, "the endpoint did not end in order");
        }
        self.endpoint.settle().await;
    }

    /// Resolves once serving has ended: by itself, which is an error, or because of [`stop`](Local::stop).
    ///
    /// # Errors
    /// Serving panicked.
    pub async fn stopped(&mut self) -> Result<(), LocalError> {
        let Some(serving) = &mut self.serving else { return Ok(()) };
        let ended = serving.await;
        self.serving = None;
        ended.map_err(|error| LocalError::Serve { reason: error.to_string() })
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.closing.cancel();
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}

async fn bind(port: u16) -> Result<TcpListener, LocalError> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpListener::bind(address).await.map_err(|source| match source.kind() {
        std::io::ErrorKind::AddrInUse => LocalError::PortInUse { address },
        _ => LocalError::Bind { address, source },
    })
}

async fn serve(listener: TcpListener, endpoint: Arc<Endpoint>, closing: CancellationToken) {
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let keeper = Arc::clone(&endpoint);
    connections.spawn(async move { keeper.upkeep().await });
    loop {
        tokio::select! {
            // Closing first: a stream of new connections must not keep a stopped endpoint alive.
            biased;
            () = closing.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => {
                    connections.spawn(connection(socket, Arc::clone(&endpoint), &graceful));
                }
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    clock::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    if clock::timeout(GRACE, graceful.shutdown()).await.is_none() {
        tracing::warn!(connections = connections.len(), "requests outlived the grace period and were cut off");
    }
    connections.shutdown().await;
}

fn connection(
    socket: TcpStream,
    endpoint: Arc<Endpoint>,
    graceful: &GracefulShutdown,
) -> impl Future<Output = ()> + use<> {
    // Without it a small answer waits for the client's delayed acknowledgement. A socket that refuses is only slower.
    let _ = socket.set_nodelay(true);
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new());
    builder.http2().timer(TokioTimer::new());
    let serving = builder.serve_connection(TokioIo::new(socket), Handler(endpoint)).into_owned();
    let serving = graceful.watch(serving);
    async move {
        if let Err(error) = serving.await {
            tracing::debug!(%error, "connection ended");
        }
    }
}

/// The endpoint as hyper wants it.
#[derive(Clone)]
struct Handler(Arc<Endpoint>);

impl hyper::service::Service<Request<Incoming>> for Handler {
    type Response = Response;
    type Error = Dropped;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Dropped>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let endpoint = Arc::clone(&self.0);
        Box::pin(async move { endpoint.handle(request).await })
    }
}
