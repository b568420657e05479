//! What an operator can do about a broker's small file that is damaged: whether the node can do without it, and what is
//! lost by that.

use glasshouse_core::store::small_file::{
    HIGH_WATERMARKS, LEADER_EPOCHS, LOG_STARTS, PARTITION_METADATA, RECOVERY_POINTS,
};

/// What a start makes of the absence of each.
const CURES: [(&str, &str); 5] = [
    (
        LEADER_EPOCHS,
        "move it away and start again: the epochs are read from the log, and only those in which nothing was written \
         are lost",
    ),
    (
        HIGH_WATERMARKS,
        "move it away and start again: no record is lost, and how far each replica was committed is learned anew from \
         the others",
    ),
    (
        RECOVERY_POINTS,
        "without it damage anywhere in a log passes for a torn end, and what is behind it is cut: so let the others run \
         first, until glasshouse topic describe shows this broker in no ISR but where it is alone; then move it away \
         and start this broker again, and what it had to cut is copied from the others",
    ),
    (
        LOG_STARTS,
        "move it away and start again: no record is lost, and some that were deleted may be there again, as far as \
         their segments are",
    ),
    (
        PARTITION_METADATA,
        "move it away and put another file in its place before the next start, for a folder without it is taken for \
         one that was never finished, and is emptied: a copy of another replica's, or two lines, \"version: 0\" and \
         \"topic_id: \" with the id that glasshouse topic describe shows; what is written into the old file is refused \
         as well, for it does not hold what it was sealed with",
    ),
];

/// The sentence of a start that was refused, and what helps, if something does.
pub fn with_cure(why: String) -> String {
    // The path, or the name below the node's folder, is the first word that ends with the file's name.
    let named = |file: &str| why.split([' ', ':']).any(|word| word == file || word.ends_with(&format!("/{file}")));
    match CURES.iter().find(|(file, _)| named(file)) {
        Some((_, cure)) => format!("{why}; {cure}"),
        None => why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_file_that_can_be_done_without_is_told_with_its_cure() {
        for (file, cure) in CURES {
            for why in [format!("/d e/broker-1/t-0/{file} is damaged: x"), format!("{file}: a count was expected")] {
                assert_eq!(with_cure(why.clone()), format!("{why}; {cure}"));
            }
        }
        for why in [
            "/d/broker-1/meta.properties is damaged: x",
            "/d/leader-epoch-checkpoint.old is damaged: x",
            "another process (7) holds the folder /d",
        ] {
            assert_eq!(with_cure(why.to_owned()), why);
        }
    }
}
