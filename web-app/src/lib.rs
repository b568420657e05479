//! The page: a whole cluster in a browser. It draws [`ClusterView`](glasshouse_core::view::ClusterView)s and turns what
//! a person does into intents; it holds no protocol logic and no words about the protocol beyond labels.
//!
//! `lab` runs a world, `source` is what the page needs of it, `app` puts `stage` (the picture) and `panel` (everything
//! around it) together.

pub mod app;
mod browser;
mod draw;
#[cfg(feature = "fixture")]
#[path = "../tests/still/mod.rs"]
pub mod fixture;
#[cfg(feature = "fixture")]
extern crate self as glasshouse_web;
pub mod intent;
pub mod lab;
pub mod panel;
mod panic;
pub mod playback;
pub mod source;
pub mod stage;
mod words;

use std::cell::RefCell;
use std::rc::Rc;

/// Takes the place of the loading page.
pub fn start() {
    panic::set_hook();
    let document = web_sys::window().and_then(|window| window.document()).expect("a page has a document");
    let root = document.get_element_by_id("page").expect("index.html has an element for the page");
    let (source, notice) = open(&browser::fragment());
    let props = app::Props { source, notice };
    yew::Renderer::<app::App>::with_root_and_props(root, props).render();
}

#[cfg(feature = "fixture")]
fn open(fragment: &str) -> (app::Shared, Option<yew::AttrValue>) {
    (app::Shared(Rc::new(RefCell::new(fixture::Still::new(fragment)))), None)
}
