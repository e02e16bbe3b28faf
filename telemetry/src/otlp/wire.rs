//! Protobuf's wire format, as far as spans need it: fields with their numbers, and how long they are, which has to be known
//! before they are written. Fields of proto3 are left out where they have their default.

use bytes::BufMut;
use prost::encoding::{encode_varint, encoded_len_varint};

// Wire types of protobuf.
pub(super) const VARINT: u32 = 0;
pub(super) const FIXED64: u32 = 1;
pub(super) const DELIMITED: u32 = 2;
pub(super) const FIXED32: u32 = 5;

pub(super) const fn tag_length(number: u32) -> usize {
    if number < 16 { 1 } else { 2 }
}

/// Of a field of `length` bytes with what stands before them.
pub(super) const fn delimited_length(number: u32, length: usize) -> usize {
    tag_length(number) + encoded_len_varint(length as u64) + length
}

/// Of a text that is left out if it is empty.
pub(super) const fn text_length(number: u32, text: &str) -> usize {
    if text.is_empty() {
        0
    } else {
        delimited_length(number, text.len())
    }
}

pub(super) const fn fixed64_length(number: u32, value: u64) -> usize {
    if value == 0 {
        0
    } else {
        tag_length(number) + size_of::<u64>()
    }
}

pub(super) fn put_tag(number: u32, wire_type: u32, into: &mut Vec<u8>) {
    encode_varint(u64::from(number << 3 | wire_type), into);
}

/// What stands before the `length` bytes of a field.
pub(super) fn put_head(number: u32, length: usize, into: &mut Vec<u8>) {
    put_tag(number, DELIMITED, into);
    encode_varint(length as u64, into);
}

pub(super) fn put_bytes(number: u32, bytes: &[u8], into: &mut Vec<u8>) {
    put_head(number, bytes.len(), into);
    into.put_slice(bytes);
}

pub(super) fn put_text(number: u32, text: &str, into: &mut Vec<u8>) {
    if !text.is_empty() {
        put_bytes(number, text.as_bytes(), into);
    }
}

pub(super) fn put_fixed64(number: u32, value: u64, into: &mut Vec<u8>) {
    if value != 0 {
        put_tag(number, FIXED64, into);
        into.put_u64_le(value);
    }
}
