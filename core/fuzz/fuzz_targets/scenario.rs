//! A scenario's text: what is understood must survive writing and reading, and a mistake names one of its lines.
#![no_main]

use glasshouse_core::sim::scenario::Scenario;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match Scenario::parse(text) {
        Ok(read) => assert_eq!(Scenario::parse(&read.to_string()), Ok(read)),
        Err(mistake) => assert!((1..=text.lines().count().max(1) as u32).contains(&mistake.line), "{mistake}"),
    }
});
