//! A chart of latencies as SVG: a line over the quantiles for each policy. Quantiles are drawn by how few answers are
//! beyond them, times by powers of ten.

use std::fmt::Write as _;

use weir_model::simulate::Outcome;

const WIDTH: f64 = 820.0;
const HEIGHT: f64 = 490.0;
// Where the plot itself begins and ends.
const LEFT: f64 = 70.0;
const RIGHT: f64 = 660.0;
const TOP: f64 = 70.0;
const BOTTOM: f64 = 440.0;
/// Quantiles that have a line and a label.
const MARKS: [(f64, &str); 5] = [(0.0, "0"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %"), (0.5, "50 %")];
/// The last quantile, as the power of ten of what is beyond it.
const DECADES: f64 = 3.0;
const POINTS: usize = 90;
/// Told apart by the colour-blind as well (Okabe and Ito), with dashes for those beyond eight.
const COLOURS: [&str; 8] =
    ["#000000", "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7"];

/// The chart.
pub(super) fn chart(what: &str, outcomes: &[&Outcome]) -> String {
    let scale = Scale::of(outcomes);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
    );
    title(&mut out, what);
    scale.axes(&mut out);
    for (number, outcome) in outcomes.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        let dash = if number < COLOURS.len() { "" } else { " stroke-dasharray=\"6 3\"" };
        let points: Vec<_> = (0..=POINTS)
            .map(|point| {
                let beyond = point as f64 / POINTS as f64 * DECADES;
                let quantile = 1.0 - 10f64.powf(-beyond);
                format!("{:.1},{:.1}", x(quantile), scale.y(outcome.quantile_ms(quantile)))
            })
            .collect();
        // Policies that do alike lie on top of each other: what is below shows on both sides of what is above.
        let width = 1.5 + 0.8 * (outcomes.len() - 1 - number) as f64;
        line(
            &mut out,
            format_args!(
                "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width:.1}\"{dash} points=\"{}\"/>",
                points.join(" ")
            ),
        );
        let y = TOP + 18.0 * number as f64;
        line(
            &mut out,
            format_args!(
                "<line x1=\"{}\" x2=\"{}\" y1=\"{y}\" y2=\"{y}\" stroke=\"{colour}\" stroke-width=\"3\"{dash}/>\
             <text x=\"{}\" y=\"{}\">{}</text>",
                RIGHT + 15.0,
                RIGHT + 40.0,
                RIGHT + 46.0,
                y + 4.0,
                outcome.policy.word()
            ),
        );
    }
    out += "</svg>\n";
    out
}

/// Writing to a String cannot fail.
fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = writeln!(out, "{text}");
}

/// What was simulated, in lines that fit.
fn title(out: &mut String, what: &str) {
    let escaped = what.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let lines = escaped.split("; ").flat_map(wrapped);
    for (number, text) in lines.enumerate() {
        line(out, format_args!("<text x=\"{LEFT}\" y=\"{}\">{text}</text>", 18 + 16 * number));
    }
}

/// A sentence in two where it is too long for the chart, parted at a comma.
fn wrapped(text: &str) -> impl Iterator<Item = &str> {
    /// Letters that are certain to fit.
    const FITS: usize = 110;
    let comma = text.match_indices(", ").map(|(place, _)| place).take_while(|place| *place < FITS).last();
    let (first, rest) = match comma.filter(|_| text.len() > FITS) {
        Some(place) => (&text[..=place], Some(text[place + 1..].trim_start())),
        None => (text, None),
    };
    std::iter::once(first).chain(rest)
}

/// A time in as few letters as it takes.
fn time(millis: f64) -> String {
    match millis {
        1e6.. => format!("{:.0} s", millis / 1e3),
        1e3.. => format!("{} s", millis / 1e3),
        1.0.. => format!("{millis} ms"),
        _ => format!("{} µs", (millis * 1e3).round()),
    }
}

/// Where a quantile is drawn.
fn x(quantile: f64) -> f64 {
    let beyond = -(1.0 - quantile).log10();
    LEFT + beyond / DECADES * (RIGHT - LEFT)
}

/// From milliseconds to places.
struct Scale {
    /// Powers of ten.
    from: f64,
    to: f64,
}

impl Scale {
    fn of(outcomes: &[&Outcome]) -> Self {
        let least = outcomes.iter().map(|outcome| outcome.quantile_ms(0.1)).fold(f64::INFINITY, f64::min);
        let most = outcomes.iter().map(|outcome| outcome.quantile_ms(0.999)).fold(0.1, f64::max);
        let from = least.clamp(0.01, most).log10().floor();
        Self { from, to: most.log10().ceil().max(from + 1.0) }
    }

    fn y(&self, millis: f64) -> f64 {
        let part = (millis.max(1e-9).log10() - self.from) / (self.to - self.from);
        BOTTOM - part.clamp(0.0, 1.0) * (BOTTOM - TOP)
    }

    fn axes(&self, out: &mut String) {
        for (quantile, name) in MARKS {
            let x = x(quantile);
            line(
                out,
                format_args!(
                    "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{BOTTOM}\" stroke=\"#ddd\"/>\
                 <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{name}</text>",
                    BOTTOM + 18.0
                ),
            );
        }
        let mut power = self.from;
        while power <= self.to {
            let millis = 10f64.powf(power);
            let y = self.y(millis);
            line(
                out,
                format_args!(
                    "<line x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                    LEFT - 6.0,
                    y + 4.0,
                    time(millis)
                ),
            );
            power += 1.0;
        }
        line(
            out,
            format_args!(
                "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">part of the answers that took no longer</text>",
                f64::midpoint(LEFT, RIGHT),
                BOTTOM + 38.0
            ),
        );
    }
}
