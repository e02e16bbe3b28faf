//! rotel, a collector: takes OTLP, decodes it, puts it into batches and sends it on. A second reader of what Baton
//! exports, and a second writer for the test agent.

use baton_e2e::ports::free_port;
use baton_e2e::scratch::Scratch;
use tokio::net::TcpStream;

use crate::agent::Agent;
use crate::foreign::Foreign;

/// Dies with the value.
#[derive(Debug)]
pub(crate) struct Rotel {
    grpc: String,
    _process: Foreign,
    _scratch: Scratch,
}

impl Rotel {
    /// In front of the agent.
    pub(crate) async fn start(agent: &Agent) -> Self {
        let scratch = Scratch::new();
        let [grpc, http] = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
        let flags = [
            ["--otlp-grpc-endpoint", &grpc],
            ["--otlp-http-endpoint", &http],
            ["--exporter", "otlp"],
            ["--otlp-exporter-endpoint", &agent.url()],
        ];
        let mut arguments = vec!["start".to_owned()];
        arguments.extend(flags.as_flattened().iter().map(|&one| one.to_owned()));
        let mut process = Foreign::start("rotel-agent", &scratch, &arguments);
        let listens = async || TcpStream::connect(&grpc).await.is_ok();
        process.wait_until(listens).await;
        Self {
            grpc,
            _process: process,
            _scratch: scratch,
        }
    }

    /// Where it takes OTLP over gRPC.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.grpc)
    }
}
