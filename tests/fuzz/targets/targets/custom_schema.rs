#![no_main]

#[path = "../../eat.rs"]
#[expect(dead_code, reason = "the other targets'")]
mod eat;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    eat::custom_schema(bytes);
});
