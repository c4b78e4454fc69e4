#![no_main]

#[path = "../../eat.rs"]
#[expect(dead_code, reason = "the other targets'")]
mod eat;

static DEPLOYMENT: std::sync::LazyLock<eat::Deployment> = std::sync::LazyLock::new(eat::Deployment::new);

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    DEPLOYMENT.configuration(bytes);
});
