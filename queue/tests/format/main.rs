//! What the queue keeps on disk: golden bytes that later versions must go on reading, and bytes that nobody wrote.

mod events;
mod hex;
mod mutations;
mod snapshot;
mod story;
