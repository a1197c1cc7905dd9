//! K2's native decoder: Kafka's record batches, and messages of trades, to Arrow columns.
//!
//! The Python path of K2 defines what bytes mean. What is taken here is taken exactly so; all else
//! is told to the caller, by an error for a fetch and by number for a record, and Python decides.
//! Nothing here holds the interpreter's lock while it decodes.

pub mod batches;
mod bytes;
mod codec;
pub mod feeds;
pub mod json;
mod numbers;
#[cfg(feature = "python")]
mod python;
pub mod refusal;
pub mod trades;
