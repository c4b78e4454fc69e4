//! Compiles the protocol with protox: no protoc is needed. `skip_debug` keeps prost from printing secrets.
use std::{env, fs, path::PathBuf, time::SystemTime};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("proto");
    let files = ["errors", "token", "admin", "policy"]
        .map(|name| root.join("narrowgate/v1").join(name).with_extension("proto"));
    for file in &files {
        println!("cargo::rerun-if-changed={}", file.display());
    }
    let mut compiler = protox::Compiler::new([&root])?;
    compiler.include_source_info(true).include_imports(true).open_files(&files)?;
    let descriptors = compiler.file_descriptor_set();
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // Encoded by the compiler: prost's own types would lose options they do not know, such as debug_redact.
    fs::write(out.join("narrowgate.v1.fds"), compiler.encode_file_descriptor_set())?;
    fs::write(out.join("built_millis"), built_millis()?)?;
    tonic_prost_build::configure().skip_debug(["."]).compile_fds(descriptors)?;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a build script has no clock port")]
/// When this is being built, for the check that the clock is plausible; SOURCE_DATE_EPOCH makes it repeatable.
fn built_millis() -> Result<String, Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    let seconds = match env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text.parse::<u64>()?,
        Err(_) => SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs(),
    };
    Ok(format!("{}", seconds * 1000))
}
