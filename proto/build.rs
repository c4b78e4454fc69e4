//! Compiles the protocol with protox: no protoc is needed. `skip_debug` keeps prost from printing secrets.
use std::{env, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("proto");
    let files = ["narrowgate/v1/errors.proto", "narrowgate/v1/token.proto"].map(|f| root.join(f));
    for file in &files {
        println!("cargo::rerun-if-changed={}", file.display());
    }
    let descriptors = protox::compile(&files, [&root])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("narrowgate.v1.fds"), prost::Message::encode_to_vec(&descriptors))?;
    tonic_prost_build::configure().skip_debug(["."]).compile_fds(descriptors)?;
    Ok(())
}
