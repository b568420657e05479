//! Last words: when the core panics, the page freezes under a hatch and says whose fault it is. It writes to the page
//! directly, since nothing else of it can be trusted to run.

use glasshouse_core::time::Instant;
use std::cell::Cell;

thread_local! {
    static NOW: Cell<Instant> = const { Cell::new(Instant::ZERO) };
}

/// The moment that the last words will name.
pub fn remember_now(now: Instant) {
    NOW.with(|cell| cell.set(now));
}

pub fn set_hook() {
    std::panic::set_hook(Box::new(|panic| {
        let at = NOW.with(Cell::get);
        web_sys::console::error_1(&panic.to_string().into());
        let Some(document) = web_sys::window().and_then(|window| window.document()) else { return };
        let say = |id: &str, words: &str| {
            if let Some(element) = document.get_element_by_id(id) {
                element.set_text_content(Some(words));
            }
        };
        say("headline", &format!("The simulator stopped at {at}."));
        say("why", &format!("This is our fault, not the cluster's. Reloading the page starts anew. {panic}"));
        if let Some(body) = document.body() {
            let _ = body.set_attribute("data-stopped", "");
        }
    }));
}
