//! Trace contexts between processes: `TRACEPARENT` and `TRACESTATE` in, and out to commands.

use std::collections::HashMap;
use std::env;

use opentelemetry::Context;
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry_sdk::propagation::TraceContextPropagator;

const PARENT: &str = "traceparent";
const STATE: &str = "tracestate";

/// W3C's two headers; both are empty where there is no trace, the second one also where nobody put anything in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// `traceparent`.
    pub traceparent: String,
    /// `tracestate`.
    pub tracestate: String,
}

/// The context that the program was started in, so that shells and programs that call this one can nest it: from the
/// variables `TRACEPARENT` and `TRACESTATE`. What is not valid is ignored.
#[must_use]
pub fn ambient() -> Context {
    let variable = |name: &str| env::var(name).unwrap_or_default();
    read(&Headers {
        traceparent: variable("TRACEPARENT"),
        tracestate: variable("TRACESTATE"),
    })
}

fn read(headers: &Headers) -> Context {
    let carrier = HashMap::from([
        (PARENT.to_owned(), headers.traceparent.clone()),
        (STATE.to_owned(), headers.tracestate.clone()),
    ]);
    TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier)
}

/// A context for others.
#[must_use]
pub fn headers(context: &Context) -> Headers {
    let mut carrier = HashMap::<String, String>::new();
    TraceContextPropagator::new().inject_context(context, &mut carrier);
    let mut take = |name| carrier.remove(name).unwrap_or_default();
    Headers {
        traceparent: take(PARENT),
        tracestate: take(STATE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_survives_the_way_through_the_environment() {
        let sent = Headers {
            traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned(),
            tracestate: "congo=t61".to_owned(),
        };
        assert_eq!(headers(&read(&sent)), sent);
    }

    #[test]
    fn what_is_not_valid_is_no_context() {
        for traceparent in ["", "00-nonsense"] {
            let sent = Headers {
                traceparent: traceparent.to_owned(),
                tracestate: "congo=t61".to_owned(),
            };
            assert_eq!(headers(&read(&sent)), Headers::default());
        }
    }
}
