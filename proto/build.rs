//! Compiles `baton/v1/*.proto` twice, without protoc: once as it is, and once with every `Item` field declared as `bytes`.
//! A length-delimited message and `bytes` are the same on the wire, so both speak one protocol.

use std::env;
use std::error::Error;
use std::fs;
use std::path::PathBuf;

use prost::Message as _;
use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, FileDescriptorSet};

const FILES: [&str; 5] = [
    "baton/v1/admin_service.proto",
    "baton/v1/error.proto",
    "baton/v1/item.proto",
    "baton/v1/queue.proto",
    "baton/v1/queue_service.proto",
];

const ITEM: &str = ".baton.v1.Item";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=baton");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let typed = protox::compile(FILES, ["."])?;
    fs::write(out.join("descriptors.bin"), typed.encode_to_vec())?;
    generate(typed.clone(), &out.join("typed"))?;
    generate(opaque(typed), &out.join("opaque"))
}

fn generate(files: FileDescriptorSet, out: &PathBuf) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(out)?;
    tonic_prost_build::configure()
        .bytes(".")
        .out_dir(out)
        .compile_fds(files)?;
    Ok(())
}

fn opaque(mut files: FileDescriptorSet) -> FileDescriptorSet {
    let messages = files
        .file
        .iter_mut()
        .flat_map(|file| &mut file.message_type);
    messages.for_each(items_as_bytes);
    files
}

fn items_as_bytes(message: &mut DescriptorProto) {
    for field in &mut message.field {
        if field.type_name() == ITEM {
            field.set_type(Type::Bytes);
            field.type_name = None;
        }
    }
    message.nested_type.iter_mut().for_each(items_as_bytes);
}
