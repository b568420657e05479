//! Four-letter words: what an administrator asks of one keeper, without a session.

use crate::client::{Error, dial};
use glasshouse_core::node::Address;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// The most of an answer that is read.
const LONGEST: u64 = 1 << 20;

/// Asks a keeper `srvr`, `mntr`, `ruok` and the like.
///
/// # Errors
/// It cannot be reached, or does not answer within `limit`.
pub async fn four_letter_word(keeper: &Address, word: &[u8; 4], limit: Duration) -> Result<String, Error> {
    let asked = async {
        let mut stream = dial(keeper, limit).await?;
        let lost = |error: std::io::Error| Error::Lost { address: keeper.to_string(), why: error.to_string() };
        stream.write_all(word).await.map_err(lost)?;
        let mut text = Vec::new();
        (&mut stream).take(LONGEST).read_to_end(&mut text).await.map_err(lost)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    };
    let late = || Error::Unreachable { address: keeper.to_string(), why: format!("no answer within {limit:?}") };
    timeout(limit, asked).await.unwrap_or_else(|_| Err(late()))
}
