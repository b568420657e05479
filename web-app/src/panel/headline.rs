//! One sentence for the state of things, two for why. A live region.

use super::sentence;
use glasshouse_core::view::Headline as HeadlineView;
use yew::prelude::*;

#[derive(Properties, PartialEq)]
pub struct Props {
    pub headline: HeadlineView,
}

#[component]
pub fn Headline(props: &Props) -> Html {
    let HeadlineView { title, why, broken } = &props.headline;
    html! {
        <section class="headline" aria-live="polite">
            <p id="headline" class={classes!("h", broken.then_some("red"))}>{ sentence(title) }</p>
            <p id="why" class="sub">{ sentence(why) }</p>
        </section>
    }
}
