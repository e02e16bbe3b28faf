//! End-to-end tests of the real programs, as processes: see `tests/e2e`.
