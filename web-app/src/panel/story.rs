//! What happened, newest first, in the core's own words. The numbers of the last cause stand here and on the stage.

use super::sentence;
use crate::draw::icon;
use crate::intent::{Intent, TimeIntent};
use glasshouse_core::view::{CauseStep, StoryKind, StoryLine};
use yew::prelude::*;

#[derive(Properties, PartialEq)]
pub struct Props {
    pub lines: Vec<StoryLine>,
    pub causes: Vec<CauseStep>,
    pub on: Callback<Intent>,
}

/// More is reached by going back in time.
const SHOWN_MOST: usize = 80;

#[component]
pub fn Story(props: &Props) -> Html {
    let Props { lines, causes, on } = props;
    let newest = lines.iter().rev().take(SHOWN_MOST).map(|line| {
        let number = causes.iter().position(|step| step.story == line.id).map(|index| index + 1);
        let at = line.at;
        let onclick = on.reform(move |_: MouseEvent| Intent::Time(TimeIntent::Seek(at)));
        let (sign, word) = sign(line.kind);
        let class = classes!(
            (line.turning || number.is_some()).then_some("hot"),
            (line.kind == StoryKind::You).then_some("you"),
            (line.kind == StoryKind::Violation).then_some("red")
        );
        html! {
            <li key={line.id} {class}>
                <button type="button" class="ts" {onclick} aria-label={format!("Go to {at}")}>{ at.to_string() }</button>
                if let Some(number) = number {
                    <span class="nb">{ number }</span>
                } else {
                    <span class="kd" title={word}>{ icon(sign) }</span>
                }
                <span class="s">{ sentence(&line.text) }</span>
            </li>
        }
    });
    html! {
        <section class="story" aria-label="What happened">
            <h2>{ "What happened" }</h2>
            if lines.is_empty() {
                <p class="none">{ "Nothing yet." }</p>
            }
            <ol>{ for newest }</ol>
        </section>
    }
}

fn sign(kind: StoryKind) -> (&'static str, &'static str) {
    match kind {
        StoryKind::You => ("stone", "you"),
        StoryKind::Ensemble => ("disc", "ensemble"),
        StoryKind::Session => ("clock", "session"),
        StoryKind::Leadership => ("crown", "leadership"),
        StoryKind::Log => ("log", "log"),
        StoryKind::Isr => ("vessel", "in-sync replicas"),
        StoryKind::Client => ("client", "client"),
        StoryKind::Violation => ("kill", "violation"),
    }
}
