//! The panels around the stage: what can be broken on the left, what is true on the right, time at the foot, and the
//! table that says the same as the stage.

pub mod actions;
pub mod headline;
pub mod inspector;
pub mod promises;
pub mod rail;
pub mod story;
pub mod table;
pub mod timeline;

use yew::prelude::*;

/// A sentence whose names (`broker-1`, `orders-0`) are not broken across lines.
pub fn sentence(text: &str) -> Html {
    let mut parts: Vec<Html> = Vec::new();
    let mut plain = String::new();
    for word in text.split_inclusive(' ') {
        if is_name(word) {
            let (name, rest) = word.split_at(word.trim_end_matches([' ', ',', '.', ':', ';']).len());
            parts.push(html! { { std::mem::take(&mut plain) } });
            parts.push(html! { <span class="nm">{ name.to_owned() }</span> });
            plain.push_str(rest);
        } else {
            plain.push_str(word);
        }
    }
    parts.push(html! { { plain } });
    parts.into_iter().collect()
}

fn is_name(word: &str) -> bool {
    word.starts_with('/')
        || word.contains('-')
            && word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()).ends_with(|c: char| c.is_ascii_digit())
}
