//! The ledger: what clients were told, against what is there, and what of it was owed.

use crate::draw::icon;
use glasshouse_core::view::{Ledger, PromiseVerdict, PromiseView};
use yew::prelude::*;

#[derive(Properties, PartialEq)]
pub struct Props {
    pub ledger: Ledger,
    pub promises: Vec<PromiseView>,
}

#[component]
pub fn Promises(props: &Props) -> Html {
    let Props { ledger, promises } = props;
    let lost = ledger.acknowledged.saturating_sub(ledger.survive);
    let bad = lost > 0;
    let holding = promises.iter().filter(|promise| promise.verdict == PromiseVerdict::Holds).count();
    let writes_lost = ledger.writes_acknowledged != ledger.writes_kept;
    html! {
        <section class={classes!("ledger", bad.then_some("bad"))} aria-label="Promises">
            <h2>{ "Promises kept" }</h2>
            if ledger.acknowledged == 0 && promises.is_empty() {
                <p class="none">{ "No promises yet." }</p>
            } else {
                <div class="eq">
                    <span><b>{ ledger.acknowledged }</b>{ "acknowledged" }</span>
                    <i>{ if bad { "≠" } else { "=" } }</i>
                    <span><b>{ ledger.survive }</b>{ "survive" }</span>
                    if bad {
                        <p class="verd">{ format!("{lost} acknowledged") }<br />{ "records lost" }</p>
                    }
                </div>
                <ul class="facts">
                    if ledger.waiting > 0 {
                        <li><b>{ ledger.waiting }</b>{ if ledger.waiting == 1 { " waits for an answer: nothing is promised yet" } else { " wait for an answer: nothing is promised yet" } }</li>
                    }
                    if ledger.writes_acknowledged > 0 {
                        <li class={writes_lost.then_some("red")}>
                            <b>{ format!("{} {} {}", ledger.writes_acknowledged, if writes_lost { "≠" } else { "=" }, ledger.writes_kept) }</b>
                            { " ZooKeeper writes acknowledged and kept" }
                        </li>
                    }
                </ul>
                { for promises.iter().filter_map(trouble) }
                if !promises.is_empty() {
                    <p class="inv">{ summary(holding, promises.len()) }</p>
                }
            }
        </section>
    }
}

fn summary(holding: usize, all: usize) -> String {
    if holding == all { format!("All {all} invariants hold") } else { format!("{holding} of {all} invariants hold") }
}

/// A promise that does not simply hold: red filled for a violation, red dashed for a loss the settings allow.
fn trouble(promise: &PromiseView) -> Option<Html> {
    let (class, tag, why) = match &promise.verdict {
        PromiseVerdict::Holds => return None,
        PromiseVerdict::NotOwed { why } => {
            return Some(html! { <p class="inv">{ format!("{} is not owed here: {why}", promise.name) }</p> });
        }
        PromiseVerdict::Violated { at, why } => ("tag full", format!("violated at {at}"), why),
        PromiseVerdict::AllowedLoss { at, why } => ("tag", format!("allowed loss at {at}"), why),
    };
    Some(html! {
        <div class="blame">
            <p><span {class}>{ icon("kill") }{ tag }</span>{ " " }<b>{ promise.name.to_string() }</b>{ format!(": {}", promise.sentence) }</p>
            <p>{ why.to_string() }</p>
        </div>
    })
}
