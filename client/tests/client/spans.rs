//! An SDK whose spans end up in memory, for one client at a time: nothing global is touched.

use baton_client::{Client, ClientBuilder};
use baton_proto::opaque::Delivery;
use baton_proto::v1;
use opentelemetry::Context;
use opentelemetry::trace::{
    SpanContext, SpanId, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use opentelemetry_sdk::trace::{InMemorySpanExporter, Sampler, SdkTracerProvider, SpanData};
use prost::Message as _;

use crate::broker::{Broker, delivery};

pub(crate) const TRACE: TraceId = TraceId::from_bytes(*b"0123456789abcdef");
pub(crate) const AMBIENT: SpanId = SpanId::from_bytes(*b"ambient!");

pub(crate) struct Traces {
    pub(crate) sdk: SdkTracerProvider,
    exporter: InMemorySpanExporter,
}

impl Traces {
    pub(crate) fn new() -> Self {
        Self::sampling(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
    }

    pub(crate) fn sampling(sampler: Sampler) -> Self {
        let exporter = InMemorySpanExporter::default();
        let sdk = SdkTracerProvider::builder()
            .with_sampler(sampler)
            .with_simple_exporter(exporter.clone())
            .build();
        Self { sdk, exporter }
    }

    pub(crate) fn settings(&self, broker: &Broker) -> ClientBuilder {
        broker
            .settings()
            .client_id("me")
            .tracer_provider(self.sdk.clone())
    }

    pub(crate) fn client(&self, broker: &Broker) -> Client {
        self.settings(broker).build().unwrap()
    }

    pub(crate) fn spans(&self) -> Vec<SpanData> {
        self.exporter.get_finished_spans().unwrap()
    }

    /// Of all spans that have ended, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.spans().iter().map(|s| s.name.to_string()).collect();
        names.sort();
        names
    }

    /// The only one that is called so.
    pub(crate) fn one(&self, name: &str) -> SpanData {
        let mut named = self.spans();
        named.retain(|span| span.name == name);
        assert_eq!(named.len(), 1, "{name} among {:?}", self.names());
        named.remove(0)
    }
}

/// A span of the user's, made elsewhere.
pub(crate) fn ambient(sampled: bool, tracestate: &str) -> Context {
    let span = SpanContext::new(
        TRACE,
        AMBIENT,
        TraceFlags::NOT_SAMPLED.with_sampled(sampled),
        true,
        tracestate.parse::<TraceState>().unwrap(),
    );
    Context::new().with_remote_span_context(span)
}

/// An attribute as text; empty: it has none of that name.
pub(crate) fn attribute(span: &SpanData, name: &str) -> String {
    let mut named = span.attributes.iter().filter(|a| a.key.as_str() == name);
    let value = named.next().map(|a| a.value.to_string());
    assert!(named.next().is_none(), "{name} twice");
    value.unwrap_or_default()
}

pub(crate) fn failed(span: &SpanData) -> bool {
    matches!(span.status, Status::Error { .. })
}

/// What the span is linked to, and the message id on each link.
pub(crate) fn links(span: &SpanData) -> Vec<(SpanId, String)> {
    let links = span.links.iter().map(|link| {
        let id = link
            .attributes
            .iter()
            .map(|a| a.value.to_string())
            .collect();
        (link.span_context.span_id(), id)
    });
    links.collect()
}

/// Delivery n of an item that was created in this context.
pub(crate) fn traced_delivery(n: u64, traceparent: &str, tracestate: &str) -> Delivery {
    let item = v1::Item {
        traceparent: traceparent.to_owned(),
        tracestate: tracestate.to_owned(),
        ..v1::Item::default()
    };
    Delivery {
        item: item.encode_to_vec().into(),
        ..delivery(n)
    }
}
