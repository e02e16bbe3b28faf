//! Our programs, told by OpenTelemetry's variables where to export to. They are quick to export, so that a test waits
//! for little.

use baton_e2e::broker::{Broker, Launch};
use baton_e2e::processes::{Environment, Process};

#[derive(Debug, Clone)]
pub(crate) struct Programs {
    environment: Environment,
}

impl Programs {
    /// To a collector such as [`Agent::url`](crate::agent::Agent::url).
    pub(crate) fn exporting_to(url: String) -> Self {
        let programs = Self {
            environment: Environment::new(),
        };
        programs
            .with("OTEL_EXPORTER_OTLP_ENDPOINT", &url)
            .with("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
            // Milliseconds.
            .with("OTEL_BSP_SCHEDULE_DELAY", "100")
            .with("OTEL_METRIC_EXPORT_INTERVAL", "200")
    }

    /// With this variable set too; the last word counts.
    pub(crate) fn with(mut self, variable: &str, value: &str) -> Self {
        self.environment
            .push((variable.to_owned(), value.to_owned()));
        self
    }

    pub(crate) async fn broker(&self, launch: Launch) -> Broker {
        launch.in_environment(&self.environment).start().await
    }

    /// For the broker at this URL, which may be a proxy's.
    pub(crate) fn producer(&self, broker: &str, arguments: &[&str]) -> Process {
        Process::start_in(&self.environment, "baton-producer", broker, arguments)
    }

    /// For the broker at this URL, which may be a proxy's.
    pub(crate) fn consumer(&self, broker: &str, arguments: &[&str]) -> Process {
        Process::start_in(&self.environment, "baton-consumer", broker, arguments)
    }
}
