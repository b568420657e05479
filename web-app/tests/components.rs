//! The page's components in a browser, on a cluster that stands still: `wasm-pack test --headless --chrome web-app`.

#[path = "still/mod.rs"]
mod still;

use glasshouse_core::id::NodeId;
use glasshouse_web::app::{App, Props, Shared};
use glasshouse_web::intent::{Stone, Target};
use std::cell::RefCell;
use std::rc::Rc;
use still::Still;
use wasm_bindgen::JsCast;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};
use web_sys::{Element, HtmlElement, KeyboardEvent, KeyboardEventInit};

wasm_bindgen_test_configure!(run_in_browser);

/// A mounted page; it goes away with the value.
struct Page {
    root: Element,
    source: Rc<RefCell<Still>>,
    handle: Option<yew::AppHandle<App>>,
}

impl Page {
    async fn open(state: &str) -> Page {
        let document = web_sys::window().unwrap().document().unwrap();
        let root = document.create_element("div").unwrap();
        document.body().unwrap().append_child(&root).unwrap();
        let source = Rc::new(RefCell::new(Still::new(state)));
        let props = Props { source: Shared(source.clone()), notice: None };
        let handle = yew::Renderer::<App>::with_root_and_props(root.clone(), props).render();
        let page = Page { root, source, handle: Some(handle) };
        page.settle().await;
        page
    }

    async fn settle(&self) {
        yew::platform::time::sleep(std::time::Duration::from_millis(40)).await;
    }

    fn all(&self, selector: &str) -> Vec<Element> {
        let found = self.root.query_selector_all(selector).unwrap();
        (0..found.length()).map(|index| found.item(index).unwrap().unchecked_into()).collect()
    }

    fn text(&self, selector: &str) -> String {
        self.all(selector)
            .iter()
            .map(|element| element.text_content().unwrap_or_default())
            .collect::<Vec<_>>()
            .join("|")
    }

    async fn click(&self, selector: &str) {
        let element = self.root.query_selector(selector).unwrap().unwrap_or_else(|| panic!("no {selector}"));
        let event = web_sys::MouseEvent::new_with_mouse_event_init_dict("click", &{
            let init = web_sys::MouseEventInit::new();
            init.set_bubbles(true);
            init
        });
        element.dispatch_event(&event.unwrap()).unwrap();
        self.settle().await;
    }

    async fn press(&self, key: &str) {
        let init = KeyboardEventInit::new();
        init.set_key(key);
        init.set_bubbles(true);
        let event = KeyboardEvent::new_with_keyboard_event_init_dict("keydown", &init).unwrap();
        web_sys::window().unwrap().dispatch_event(&event).unwrap();
        self.settle().await;
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.take() {
            handle.destroy();
        }
        self.root.remove();
    }
}

#[wasm_bindgen_test]
async fn the_stage_shows_what_the_view_says() {
    let page = Page::open("first").await;
    assert_eq!(page.all(".keeper").len(), 3);
    assert_eq!(page.all(".broker").len(), 3);
    assert_eq!(page.all(".log.lead").len(), 2, "each partition has one leader");
    assert_eq!(page.all(".keeper.leading").len(), 1);
    assert_eq!(page.all(".messages .msg").len(), 5);
    assert_eq!(page.text("#now"), "0:03.120");
    assert!(page.text("#headline").contains("It runs"));
    // Five records on the leader of orders-0, four of them below the high watermark.
    let leader = &page.all(".log.lead")[0];
    assert_eq!(leader.query_selector_all(".cell.c").unwrap().length(), 4);
    assert_eq!(leader.query_selector_all(".cell.u").unwrap().length(), 1);
}

#[wasm_bindgen_test]
async fn a_click_selects_and_offers_what_can_be_done() {
    let page = Page::open("first").await;
    page.click("#at-broker-1").await;
    assert!(page.text(".insp h2").contains("broker-1"));
    assert_eq!(page.text(".insp .acts button"), "Kill|Pause|Cut|Restart");
    let restart: HtmlElement = page.all(".insp .acts button")[3].clone().unchecked_into();
    assert_eq!(restart.get_attribute("title").as_deref(), Some("It is up."));
    page.click(".insp .acts button").await;
    assert_eq!(page.source.borrow().thrown, [(Stone::Kill, Target::Node(NodeId::Broker(1)))]);
}

#[wasm_bindgen_test]
async fn a_stone_of_the_rail_hits_the_next_target() {
    let page = Page::open("first").await;
    page.click(".rail .stone").await;
    page.click("#at-keeper-3").await;
    assert_eq!(page.source.borrow().thrown, [(Stone::Kill, Target::Node(NodeId::keeper(3)))]);
    assert_eq!(page.all(".stone.taken").len(), 0, "a stone is thrown once");
}

#[wasm_bindgen_test]
async fn keys_play_take_stones_and_drop_them() {
    let page = Page::open("first").await;
    page.press(" ").await;
    assert!(!page.source.borrow().playing);
    page.press("x").await;
    assert_eq!(page.text(".stone.taken span"), "Cut");
    page.press("Escape").await;
    assert_eq!(page.all(".stone.taken").len(), 0);
}

#[wasm_bindgen_test]
async fn the_table_says_the_same_as_the_stage() {
    let page = Page::open("failover").await;
    page.click("#view").await;
    let table = page.text("#table");
    for words in ["broker-1", "down for 6.1 s", "session gone at 0:11.050", "orders-0 on broker-2", "keeper-3"] {
        assert!(table.contains(words), "{words} is missing from: {table}");
    }
    assert_eq!(page.all(".sv").len(), 0);
}

#[wasm_bindgen_test]
async fn trouble_is_drawn_as_such() {
    let page = Page::open("failover").await;
    assert_eq!(page.all(".broker.down").len(), 1);
    assert_eq!(page.all(".keeper.paused").len(), 1);
    assert_eq!(page.all(".ring.gone").len(), 1, "the dead broker's session");
    assert_eq!(page.all(".log.lead.out use[href='#crown-hollow']").len(), 1, "the dead broker led, and is deposed");
    assert_eq!(page.all(".num").len(), 3, "the steps of the last cause");
    assert_eq!(page.all(".mark").len(), 3, "cut, cut one way, slow");
}
