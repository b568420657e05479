//! The page as a whole: holds the source of views outside the components, hands a view down, takes intents up, and
//! applies every one of them here.

use crate::intent::{Intent, Stone, Subject, Tab, Target, TimeIntent};
use crate::panel::actions;
use crate::panel::headline::Headline;
use crate::panel::inspector::Inspector;
use crate::panel::promises::Promises;
use crate::panel::rail::Rail;
use crate::panel::story::Story;
use crate::panel::table::Table;
use crate::panel::timeline::Timeline;
use crate::source::{Clock, Source};
use crate::stage::Stage;
use crate::stage::layout::Class;
use crate::{browser, draw, panic};
use std::cell::RefCell;
use std::rc::Rc;
use yew::prelude::*;

/// The source of views, shared with whoever mounted the page.
#[derive(Clone)]
pub struct Shared(pub Rc<RefCell<dyn Source>>);

impl PartialEq for Shared {
    fn eq(&self, other: &Shared) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

#[derive(Properties, PartialEq)]
pub struct Props {
    pub source: Shared,
    /// One sentence about how the page was opened, if something was wrong with it.
    #[prop_or_default]
    pub notice: Option<AttrValue>,
}

pub enum Msg {
    Frame(f64),
    Resized,
    Key(KeyboardEvent),
    Intent(Intent),
}

pub struct App {
    on: Callback<Intent>,
    class: Class,
    selected: Option<Subject>,
    armed: Option<Stone>,
    table: bool,
    tab: Tab,
    keys: bool,
    notice: Option<AttrValue>,
    last_frame: Option<f64>,
    /// What was drawn last, to draw again only when it changes.
    drawn: Option<Clock>,
    /// The reader asked for less motion.
    still: bool,
    opened: bool,
    hooks: browser::Hooks,
}

/// Of a frame's 16 milliseconds the run may take this much.
const BUDGET: f64 = 9.0;
const SCRUB_MILLIS: i64 = 100;

impl Component for App {
    type Message = Msg;
    type Properties = Props;

    fn create(ctx: &Context<App>) -> App {
        let link = ctx.link().clone();
        let hooks =
            browser::Hooks::new(link.callback(Msg::Frame), link.callback(|()| Msg::Resized), link.callback(Msg::Key));
        hooks.ask_frame();
        App {
            on: link.callback(Msg::Intent),
            class: browser::class(),
            selected: None,
            armed: None,
            table: false,
            tab: Tab::Story,
            keys: false,
            notice: ctx.props().notice.clone(),
            last_frame: None,
            drawn: None,
            still: browser::wants_less_motion(),
            opened: false,
            hooks,
        }
    }

    fn update(&mut self, ctx: &Context<App>, message: Msg) -> bool {
        match message {
            Msg::Frame(at) => self.frame(ctx, at),
            Msg::Resized => {
                let class = browser::class();
                std::mem::replace(&mut self.class, class) != class
            }
            Msg::Key(event) => match self.intent_of_key(ctx, &event) {
                Some(intent) => {
                    event.prevent_default();
                    self.apply(ctx, intent);
                    true
                }
                None => false,
            },
            Msg::Intent(intent) => {
                self.apply(ctx, intent);
                true
            }
        }
    }

    fn view(&self, ctx: &Context<App>) -> Html {
        let (view, clock) = {
            let source = ctx.props().source.0.borrow();
            (source.view(), source.clock())
        };
        let on = &self.on;
        let labels = clock.speed.is_slow() || !clock.playing;
        let story = view.story.clone();
        let causes = view.causes.clone();
        let tab = match self.tab {
            Tab::Story => "tab-story",
            Tab::Promises => "tab-promises",
            Tab::Selected => "tab-selected",
            Tab::Break => "tab-break",
        };
        html! {
            <div class={classes!("page", tab, self.class.name(), clock.playing.then_some("plays"))}>
                <a class="skip" href="#stage">{ "Skip to the stage" }</a>
                { self.top() }
                <main>
                    <Rail armed={self.armed} keys={self.keys} on={on.clone()} />
                    <Headline headline={view.headline.clone()} />
                    <section class="stage" id="stage" aria-label="Stage">
                        if self.table {
                            <Table view={view.clone()} on={on.clone()} />
                        } else {
                            <Stage view={view.clone()} class={self.class} selected={self.selected.clone()} armed={self.armed} {labels} on={on.clone()} />
                        }
                    </section>
                    { self.tabs() }
                    <aside class="truth" aria-label="What is true">
                        <Promises ledger={view.ledger} promises={view.promises.clone()} />
                        <Story lines={story} {causes} on={on.clone()} />
                        <Inspector view={view.clone()} selected={self.selected.clone()} on={on.clone()} />
                    </aside>
                </main>
                <Timeline {view} {clock} notice={self.notice.clone()} on={on.clone()} />
            </div>
        }
    }

    fn rendered(&mut self, ctx: &Context<App>, first: bool) {
        if first {
            panic::remember_now(ctx.props().source.0.borrow().now());
        }
    }
}

impl App {
    fn frame(&mut self, ctx: &Context<App>, at: f64) -> bool {
        let passed = self.last_frame.map_or(0.0, |last| at - last);
        self.last_frame = Some(at);
        let mut source = ctx.props().source.0.borrow_mut();
        let before = source.view();
        source.frame(passed, BUDGET, &browser::millis);
        if !self.opened && !source.clock().opening {
            self.opened = true;
            if self.still {
                source.time(TimeIntent::TogglePlay);
            }
        }
        panic::remember_now(source.now());
        let clock = source.clock();
        let changed = !Rc::ptr_eq(&before, &source.view()) || self.drawn.as_ref() != Some(&clock);
        self.drawn = Some(clock);
        drop(source);
        self.hooks.ask_frame();
        changed
    }

    /// The one place where intentions take effect.
    fn apply(&mut self, ctx: &Context<App>, intent: Intent) {
        let mut source = ctx.props().source.0.borrow_mut();
        match intent {
            Intent::Time(time) => source.time(time),
            Intent::Select(subject) => {
                self.selected = subject;
                self.armed = None;
                self.notice = None;
            }
            Intent::Arm(stone) => {
                self.armed = stone;
                if stone.is_some() {
                    self.notice = None;
                }
            }
            Intent::Touch(subject) => match (self.armed.take(), subject.target()) {
                (Some(stone), Some(target)) => self.throw(&mut *source, stone, target),
                _ => {
                    if matches!(subject, Subject::Message(_)) && source.clock().playing {
                        // Time stops, so that the message can be looked at.
                        source.time(TimeIntent::TogglePlay);
                    }
                    self.selected = Some(subject);
                    self.notice = None;
                    if self.tab == Tab::Break {
                        self.tab = Tab::Selected;
                    }
                }
            },
            Intent::Throw { stone, target } => self.throw(&mut *source, stone, target),
            Intent::ShowTable(table) => self.table = table,
            Intent::ShowTab(tab) => self.tab = tab,
            Intent::TurnTheme => browser::turn_theme(),
            Intent::ShowKeys(keys) => self.keys = keys,
        }
    }

    fn throw(&mut self, source: &mut dyn Source, stone: Stone, target: Target) {
        let view = source.view();
        if let Some(reason) = actions::barred(&view, stone, target) {
            self.notice = Some(AttrValue::from(reason));
            return;
        }
        self.notice = (!source.clock().live)
            .then(|| AttrValue::from(format!("You acted at {}: what had come after is another branch.", view.now)));
        source.throw(stone, target);
    }

    /// The keys of the page. Letters act on what is selected, or else take the stone.
    fn intent_of_key(&self, ctx: &Context<App>, event: &KeyboardEvent) -> Option<Intent> {
        if event.ctrl_key() || event.meta_key() || event.alt_key() {
            return None;
        }
        let focus = browser::focused_tag();
        let key = event.key();
        let playing = ctx.props().source.0.borrow().clock().playing;
        let time = |intent| Some(Intent::Time(intent));
        match key.as_str() {
            " " if focus == "BUTTON" => None,
            " " if self.still && !playing => time(TimeIntent::NextEvent),
            " " => time(TimeIntent::TogglePlay),
            "." => time(TimeIntent::Step),
            "," => time(TimeIntent::StepBack),
            "ArrowLeft" | "ArrowRight" if focus == "INPUT" => None,
            "ArrowRight" if event.shift_key() => time(TimeIntent::NextEvent),
            "ArrowLeft" => time(TimeIntent::Scrub(-SCRUB_MILLIS)),
            "ArrowRight" => time(TimeIntent::Scrub(SCRUB_MILLIS)),
            "[" => time(TimeIntent::Slower),
            "]" => time(TimeIntent::Faster),
            "l" | "L" => time(TimeIntent::Live),
            "Escape" if self.armed.is_some() => Some(Intent::Arm(None)),
            "Escape" => Some(Intent::Select(None)),
            "?" => Some(Intent::ShowKeys(!self.keys)),
            "1" => Some(Intent::ShowTable(false)),
            "3" => Some(Intent::ShowTable(true)),
            letter => {
                let stone = Stone::from_key(letter)?;
                Some(match self.selected.as_ref().and_then(Subject::target) {
                    Some(target) => Intent::Throw { stone, target },
                    None => Intent::Arm(Some(stone)),
                })
            }
        }
    }

    fn top(&self) -> Html {
        let table = self.table;
        let show = self.on.reform(move |_: MouseEvent| Intent::ShowTable(!table));
        let turn = self.on.reform(|_: MouseEvent| Intent::TurnTheme);
        html! {
            <header class="top">
                <h1>{ draw::icon("house") }{ "Glasshouse" }</h1>
                <p class="meta">{ "Kafka and ZooKeeper you can see through, and throw stones at" }</p>
                <div class="tr">
                    <button type="button" class="btn" id="view" onclick={show} aria-pressed={table.to_string()}>{ if table { "Stage" } else { "Table" } }</button>
                    <button type="button" class="btn sq" id="theme" onclick={turn} aria-label="Light or dark">{ draw::icon("moon") }</button>
                </div>
            </header>
        }
    }

    fn tabs(&self) -> Html {
        let tab = |tab: Tab, word: &'static str| {
            let onclick = self.on.reform(move |_: MouseEvent| Intent::ShowTab(tab));
            let is = self.tab == tab;
            html! { <button type="button" role="tab" aria-selected={is.to_string()} class={is.then_some("here")} {onclick}>{ word }</button> }
        };
        html! {
            <div class="tabs" role="tablist" aria-label="Panels">
                { tab(Tab::Story, "Story") }{ tab(Tab::Promises, "Promises") }{ tab(Tab::Selected, "Selected") }{ tab(Tab::Break, "Break it") }
            </div>
        }
    }
}
