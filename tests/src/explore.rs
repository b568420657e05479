//! `cargo sim --explore`: exhausts small worlds.

use glasshouse_core::rules::Rules;

/// Explores `what`. True if nothing was violated.
///
/// # Errors
/// There is no such world.
pub fn run(what: &str, _rules: Rules, _as_json: bool) -> Result<bool, String> {
    Err(format!("expected zab or partition, not {what:?}"))
}
