//! How well the load itself kept to its schedule: without that, latency from the moment due says nothing.

use crate::report::table::{Field, Table};
use crate::study::figures::period;
use crate::study::{Load, Study};

/// A row for each run; `None` without any.
pub(crate) fn table(study: &Study) -> Option<Table> {
    let rows: Vec<_> = study.loads.iter().map(row).collect();
    let header = ["subject", "class", "rate", "connections", "late p50", "late p99", "waited", "waited p99"];
    (!rows.is_empty()).then(|| Table {
        title: "The load itself".into(),
        note:
            "Late: how long behind its moment a request left the schedule. Waited: requests that found every \
               connection taken. Both are part of latency."
                .into(),
        header: header.map(str::to_owned).into(),
        rows,
    })
}

fn row(load: &Load) -> Vec<Field> {
    let generator = &load.generator;
    let said = |us: Option<f64>| us.map_or_else(Field::none, |us| Field::new(period(us)));
    vec![
        Field::new(&load.subject),
        Field::new(load.class.name()),
        Field::new(format!("{:.0}/s", load.rate)),
        Field::new(generator.connections.to_string()),
        said(generator.late.at(0.5)),
        said(generator.late.at(0.99)),
        Field::new(generator.waited.count.to_string()),
        said(generator.waited.at(0.99)),
    ]
}
