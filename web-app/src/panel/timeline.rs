//! Time: the buttons, the moment, the speed, and the tape painted with epochs.

use crate::draw::{axis_moment, hue, icon, zab_hue};
use crate::intent::{Intent, TimeIntent};
use crate::playback::SPEEDS;
use crate::source::Clock;
use glasshouse_core::time::{Instant, Span};
use glasshouse_core::view::*;
use std::rc::Rc;
use wasm_bindgen::JsCast;
use yew::prelude::*;

#[derive(Properties, PartialEq)]
pub struct Props {
    pub view: Rc<ClusterView>,
    pub clock: Clock,
    /// One sentence over the tape: what was not understood, what was just done.
    pub notice: Option<AttrValue>,
    pub on: Callback<Intent>,
}

#[component]
pub fn Timeline(props: &Props) -> Html {
    let Props { view, clock, notice, on } = props;
    let time = |intent: TimeIntent| on.reform(move |_: MouseEvent| Intent::Time(intent));
    // Last, so that it moves nothing when it comes and goes.
    let reached = clock.reached.map(|reached| format!("reaches {}.{:02}×", reached / 100, reached % 100));
    let oninput = on.reform(|event: InputEvent| {
        let value = event.target().and_then(|target| target.dyn_into::<web_sys::HtmlInputElement>().ok());
        Intent::Time(TimeIntent::Speed(value.and_then(|input| input.value().parse().ok()).unwrap_or(0)))
    });
    let (play_word, play_icon) = if clock.playing { ("Pause", "pause") } else { ("Play", "play") };
    html! {
        <footer class="time" aria-label="Time">
            <div class="tc">
                <div class="tb" role="toolbar" aria-label="Time">
                    <button type="button" class="btn sq" aria-label="Step back one entry" onclick={time(TimeIntent::StepBack)}>{ icon("back") }</button>
                    <button type="button" class="btn sq pri" id="play" aria-label={play_word} onclick={time(TimeIntent::TogglePlay)}>{ icon(play_icon) }</button>
                    <button type="button" class="btn sq" aria-label="Step forward one entry" onclick={time(TimeIntent::Step)}>{ icon("step") }</button>
                </div>
                <div class="now">
                    <b id="now">{ view.now.to_string() }</b>
                    if clock.live {
                        <span>{ if clock.playing { "live" } else { "paused" } }</span>
                    } else {
                        <button type="button" class="lnk" onclick={time(TimeIntent::Live)}>{ "to live" }</button>
                    }
                </div>
                <label class="sp">
                    <span>{ "Speed " }<b>{ clock.speed.read_out() }</b></span>
                    <input type="range" min="0" max={(SPEEDS.len() - 1).to_string()} step="1" value={clock.notch.to_string()} {oninput}
                        aria-label={format!("Speed, {} of real time", clock.speed.read_out())} />
                    <small>{ reached }</small>
                </label>
                if let Some(notice) = notice {
                    <p class="notice" role="status">{ notice }</p>
                }
                <p class="kb">{ "Space plays, " }<kbd>{ "." }</kbd>{ " steps, arrows scrub, " }<kbd>{ "?" }</kbd>{ " all keys" }</p>
            </div>
            { tape(view, on) }
        </footer>
    }
}

/// The stretch of time that the tape shows, and how far apart its ticks are: twelve seconds, then ever more.
fn scale(until: Instant) -> (Span, Span) {
    const SCALES: [(u64, u64); 8] =
        [(12, 2), (30, 5), (60, 10), (120, 20), (300, 60), (600, 120), (1_800, 300), (3_600, 600)];
    let fits = |whole: u64| until.0 / 95 * 100 <= whole * 1_000_000_000;
    let (whole, tick) = SCALES.into_iter().find(|scale| fits(scale.0)).unwrap_or_else(|| {
        let hours = until.0 / 95 * 100 / 3_600_000_000_000 + 1;
        (hours * 3_600, hours * 600)
    });
    (Span::secs(whole), Span::secs(tick))
}

fn tape(view: &ClusterView, on: &Callback<Intent>) -> Html {
    let (whole, tick) = scale(view.known_until);
    let share = |at: Instant| format!("{}%", px_fine(at, whole));
    let ticks = (0..whole.0 / tick.0).map(|n| {
        let at = Instant(n * tick.0);
        html! { <span class="tk" style={format!("left:{}", share(at))}>{ axis_moment(at) }</span> }
    });
    let lanes = view.tracks.iter().enumerate().map(|(index, track)| lane(track, index, view.known_until, whole));
    let seek = {
        let on = on.clone();
        Callback::from(move |event: PointerEvent| {
            if event.buttons() & 1 == 0 {
                return;
            }
            let Some(track) = event.current_target().and_then(|target| target.dyn_into::<web_sys::Element>().ok())
            else {
                return;
            };
            let across = track.get_bounding_client_rect();
            let share = ((f64::from(event.client_x()) - across.left()) / across.width().max(1.0)).clamp(0.0, 1.0);
            on.emit(Intent::Time(TimeIntent::Seek(Instant((share * whole.0 as f64) as u64))));
        })
    };
    html! {
        <div class="tape" role="slider" id="tape" tabindex="0" aria-label="Playhead" aria-valuemin="0" aria-valuemax={(view.known_until.0 / 1_000_000).to_string()}
            aria-valuenow={(view.now.0 / 1_000_000).to_string()} aria-valuetext={view.now.to_string()}>
            <div class="ax"><span class="ln" /><div class="trk">{ for ticks }</div></div>
            { for lanes }
            <div class="ph">
                <span class="ln" />
                <div class="trk" onpointerdown={seek.clone()} onpointermove={seek}>
                    <span class="fut" style={format!("left:{}", share(view.known_until))} />
                    <span class="head" style={format!("left:{}", share(view.now))} />
                </div>
            </div>
        </div>
    }
}

/// A share of the tape in per cent, to a hundredth.
fn px_fine(at: Instant, whole: Span) -> String {
    let hundredths = (u128::from(at.0) * 10_000 / u128::from(whole.0.max(1))) as u64;
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

fn lane(track: &TrackView, index: usize, until: Instant, whole: Span) -> Html {
    let spans = track.spans.iter().map(|span| {
        let end = span.until.unwrap_or(until).min(until);
        let (left, width) = (px_fine(span.from, whole), px_fine(Instant(end.since(span.from).0), whole));
        let style = format!("left:{left}%;width:{width}%");
        let (class, number) = match span.kind {
            SpanKind::Led { epoch } if track.kind == TrackKind::Ensemble => (zab_hue(epoch as u32), Some(epoch)),
            SpanKind::Led { epoch } => (hue(epoch), Some(epoch)),
            SpanKind::Leaderless => ("gap", None),
            SpanKind::Waiting => ("wait", None),
            SpanKind::Lost => ("lost", None),
        };
        html! {
            <span class={classes!("span", class)} {style} title={span.label.to_string()}>
                if let Some(number) = number {
                    <i>{ format!("e{number}") }</i>
                }
                { span.label.to_string() }
            </span>
        }
    });
    let marks = track.marks.iter().map(|mark| {
        let style = format!("left:{}%", px_fine(mark.at, whole));
        html! { <span class="stn" {style} title={format!("{} at {}", mark.label, mark.at)}>{ icon(act_icon(mark.act)) }</span> }
    });
    // A narrow page has room for two lanes: the ensemble and the first partition.
    let minor = !(track.kind == TrackKind::Ensemble || track.kind == TrackKind::Partition && index <= 2);
    html! {
        <div class={classes!("lane", minor.then_some("minor"))}>
            <span class="ln">{ track.name.to_string() }</span>
            <div class="trk">{ for spans }{ for marks }</div>
        </div>
    }
}

fn act_icon(act: Act) -> &'static str {
    match act {
        Act::Kill | Act::PowerOff => "kill",
        Act::Restart => "restart",
        Act::Pause => "pause",
        Act::Resume => "play",
        Act::Cut => "cut",
        Act::Heal => "heal",
        Act::Slow | Act::Stall | Act::Disk | Act::Clock | Act::Other => "stone",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tape_grows_in_steps() {
        let secs = |s: u64| scale(Instant(s * 1_000_000_000)).0;
        assert_eq!(
            [secs(3), secs(12), secs(112), secs(4_000)],
            [Span::secs(12), Span::secs(30), Span::secs(120), Span::secs(7_200)]
        );
    }

    #[test]
    fn shares_have_two_decimals() {
        assert_eq!(px_fine(Instant(3_120_000_000), Span::secs(12)), "26.00");
    }
}
