//! Which items without an ambient span are traced.
//!
//! Owns the ratio. It is drawn before anything else, because the spans of an item hang on an `item` span of the broker's:
//! a tracing SDK takes that for a decision made elsewhere and obeys. Decided by the trace id, as
//! OpenTelemetry's TraceIdRatioBased does (the lower 8 bytes, shifted right by one, against ratio * 2^63), so that both
//! agree where both are asked.

use opentelemetry::trace::TraceId;

const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const SAMPLER_ARGUMENT: &str = "OTEL_TRACES_SAMPLER_ARG";

/// How many of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Ratio {
    /// 0 to 1.
    pub(super) share: f64,
    /// Given in code, so that no SDK knows of it.
    pub(super) is_ours: bool,
}

impl Ratio {
    pub(crate) fn given(share: f64) -> Self {
        Self {
            share: share.clamp(0.0, 1.0),
            is_ours: true,
        }
    }

    /// What the user's SDK goes by too, unless told otherwise in code.
    pub(crate) fn from_env() -> Self {
        let variable = |name: &str| std::env::var(name).ok();
        Self {
            share: share(
                variable(SAMPLER).as_deref(),
                variable(SAMPLER_ARGUMENT).as_deref(),
            ),
            is_ours: false,
        }
    }

    pub(super) fn takes(self, trace: TraceId) -> bool {
        if self.share >= 1.0 {
            return true;
        }
        let [.., a, b, c, d, e, f, g, h] = trace.to_bytes();
        let drawn = u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1;
        drawn < bound(self.share)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "0 to 2^63, by the same steps as the SDK's"
)]
fn bound(share: f64) -> u64 {
    (share * (1u64 << 63) as f64) as u64
}

/// What is not understood samples everything, as in the SDK.
fn share(sampler: Option<&str>, argument: Option<&str>) -> f64 {
    let sampler = sampler.map(|name| name.strip_prefix("parentbased_").unwrap_or(name));
    match sampler {
        Some("always_off") => 0.0,
        Some("traceidratio") => {
            let ratio = argument.and_then(|text| text.parse::<f64>().ok());
            ratio
                .filter(|ratio| !ratio.is_nan())
                .map_or(1.0, |ratio| ratio.clamp(0.0, 1.0))
        }
        _ => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanKind, TraceId};
    use opentelemetry_sdk::trace::{Sampler, SamplingDecision, ShouldSample as _};

    use super::*;

    #[test]
    fn the_ratio_comes_from_the_standard_variables() {
        for (sampler, argument, wanted) in [
            (None, None, 1.0),
            (Some("always_on"), Some("0.1"), 1.0),
            (Some("always_off"), None, 0.0),
            (Some("parentbased_always_off"), None, 0.0),
            (Some("traceidratio"), Some("0.25"), 0.25),
            (Some("parentbased_traceidratio"), Some("0.25"), 0.25),
            (Some("traceidratio"), Some("7"), 1.0),
            (Some("traceidratio"), Some("NaN"), 1.0),
            (Some("traceidratio"), None, 1.0),
            (Some("xray"), None, 1.0),
        ] {
            let share = share(sampler, argument);
            assert!(
                (share - wanted).abs() < f64::EPSILON,
                "{sampler:?}: {share}"
            );
        }
    }

    #[test]
    fn it_takes_the_traces_that_the_sdk_takes() {
        for share in [0.0, 0.001, 0.5, 0.9, 1.0] {
            let sdk = Sampler::TraceIdRatioBased(share);
            for _ in 0..2000 {
                let trace = TraceId::from_bytes(rand::random());
                let theirs = sdk.should_sample(None, trace, "", &SpanKind::Producer, &[], &[]);
                let takes = theirs.decision == SamplingDecision::RecordAndSample;
                assert_eq!(Ratio::given(share).takes(trace), takes, "{share} {trace}");
            }
        }
    }
}
