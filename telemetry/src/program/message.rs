//! Messages of the wire contract as JSON, by their descriptors: whatever fields they have, or will have.

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use serde_json::Value;

/// Why a message has no JSON; none of it happens with descriptors that belong to the message.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// The descriptors cannot be read, or the message does not fit them.
    #[error("the contract's descriptors do not fit: {0}")]
    Descriptors(#[from] prost_reflect::DescriptorError),
    /// There is no such message.
    #[error("the contract has no message {0}")]
    Unknown(String),
    /// The message does not fit its descriptor.
    #[error("a message does not fit its descriptor: {0}")]
    Message(#[from] prost::DecodeError),
    /// A value cannot be written.
    #[error("a message cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// Fields under their names in the contract, those that are set; numbers as numbers, durations as `"1.5s"`.
///
/// # Errors
///
/// If `descriptors` has no message `name`, or another one.
pub fn to_json(
    descriptors: &[u8],
    name: &str,
    message: &impl Message,
) -> Result<Value, MessageError> {
    let pool = DescriptorPool::decode(descriptors)?;
    let descriptor = pool.get_message_by_name(name);
    let descriptor = descriptor.ok_or_else(|| MessageError::Unknown(name.to_owned()))?;
    let message = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())?;
    let options = SerializeOptions::new()
        .use_proto_field_name(true)
        .stringify_64_bit_integers(false);
    Ok(message.serialize_with_options(serde_json::value::Serializer, &options)?)
}
