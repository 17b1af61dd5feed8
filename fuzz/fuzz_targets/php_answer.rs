#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| warmfront_fuzz::php_answer(data));
