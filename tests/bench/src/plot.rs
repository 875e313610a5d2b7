//! Pictures of the results, as SVG.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use crate::report::{Report, Row};

const SIZE: (u32, u32) = (720, 420);

/// A line of a picture: its name, and its points.
type Line = (String, Vec<(f64, f64)>);

/// Draws throughput over keys and latency over load into a folder, as far as they were measured.
pub fn draw(report: &Report, folder: &Path) -> Result<()> {
    let keys = ["limit", "heddle fresh", "heddle reuse"]
        .map(|name| (name.to_owned(), points(report, |row| row.group == "keys" && row.name == name)));
    let picture = Picture {
        file: &folder.join("throughput.svg"),
        title: "events per second over keys",
        x: "keys",
        y: "events/s",
        logarithmic: true,
    };
    picture.draw(&keys)?;
    let loads = report.rows.iter().filter(|row| row.p50_ms.is_some());
    let of = |value: fn(&Row) -> Option<f64>| {
        let point = |row: &Row| Some((row.load? * 100.0, value(row)?));
        loads.clone().filter_map(point).collect::<Vec<_>>()
    };
    let lines = [("p50".to_owned(), of(|row| row.p50_ms)), ("p99".to_owned(), of(|row| row.p99_ms))];
    let picture = Picture {
        file: &folder.join("latency.svg"),
        title: "latency over load",
        x: "% of the throughput",
        y: "ms",
        logarithmic: false,
    };
    picture.draw(&lines)
}

fn points(report: &Report, wanted: impl Fn(&Row) -> bool) -> Vec<(f64, f64)> {
    let rows = report.rows.iter().filter(|row| wanted(row));
    rows.map(|row| (row.keys as f64, row.events_per_s)).collect()
}

struct Picture<'a> {
    file: &'a Path,
    title: &'a str,
    x: &'a str,
    y: &'a str,
    logarithmic: bool,
}

impl Picture<'_> {
    fn draw(&self, lines: &[Line]) -> Result<()> {
        let all = || lines.iter().flat_map(|(_, points)| points);
        if all().next().is_none() {
            return Ok(());
        }
        let highest = all().map(|(_, y)| *y).fold(0.0, f64::max) * 1.1;
        let (low, high) = all().fold((f64::MAX, 0.0_f64), |(low, high), (x, _)| (low.min(*x), high.max(*x)));
        // On a logarithmic axis what is drawn is the exponent.
        let place = |x: f64| if self.logarithmic { x.log10() } else { x };
        let area = SVGBackend::new(self.file, SIZE).into_drawing_area();
        let failed = |error: String| anyhow!("failed to draw `{}`: {error}", self.file.display());
        area.fill(&WHITE).map_err(|error| failed(error.to_string()))?;
        let mut chart = ChartBuilder::on(&area)
            .caption(self.title, ("sans-serif", 20))
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(70)
            .build_cartesian_2d(place(low)..place(high), 0.0..highest)
            .map_err(|error| failed(error.to_string()))?;
        let label = |x: &f64| format!("{:.0}", if self.logarithmic { 10_f64.powf(*x) } else { *x });
        chart
            .configure_mesh()
            .x_desc(self.x)
            .y_desc(self.y)
            .x_labels(6)
            .x_label_formatter(&label)
            .draw()
            .map_err(|error| failed(error.to_string()))?;
        for (index, (name, points)) in lines.iter().enumerate() {
            let colour = Palette99::pick(index).to_rgba();
            let points: Vec<(f64, f64)> = points.iter().map(|(x, y)| (place(*x), *y)).collect();
            chart
                .draw_series(LineSeries::new(points, colour.stroke_width(2)).point_size(4))
                .map_err(|error| failed(error.to_string()))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        }
        chart
            .configure_series_labels()
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK)
            .draw()
            .map_err(|error| failed(error.to_string()))?;
        area.present().map_err(|error| failed(error.to_string()))
    }
}
