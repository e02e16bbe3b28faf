//! docker-compose.yml under load, while its containers are killed, frozen, cut off, scaled and replaced. `make test-compose` runs it, one
//! test after the other; it needs a container engine.
//!
//! [`stack`] is the stack under a name and on ports of its own, [`said`] is what all of its programs said in JSON, and [`evidence`] is what
//! follows from that: nothing confirmed is lost, nothing acknowledged comes again, and every repeat has its failed attempt. Each test ends
//! with that question.

mod docker;
mod evidence;
mod said;
mod stack;

mod cut_off;
mod frozen;
mod kept;
mod killed;
mod rolling;
mod scaled;
mod traced;
