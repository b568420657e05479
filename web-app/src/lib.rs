//! The page: a whole cluster in a browser. It draws [`ClusterView`](glasshouse_core::view::ClusterView)s and turns what
//! a person does into intents; it holds no protocol logic and no words about the protocol beyond labels.
//!
//! `lab` runs a world, `source` is what the page needs of it, `app` puts `stage` (the picture) and `panel` (everything
//! around it) together.

pub mod app;
mod browser;
mod draw;
pub mod intent;
pub mod lab;
pub mod measure;
pub mod panel;
mod panic;
pub mod playback;
pub mod source;
pub mod stage;
mod words;
pub mod world;

use std::cell::RefCell;
use std::rc::Rc;

/// The cluster of an address that asks for none.
const DEFAULT_SEED: u64 = 7;

/// Takes the place of the loading page.
pub fn start() {
    panic::set_hook();
    let document = web_sys::window().and_then(|window| window.document()).expect("a page has a document");
    let root = document.get_element_by_id("page").expect("index.html has an element for the page");
    let (source, notice) = open(&browser::fragment());
    let props = app::Props { source, notice };
    yew::Renderer::<app::App>::with_root_and_props(root, props).render();
}

/// The run that the address asks for, and a sentence if it could not be read: `#seed=7`.
fn open(fragment: &str) -> (app::Shared, Option<yew::AttrValue>) {
    let mut seed = DEFAULT_SEED;
    let mut notice = None;
    for part in fragment.split('&').filter(|part| !part.is_empty()) {
        match part.strip_prefix("seed=").map(str::parse) {
            Some(Ok(wanted)) => seed = wanted,
            _ => {
                notice = Some(
                    format!("The address says #{part}; expected was #seed= and a number. This is seed {seed}.").into(),
                )
            }
        }
    }
    (app::Shared(Rc::new(RefCell::new(lab::Lab::new(world::first_page(seed))))), notice)
}
