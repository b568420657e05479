//! What can be broken: take a stone, then click its target. Below, how to read the drawing.

use crate::draw::{hue, icon};
use crate::intent::{Intent, Stone};
use yew::prelude::*;

#[derive(Properties, PartialEq)]
pub struct Props {
    pub armed: Option<Stone>,
    pub keys: bool,
    pub on: Callback<Intent>,
}

#[component]
pub fn Rail(props: &Props) -> Html {
    let Props { armed, keys, on } = props;
    let stone = |stone: Stone| {
        let taken = *armed == Some(stone);
        let onclick = on.reform(move |_: MouseEvent| Intent::Arm(if taken { None } else { Some(stone) }));
        html! {
            <li><button type="button" class={classes!("stone", taken.then_some("taken"))} aria-pressed={taken.to_string()} {onclick}>
                { icon(stone.icon()) }<span>{ stone.name() }</span><kbd>{ stone.key() }</kbd>
            </button></li>
        }
    };
    let hint = match armed {
        None => "Pick one, then a target.".to_owned(),
        Some(stone) => format!("{} what? Esc drops it.", stone.name()),
    };
    html! {
        <aside class="rail" aria-label="Throw a stone">
            <h2>{ "Throw a stone" }</h2>
            <p class="hint" aria-live="polite">{ hint }</p>
            <h3>{ "At a machine" }</h3>
            <ul>{ for Stone::AT_MACHINES.into_iter().map(stone) }</ul>
            <h3>{ "At a link" }</h3>
            <ul>{ for Stone::AT_LINKS.into_iter().map(stone) }</ul>
            { if *keys { all_keys() } else { how_to_read() } }
        </aside>
    }
}

fn how_to_read() -> Html {
    let row = |drawn: Html, words: &'static str| {
        html! { <><dt><svg class="kz" viewBox="0 0 22 14" aria-hidden="true">{ drawn }</svg></dt><dd>{ words }</dd></> }
    };
    let used = |name: &'static str, x: &'static str, w: &'static str| html! { <@{"use"} href={name} {x} y="1" width={w} height="12" /> };
    let drop = |turn: &'static str| html! { <path class="head" transform={turn} d="M6 0L1 -4A4 4 0 1 0 1 4Z" /> };
    html! {
        <div class="key">
            <h2>{ "How to read it" }</h2>
            <dl>
                { row(html! { <rect class={classes!("cell", "c", hue(1))} x="1" y="1" width="20" height="12" /> }, "committed record, its hue is its epoch") }
                { row(html! { <rect class={classes!("cell", "u", hue(1))} x="1" y="1" width="20" height="12" /> }, "does not count yet") }
                { row(html! { <><path class="hw" d="M0 9h15" /><path class="hwt" d="M11 0h9l-4.5 7.5z" /></> }, "high watermark") }
                { row(used("#crown", "3", "16"), "leader") }
                { row(html! { <g class="ring"><circle class="trk" cx="11" cy="7" r="5" /><circle class="arc" cx="11" cy="7" r="5" stroke-dasharray="20 40" transform="rotate(-90 11 7)" /></g> }, "time-out running") }
                { row(html! { <><g class="msg req">{ drop("translate(6 7)") }</g><g class="msg rep">{ drop("translate(16 7) rotate(180)") }</g></> }, "request, reply") }
                { row(html! { <><@{"use"} href="#lock" x="0" y="2" width="10" height="10" /><g class="red">{ used("#lock-broken", "11", "11") }</g></> }, "promised; lost") }
            </dl>
        </div>
    }
}

fn all_keys() -> Html {
    const KEYS: [(&str, &str); 10] = [
        ("Space", "play or pause"),
        (".  ,", "one entry on, back"),
        ("← →", "scrub; walk the stage"),
        ("⇧→", "to the next event"),
        ("[  ]", "slower, faster"),
        ("L", "live"),
        ("K R P", "kill, restart, pause"),
        ("X H", "cut, heal"),
        ("Esc", "drop, deselect"),
        ("?", "these keys"),
    ];
    html! {
        <div class="key keys">
            <h2>{ "Keys" }</h2>
            <dl>{ for KEYS.iter().map(|(key, words)| html! { <><dt><kbd>{ *key }</kbd></dt><dd>{ *words }</dd></> }) }</dl>
        </div>
    }
}
