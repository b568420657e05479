//! What the page asks of the browser: frames, keys, size, theme. Everything that touches `web_sys` beyond elements.

use crate::stage::layout::Class;
use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use web_sys::{KeyboardEvent, Window};
use yew::Callback;

fn window() -> Window {
    web_sys::window().expect("a page has a window")
}

/// Milliseconds of the browser's monotone clock.
pub fn millis() -> f64 {
    window().performance().map_or(0.0, |performance| performance.now())
}

/// The drawing that fits the window.
pub fn class() -> Class {
    let window = window();
    let number = |value: Result<wasm_bindgen::JsValue, wasm_bindgen::JsValue>| {
        value.ok().and_then(|value| value.as_f64()).unwrap_or(1440.0)
    };
    Class::of(number(window.inner_width()), number(window.inner_height()))
}

pub fn wants_less_motion() -> bool {
    matches(&window(), "(prefers-reduced-motion: reduce)")
}

fn matches(window: &Window, query: &str) -> bool {
    window.match_media(query).ok().flatten().is_some_and(|list| list.matches())
}

/// Turns between light and dark, and remembers it.
pub fn turn_theme() {
    let window = window();
    let Some(root) = window.document().and_then(|document| document.document_element()) else { return };
    let dark = match root.get_attribute("data-theme").as_deref() {
        Some(theme) => theme == "dark",
        None => matches(&window, "(prefers-color-scheme: dark)"),
    };
    let theme = if dark { "light" } else { "dark" };
    let _ = root.set_attribute("data-theme", theme);
    if let Ok(Some(storage)) = window.local_storage() {
        let _ = storage.set_item("glasshouse.theme", theme);
    }
}

/// The tag of the element that has the focus.
pub fn focused_tag() -> String {
    window()
        .document()
        .and_then(|document| document.active_element())
        .map(|element| element.tag_name())
        .unwrap_or_default()
}

/// The fragment of the address, without its `#`.
pub fn fragment() -> String {
    window().location().hash().unwrap_or_default().trim_start_matches('#').to_owned()
}

/// The page's listeners; they end with it.
pub struct Hooks {
    frame: Closure<dyn FnMut(f64)>,
    resized: Closure<dyn FnMut()>,
    key: Closure<dyn FnMut(KeyboardEvent)>,
}

impl Hooks {
    pub fn new(frame: Callback<f64>, resized: Callback<()>, key: Callback<KeyboardEvent>) -> Hooks {
        let hooks = Hooks {
            frame: Closure::new(move |at| frame.emit(at)),
            resized: Closure::new(move || resized.emit(())),
            key: Closure::new(move |event| key.emit(event)),
        };
        let window = window();
        let _ = window.add_event_listener_with_callback("resize", hooks.resized.as_ref().unchecked_ref());
        let _ = window.add_event_listener_with_callback("keydown", hooks.key.as_ref().unchecked_ref());
        hooks
    }

    /// Asks to be told of the next frame, once.
    pub fn ask_frame(&self) {
        let _ = window().request_animation_frame(self.frame.as_ref().unchecked_ref());
    }
}

impl Drop for Hooks {
    fn drop(&mut self) {
        let window = window();
        let _ = window.remove_event_listener_with_callback("resize", self.resized.as_ref().unchecked_ref());
        let _ = window.remove_event_listener_with_callback("keydown", self.key.as_ref().unchecked_ref());
    }
}
