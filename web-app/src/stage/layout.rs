//! Where everything stands: pure geometry from the counts of things and the width class. Knows nothing of colours,
//! of elements or of what is going on.
//!
//! The stage is drawn in its own units, which are pixels at scale 1. What stands somewhere stays there: positions
//! depend on the counts and the class alone, never on states.

/// The three drawings of the stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Wide,
    Mid,
    Narrow,
}

impl Class {
    /// The drawing for a page of this size in pixels. The wide one may shrink to 0.92 before the middle one is better, and
    /// that one, beside the right column, to 0.9.
    pub fn of(width: f64, height: f64) -> Class {
        if width <= 960.0 {
            return Class::Narrow;
        }
        let scale =
            ((width - 178.0 - 364.0) / Class::Wide.size().0).min((height - 46.0 - 134.0) / Class::Wide.size().1);
        if width > 1280.0 && scale >= 0.92 { Class::Wide } else { Class::Mid }
    }

    /// Width and height of the drawing.
    pub fn size(self) -> (f64, f64) {
        match self {
            Class::Wide => (896.0, 692.0),
            Class::Mid => (716.0, 668.0),
            Class::Narrow => (390.0, 550.0),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Class::Wide => "wide",
            Class::Mid => "mid",
            Class::Narrow => "narrow",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    pub x: f64,
    pub y: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rect {
    pub x: f64,
    pub y: f64,
    pub w: f64,
    pub h: f64,
}

impl Rect {
    pub fn right(&self) -> f64 {
        self.x + self.w
    }
    pub fn bottom(&self) -> f64 {
        self.y + self.h
    }
    pub fn centre_x(&self) -> f64 {
        self.x + self.w / 2.0
    }
    fn grown(&self, by: f64) -> Rect {
        Rect { x: self.x - by, y: self.y - by, w: self.w + 2.0 * by, h: self.h + 2.0 * by }
    }
    pub fn overlaps(&self, other: &Rect) -> bool {
        self.x < other.right() && other.x < self.right() && self.y < other.bottom() && other.y < self.bottom()
    }
}

/// What a stage holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    pub keepers: usize,
    pub brokers: usize,
    /// Producers and consumers; ZooKeeper clients stand elsewhere.
    pub clients: usize,
    /// The most replicas that a broker shows.
    pub vessels: usize,
}

/// Positions and sizes for one class and one set of counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Layout {
    pub class: Class,
    counts: Counts,
}

/// Where the pane lies: the strip between ensemble and brokers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bands {
    pub pane_top: f64,
    pub pane_bottom: f64,
    pub clients_top: f64,
}

/// One replica's glass. Rows count from 0 at the bottom.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Vessel {
    pub glass: Rect,
    pub row: f64,
    pub cell_h: f64,
    /// Records that fit in.
    pub rows: usize,
}

impl Vessel {
    pub fn cell(&self, row: usize) -> Rect {
        Rect {
            x: self.glass.x + 3.0,
            y: self.glass.bottom() - 2.0 - self.row * (row as f64 + 1.0),
            w: self.glass.w - 6.0,
            h: self.cell_h,
        }
    }

    /// The height of a water-line with `below` records under it.
    pub fn level(&self, below: usize) -> f64 {
        self.glass.bottom() - 3.0 - self.row * below as f64
    }
}

impl Layout {
    pub fn new(class: Class, counts: Counts) -> Layout {
        Layout { class, counts }
    }

    fn by<T>(&self, wide: T, mid: T, narrow: T) -> T {
        match self.class {
            Class::Wide => wide,
            Class::Mid => mid,
            Class::Narrow => narrow,
        }
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    pub fn bands(&self) -> Bands {
        let (pane_top, pane_bottom, clients_top) =
            self.by((190.0, 246.0, 626.0), (182.0, 236.0, 601.0), (149.0, 206.0, 490.0));
        Bands { pane_top, pane_bottom, clients_top }
    }

    // Brokers.

    pub fn cabinet(&self, broker: usize) -> Rect {
        let (margin, gap, y, h) =
            self.by((32.0, 74.0, 288.0, 276.0), (18.0, 55.0, 274.0, 260.5), (5.0, 7.0, 231.0, 224.0));
        let n = self.counts.brokers.max(1) as f64;
        // Up to three keep the width they have when they are three; more share what there is.
        let columns = n.max(3.0);
        let gap = if columns > 4.0 { gap / 3.0 } else { gap };
        let w = (self.class.size().0 - 2.0 * margin - gap * (columns - 1.0)) / columns;
        let indent = (columns - n) * (w + gap) / 2.0;
        Rect { x: margin + indent + broker as f64 * (w + gap), y, w, h }
    }

    /// Under 150 a broker drops captions (the narrow drawing has its own, shorter ones).
    pub fn captions(&self) -> bool {
        self.class == Class::Narrow && self.cabinet(0).w > 110.0 || self.cabinet(0).w >= 150.0
    }

    pub fn vessel(&self, broker: usize, slot: usize) -> Vessel {
        let cabinet = self.cabinet(broker);
        let (left, inner, top, bottom, row, cell_h, rows) = self.by(
            (30.0, 36.0, 50.0, 237.0, 20.0, 18.0, 8),
            (22.0, 31.0, 48.0, 221.5, 18.5, 16.5, 8),
            (13.0, 15.0, 44.0, 187.0, 17.0, 15.0, 7),
        );
        let rest = self.by(4.0, 4.0, 6.0);
        let pitch = (cabinet.w - rest) / self.counts.vessels.max(2) as f64;
        // A lone vessel stands where the first of two would.
        let glass = Rect {
            x: cabinet.x + left + slot as f64 * pitch,
            y: cabinet.y + top,
            w: (pitch - inner).max(10.0),
            h: bottom - top,
        };
        Vessel { glass, row, cell_h, rows }
    }

    // Keepers.

    pub fn disc(&self, keeper: usize) -> Point {
        let n = self.counts.keepers.max(1);
        let (foot, height) = self.by((132.0, 70.0), (128.0, 70.0), (112.0, 66.0));
        let centre = self.class.size().0 / 2.0;
        let reach = self.by(302.0, 245.0, 129.0);
        if n == 1 {
            return Point { x: centre, y: foot - height };
        }
        // On the upper half of an ellipse, the first at its left end and the last at its right.
        let angle = std::f64::consts::PI * keeper as f64 / (n - 1) as f64;
        let (sin, cos) = sin_cos(angle);
        Point { x: centre - reach * cos, y: foot - height * sin }
    }

    pub fn disc_radius(&self) -> f64 {
        self.by(24.0, 22.0, 18.0)
    }

    /// Where a keeper's name begins, and whether it runs to the left of it.
    pub fn keeper_label(&self, keeper: usize) -> (Point, bool) {
        let disc = self.disc(keeper);
        let n = self.counts.keepers;
        let (first, last) = (keeper == 0 && n > 1, keeper + 1 == n && n > 1);
        if self.class == Class::Narrow {
            let y = if first || last { disc.y - 46.0 } else { disc.y - 14.0 };
            return match (first, last) {
                (true, _) => (Point { x: 8.0, y }, false),
                (_, true) => (Point { x: 382.0, y }, true),
                _ => (Point { x: disc.x - 31.0, y }, true),
            };
        }
        let aside = self.disc_radius() + if first { 14.0 } else { 15.0 };
        if first {
            (Point { x: disc.x - aside, y: disc.y - 14.0 }, true)
        } else {
            let y = if last { disc.y - 14.0 } else { disc.y - 24.0 };
            (Point { x: disc.x + aside, y }, false)
        }
    }

    /// The journal's last cells: the right edge of the newest one and their top, how many fit, and a cell's size.
    pub fn journal(&self, keeper: usize) -> (Point, usize, Point) {
        let disc = self.disc(keeper);
        let n = self.counts.keepers;
        let (first, last) = (keeper == 0 && n > 1, keeper + 1 == n && n > 1);
        let (cells, w, h) = self.by((4, 21.0, 16.0), (3, 20.0, 15.0), (3, 16.0, 14.0));
        let length = cells as f64 * (w + 2.0);
        let at = match self.class {
            Class::Narrow if first => Point { x: disc.x + 27.0 + length - 2.0, y: disc.y + 6.0 },
            Class::Narrow if last => Point { x: disc.x - 27.0, y: disc.y + 6.0 },
            Class::Narrow => Point { x: disc.x + 31.0 + length - 2.0, y: disc.y - 16.0 },
            _ if first => Point { x: disc.x - self.by(39.0, 37.0, 0.0), y: disc.y + 22.0 },
            _ if last => Point { x: disc.x + self.by(40.0, 38.0, 0.0) + length - 2.0, y: disc.y + 22.0 },
            _ => Point { x: disc.x - self.by(38.0, 36.0, 0.0), y: disc.y - 30.0 },
        };
        (at, cells, Point { x: w, y: h })
    }

    // The pane.

    /// The time-out ring of a broker's session: centre and radius.
    pub fn ring(&self, broker: usize) -> (Point, f64) {
        let y = self.by(218.0, 209.0, 165.0);
        (Point { x: self.cabinet(broker).centre_x(), y }, self.by(11.0, 11.0, 9.0))
    }

    /// Where a partition is told on the pane: between the rings, so one fewer than there are brokers.
    pub fn told(&self, place: usize) -> Point {
        let x = self.ring(place).0.x;
        match self.class {
            Class::Wide => Point { x: x + 127.0, y: 209.0 },
            Class::Mid => Point { x: x + 97.0, y: 200.0 },
            Class::Narrow => Point { x: x + 6.0, y: 187.0 },
        }
    }

    pub fn told_places(&self) -> usize {
        self.counts.brokers.saturating_sub(1).min(2)
    }

    // Clients.

    pub fn client(&self, client: usize) -> Point {
        let w = self.class.size().0;
        let x = if self.counts.clients <= 2 {
            self.by([190.0, 640.0], [130.0, 470.0], [62.0, 236.0])[client.min(1)]
        } else {
            w * (0.1 + 0.88 * client as f64 / self.counts.clients as f64)
        };
        Point { x, y: self.by(656.0, 631.0, 519.0) }
    }

    /// Half the width of a client's sign.
    pub fn client_half(&self) -> f64 {
        self.by(15.0, 15.0, 13.0)
    }

    /// A ZooKeeper client's square, in the upper right corner.
    pub fn keeper_client(&self, client: usize) -> Point {
        let inset = self.by(106.0, 79.0, 60.0);
        Point { x: self.class.size().0 - inset - 190.0 * client as f64, y: self.by(31.0, 27.0, 22.0) }
    }

    // Links.

    /// Between two keepers' discs.
    pub fn ensemble_link(&self, a: usize, b: usize) -> Path {
        let (from, to) = (self.disc(a), self.disc(b));
        let gap = self.disc_radius() + 5.0;
        Path::straight(toward(from, to, gap), toward(to, from, gap))
    }

    /// From a broker through its ring to a keeper; `ring` is where the line pauses.
    pub fn session_link(&self, broker: usize, keeper: usize) -> Path {
        let (ring, radius) = self.ring(broker);
        let foot = Point { x: ring.x, y: self.cabinet(broker).y };
        let upper = Point { x: ring.x, y: ring.y - radius - 2.0 };
        let end = toward(self.disc(keeper), upper, self.disc_radius() + 5.0);
        Path { points: vec![foot, upper, end], gap: Some((ring, radius + 2.0)), round: 0.0 }
    }

    /// Between two brokers: straight between neighbours, below the cabinets otherwise.
    pub fn broker_link(&self, a: usize, b: usize) -> Path {
        let (left, right) = (a.min(b), a.max(b));
        let (l, r) = (self.cabinet(left), self.cabinet(right));
        let apart = right - left;
        let mut path = if apart == 1 && self.class != Class::Narrow {
            let y = l.y + self.by(154.0, 144.5, 0.0);
            Path::straight(Point { x: l.right(), y }, Point { x: r.x, y })
        } else {
            let (inset, depth) = match (self.class, apart) {
                (Class::Narrow, 1) => (18.0, 11.0),
                (Class::Narrow, _) => (30.0, 23.0),
                (Class::Mid, _) => (18.0, 16.0),
                (Class::Wide, _) => (18.0, 17.0),
            };
            let depth = depth - 4.0 * apart.saturating_sub(2) as f64;
            Path::under(l.right() - inset, r.x + inset, l.bottom(), l.bottom() + depth)
        };
        if a > b {
            path.points.reverse();
        }
        path
    }

    /// Paths from clients to brokers: each as (client, broker, the slot it leads to); in the same order.
    ///
    /// A line leaves its client upward, runs level and rises into a cabinet; lines that would share a level piece
    /// take levels of their own.
    pub fn client_links(&self, ends: &[(usize, usize, Option<usize>)]) -> Vec<Path> {
        let (low, step) = self.by((616.0, 17.0), (583.5, 16.0), (489.0, 5.0));
        let port_y = self.by(642.0, 617.0, 506.0);
        let mut taken: Vec<(usize, f64, f64)> = Vec::new();
        let mut paths = Vec::with_capacity(ends.len());
        for (index, &(client, broker, slot)) in ends.iter().enumerate() {
            let cabinet = self.cabinet(broker);
            let aside = self.by(8.0, 8.0, 4.0);
            let centre = match slot {
                Some(slot) => self.vessel(broker, slot).glass.centre_x(),
                None => cabinet.centre_x(),
            };
            let target = centre + if client % 2 == 0 { -aside } else { aside };
            // The ports of one client, in the order of where they lead.
            let mine: Vec<usize> = ends.iter().filter(|end| end.0 == client).map(|end| end.1).collect();
            let rank = mine.iter().filter(|other| **other < broker).count() as f64;
            let port = self.client(client).x + 8.0 * (rank - (mine.len() as f64 - 1.0) / 2.0);
            let (from, to) = (port.min(target), port.max(target));
            let level = (0..5)
                .find(|level| !taken.iter().any(|(other, l, r)| other == level && from - 6.0 < *r && *l < to + 6.0))
                .unwrap_or(index % 5);
            taken.push((level, from, to));
            // The third level and those above share what is left below the brokers' own links.
            let height = step * (level as f64).min(1.0) + 5.0 * (level as f64 - 1.0).max(0.0);
            let y = low - height;
            paths.push(Path {
                points: vec![
                    Point { x: port, y: port_y },
                    Point { x: port, y },
                    Point { x: target, y },
                    Point { x: target, y: cabinet.bottom() },
                ],
                gap: None,
                round: 7.0,
            });
        }
        paths
    }

    pub fn keeper_client_link(&self, client: usize, keeper: usize) -> Path {
        let (from, to) = (self.keeper_client(client), self.disc(keeper));
        Path::straight(toward(from, to, 18.0), toward(to, from, self.disc_radius() + 8.0))
    }

    // What surrounds a thing.

    /// The box of a broker's selection brackets.
    pub fn around_cabinet(&self, broker: usize) -> Rect {
        self.cabinet(broker).grown(4.0)
    }

    pub fn around_disc(&self, keeper: usize) -> Rect {
        let (disc, r) = (self.disc(keeper), self.disc_radius() + 9.0);
        Rect { x: disc.x - r, y: disc.y - r, w: 2.0 * r, h: 2.0 * r }
    }

    pub fn around_client(&self, client: usize) -> Rect {
        let (at, r) = (self.client(client), self.client_half() + 6.0);
        Rect { x: at.x - r, y: at.y - r, w: 2.0 * r, h: 2.0 * r }
    }

    /// Where the strip of actions stands beside something, kept on the stage: its upper left corner.
    pub fn strip_beside(&self, what: Rect, size: Point) -> Point {
        let (w, h) = self.class.size();
        let right = what.right() - 2.0;
        let x = if right + size.x <= w { right } else { what.x + 2.0 - size.x };
        // Not `clamp`: it would say which floats were wrong, and bring their printing along.
        Point { x: x.min(w - size.x - 2.0).max(2.0), y: what.y.min(h - size.y - 2.0).max(2.0) }
    }
}

/// Sine and cosine of an angle of up to half a turn, by their series. The standard library's serve angles of many
/// thousand turns as well, which the page would have to download.
pub fn sin_cos(angle: f64) -> (f64, f64) {
    let sin = |x: f64| {
        let (mut sum, mut term) = (x, x);
        for n in 1..12 {
            term *= -x * x / f64::from(2 * n * (2 * n + 1));
            sum += term;
        }
        sum
    };
    (sin(angle), sin(std::f64::consts::FRAC_PI_2 - angle.abs()))
}

/// The point at `distance` from `from` on the way to `to`.
fn toward(from: Point, to: Point, distance: f64) -> Point {
    let (dx, dy) = (to.x - from.x, to.y - from.y);
    let length = (dx * dx + dy * dy).sqrt().max(1.0);
    Point { x: from.x + dx / length * distance, y: from.y + dy / length * distance }
}

/// A line of straight pieces, its corners perhaps rounded when drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Path {
    pub points: Vec<Point>,
    /// A disc that the drawn line leaves free; travellers cross it.
    pub gap: Option<(Point, f64)>,
    pub round: f64,
}

impl Path {
    pub fn straight(from: Point, to: Point) -> Path {
        Path { points: vec![from, to], gap: None, round: 0.0 }
    }

    fn under(left: f64, right: f64, top: f64, bottom: f64) -> Path {
        let points = vec![
            Point { x: left, y: top },
            Point { x: left, y: bottom },
            Point { x: right, y: bottom },
            Point { x: right, y: top },
        ];
        Path { points, gap: None, round: 7.0 }
    }

    pub fn length(&self) -> f64 {
        self.points.windows(2).map(|piece| distance(piece[0], piece[1])).sum()
    }

    /// The place at `share` of the way, 0 to 1, and the unit vector ahead.
    pub fn at(&self, share: f64) -> (Point, Point) {
        let mut left = share.clamp(0.0, 1.0) * self.length();
        let last = self.points.len() - 2;
        for (index, piece) in self.points.windows(2).enumerate() {
            let length = distance(piece[0], piece[1]);
            if left <= length || index == last {
                let ahead = Point {
                    x: (piece[1].x - piece[0].x) / length.max(0.01),
                    y: (piece[1].y - piece[0].y) / length.max(0.01),
                };
                let left = left.min(length);
                return (Point { x: piece[0].x + ahead.x * left, y: piece[0].y + ahead.y * left }, ahead);
            }
            left -= length;
        }
        (self.points[0], Point { x: 1.0, y: 0.0 })
    }

    /// Where a traveller is drawn: traffic keeps right, `aside` of the line. `back`: it goes from the end to the start.
    pub fn lane(&self, share: f64, back: bool, aside: f64) -> (Point, Point) {
        let (at, mut ahead) = self.at(if back { 1.0 - share } else { share });
        if back {
            ahead = Point { x: -ahead.x, y: -ahead.y };
        }
        (Point { x: at.x - ahead.y * aside, y: at.y + ahead.x * aside }, ahead)
    }
}

fn distance(a: Point, b: Point) -> f64 {
    ((a.x - b.x).powi(2) + (a.y - b.y).powi(2)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sine_and_cosine_are_the_standard_librarys() {
        for step in -100..=100 {
            let angle = std::f64::consts::PI * f64::from(step) / 100.0;
            let (sin, cos) = sin_cos(angle);
            assert!((sin - angle.sin()).abs() < 1e-9 && (cos - angle.cos()).abs() < 1e-9, "{angle}");
        }
    }

    const FIRST: Counts = Counts { keepers: 3, brokers: 3, clients: 2, vessels: 2 };

    #[test]
    fn the_first_page_stands_where_it_was_drawn() {
        let layout = Layout::new(Class::Wide, FIRST);
        assert_eq!(layout.cabinet(1), Rect { x: 334.0, y: 288.0, w: 228.0, h: 276.0 });
        assert_eq!(layout.vessel(0, 1).glass, Rect { x: 174.0, y: 338.0, w: 76.0, h: 187.0 });
        assert_eq!(layout.vessel(0, 0).cell(0), Rect { x: 65.0, y: 503.0, w: 70.0, h: 18.0 });
        assert_eq!(layout.vessel(0, 0).level(4), 442.0);
        assert!(distance(layout.disc(1), Point { x: 448.0, y: 62.0 }) < 1e-9, "{:?}", layout.disc(1));
        assert_eq!(layout.ring(2).0, Point { x: 750.0, y: 218.0 });
        let narrow = Layout::new(Class::Narrow, FIRST);
        assert_eq!(narrow.vessel(2, 1).glass, Rect { x: 334.0, y: 275.0, w: 43.0, h: 143.0 });
    }

    #[test]
    fn nothing_leaves_the_stage_with_seven_of_each() {
        for class in [Class::Wide, Class::Mid, Class::Narrow] {
            let layout = Layout::new(class, Counts { keepers: 7, brokers: 7, clients: 6, vessels: 2 });
            let (w, h) = class.size();
            for index in 0..7 {
                let cabinet = layout.cabinet(index);
                assert!(cabinet.x >= 0.0 && cabinet.right() <= w && cabinet.bottom() <= h, "{class:?} {cabinet:?}");
                let disc = layout.disc(index);
                assert!(disc.x >= 18.0 && disc.x <= w - 18.0 && disc.y >= 18.0, "{class:?} {disc:?}");
                assert!(index == 0 || layout.cabinet(index - 1).right() <= cabinet.x);
            }
        }
    }

    #[test]
    fn a_page_takes_the_drawing_that_fits() {
        let sizes =
            [(1440.0, 900.0), (1281.0, 900.0), (1000.0, 800.0), (800.0, 1000.0), (390.0, 844.0), (1440.0, 700.0)];
        let classes = sizes.map(|(width, height)| Class::of(width, height));
        assert_eq!(classes, [Class::Wide, Class::Mid, Class::Mid, Class::Narrow, Class::Narrow, Class::Mid]);
    }

    #[test]
    fn traffic_keeps_right() {
        let path = Path::straight(Point { x: 0.0, y: 0.0 }, Point { x: 100.0, y: 0.0 });
        assert_eq!(path.lane(0.25, false, 4.5).0, Point { x: 25.0, y: 4.5 });
        assert_eq!(path.lane(0.25, true, 4.5).0, Point { x: 75.0, y: -4.5 });
    }

    #[test]
    fn level_pieces_of_client_lines_do_not_lie_on_each_other() {
        let layout = Layout::new(Class::Wide, FIRST);
        let paths = layout.client_links(&[(0, 0, Some(0)), (0, 1, Some(1)), (1, 0, Some(0)), (1, 1, Some(1))]);
        let levels: Vec<f64> = paths.iter().map(|path| path.points[1].y).collect();
        assert_eq!(levels, [616.0, 616.0, 599.0, 616.0]);
    }
}
