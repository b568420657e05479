//! Small strokes: numbers as text, icons, pieces of SVG. Numbers are formatted by hand, which keeps the machinery of
//! floating-point printing out of the download.

use crate::stage::layout::{Path, Point, Rect};
use glasshouse_core::time::{Instant, Span};
use yew::prelude::*;

/// A length with at most one decimal.
pub fn px(value: f64) -> String {
    let tenths = (value * 10.0).round() as i64;
    let (sign, tenths) = if tenths < 0 { ("-", -tenths) } else { ("", tenths) };
    match tenths % 10 {
        0 => format!("{sign}{}", tenths / 10),
        rest => format!("{sign}{}.{rest}", tenths / 10),
    }
}

/// A length of time as the stage shows it: `5.8 s`, `2:05`.
pub fn seconds(span: Span) -> String {
    let tenths = span.as_millis() / 100;
    if tenths < 1000 {
        format!("{}.{} s", tenths / 10, tenths % 10)
    } else {
        format!("{}:{:02}", tenths / 600, tenths / 10 % 60)
    }
}

/// A moment on the axis: `0:04`.
pub fn axis_moment(at: Instant) -> String {
    let seconds = at.0 / 1_000_000_000;
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

/// An icon of the sprite in `index.html`.
pub fn icon(name: &str) -> Html {
    html! { <svg class="ic" aria-hidden="true"><@{"use"} href={format!("#i-{name}")} /></svg> }
}

/// A shape of the sprite, inside the stage.
pub fn shape(name: &str, x: f64, y: f64, w: f64, h: f64) -> Html {
    html! { <@{"use"} href={format!("#{name}")} x={px(x)} y={px(y)} width={px(w)} height={px(h)} /> }
}

/// Where a line of text hangs.
#[derive(Clone, Copy, PartialEq)]
pub enum Hang {
    Start,
    Middle,
    End,
}

pub fn text(at: Point, class: impl Into<Classes>, hang: Hang, words: impl Into<AttrValue>) -> Html {
    let anchor = match hang {
        Hang::Start => None,
        Hang::Middle => Some("middle"),
        Hang::End => Some("end"),
    };
    html! { <text x={px(at.x)} y={px(at.y)} class={class.into()} text-anchor={anchor}>{ words.into() }</text> }
}

pub fn rect(of: Rect, class: impl Into<Classes>) -> Html {
    html! { <rect class={class.into()} x={px(of.x)} y={px(of.y)} width={px(of.w)} height={px(of.h)} /> }
}

/// The epoch's hue, as a class.
pub fn hue(epoch: i64) -> &'static str {
    ["e0", "e1", "e2", "e3", "e4", "e5"][epoch.rem_euclid(6) as usize]
}

/// Zab counts from 1, so its first epoch has the first hue.
pub fn zab_hue(epoch: u32) -> &'static str {
    hue(i64::from(epoch) - 1)
}

/// A time-out ring with this share left, 0 to 1.
pub fn ring(centre: Point, radius: f64, left: f64, warn: bool) -> Html {
    let round = std::f64::consts::TAU * radius;
    let dash = format!("{} {}", px(round * left.clamp(0.0, 1.0)), px(round + 1.0));
    let (x, y, r) = (px(centre.x), px(centre.y), px(radius));
    html! {
        <g class={classes!("ring", warn.then_some("warn"))}>
            <circle class="trk" cx={x.clone()} cy={y.clone()} r={r.clone()} />
            <circle class="arc" transform={format!("rotate(-90 {x} {y})")} cx={x} cy={y} r={r} stroke-dasharray={dash} />
        </g>
    }
}

/// Four corners around what is selected.
pub fn brackets(around: Rect) -> Html {
    let (arm, l, t, r, b) = (12.0, around.x, around.y, around.right(), around.bottom());
    let corner = |x: f64, y: f64, dx: f64, dy: f64| {
        format!("M{} {}L{} {}L{} {}", px(x + dx), px(y), px(x), px(y), px(x), px(y + dy))
    };
    let d = [corner(l, t, arm, arm), corner(r, t, -arm, arm), corner(l, b, arm, -arm), corner(r, b, -arm, -arm)];
    html! { <path class="bracket" d={d.concat()} /> }
}

/// A black numbered dot of the last cause.
pub fn dot(at: Point, number: usize) -> Html {
    html! {
        <g class="num">
            <circle cx={px(at.x)} cy={px(at.y)} r="9" />
            { text(Point { x: at.x, y: at.y + 4.0 }, "", Hang::Middle, number.to_string()) }
        </g>
    }
}

/// A path's outline, its corners rounded, its gap left free.
pub fn outline(path: &Path) -> String {
    let at = |point: Point| format!("{} {}", px(point.x), px(point.y));
    let points = &path.points;
    let mut d = format!("M{}", at(points[0]));
    if let Some((centre, radius)) = path.gap {
        // The only path with a gap rises straight through it.
        d += &format!("L{}", at(Point { x: centre.x, y: centre.y + radius }));
        d += &points[1..]
            .iter()
            .enumerate()
            .map(|(i, p)| format!("{}{}", if i == 0 { "M" } else { "L" }, at(*p)))
            .collect::<String>();
        return d;
    }
    for corner in points.windows(3) {
        let (before, here, after) = (corner[0], corner[1], corner[2]);
        let near = |to: Point| {
            let (dx, dy) = (to.x - here.x, to.y - here.y);
            let length = (dx * dx + dy * dy).sqrt().max(0.01);
            let cut = path.round.min(length / 2.0);
            Point { x: here.x + dx / length * cut, y: here.y + dy / length * cut }
        };
        d += &format!("L{}Q{} {}", at(near(before)), at(here), at(near(after)));
    }
    d + &format!("L{}", at(points[points.len() - 1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_one_decimal_and_times_read_well() {
        assert_eq!([px(12.0), px(12.34), px(-0.46), px(0.04)], ["12", "12.3", "-0.5", "0"]);
        assert_eq!([seconds(Span::millis(5_849)), seconds(Span::secs(125))], ["5.8 s", "2:05"]);
    }

    #[test]
    fn corners_are_rounded() {
        let point = |x, y| Point { x, y };
        let path = Path { points: vec![point(0.0, 0.0), point(0.0, 20.0), point(30.0, 20.0)], gap: None, round: 7.0 };
        assert_eq!(outline(&path), "M0 0L0 13Q0 20 7 20L30 20");
    }
}
