//! From the file's routes to the control plane's: names become indices, tables are read.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use controlplane::routing::{RouteTable, Schedule, TableKind};
use controlplane::settings::{self as control, RouteTo, TrunkId};

use super::diagnostic::Diagnostic;
use super::file::{Choice, File, Route};
use super::names::Names;
use super::section::Located;
use super::tables::Tables;

/// The routes, in the file's order. `directory`: where the paths of tables start.
pub(crate) fn resolve(
    file: &File,
    directory: &Path,
    trunks: &Names<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<control::Route> {
    let schedule_names = Names::collect(
        "[[schedule]]",
        file.schedules.iter().map(|schedule| schedule.name.as_ref()),
        diagnostics,
    );
    Names::collect(
        "[[route]]",
        file.routes.iter().map(|route| route.name.as_ref()),
        diagnostics,
    );
    let schedules: Vec<_> = file.schedules.iter().map(schedule).collect();
    let by_name: HashMap<&str, TrunkId> = trunks
        .indices()
        .map(|(name, index)| (name, TrunkId(index)))
        .collect();
    let mut tables = Tables::new(directory, &by_name);
    let mut routes = Vec::with_capacity(file.routes.len());
    for route in &file.routes {
        let when = schedule_names.find_optional(route.when.as_ref(), diagnostics);
        let when = when.and_then(|index| schedules.get(usize::from(index)).cloned());
        routes.push(control::Route {
            name: route
                .name
                .as_ref()
                .map(|name| name.value.clone())
                .unwrap_or_default(),
            from: trunks
                .find_optional(route.from.as_ref(), diagnostics)
                .map(TrunkId),
            user: route.user.clone(),
            when: when.flatten(),
            to: destination(route, trunks, &mut tables, diagnostics),
        });
    }
    routes
}

fn schedule(schedule: &super::file::Schedule) -> Option<Arc<Schedule>> {
    fn values<T: Copy>(list: &[Located<T>]) -> Vec<T> {
        list.iter().map(|located| located.value).collect()
    }
    Some(Arc::new(Schedule {
        name: schedule.name.as_ref()?.value.clone(),
        zone: schedule.zone.as_ref()?.value.clone(),
        days: values(&schedule.days),
        hours: values(&schedule.hours),
        dates: values(&schedule.dates),
        except: values(&schedule.except),
    }))
}

fn destination(
    route: &Route,
    trunks: &Names<'_>,
    tables: &mut Tables<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> RouteTo {
    let files = [
        (TableKind::Prefixes, &route.prefixes),
        (TableKind::Rates, &route.rates),
    ];
    for (kind, path) in files {
        if let Some(path) = path
            && let Some(table) = tables.load(kind, path, diagnostics)
        {
            return RouteTo::Table(table);
        }
    }
    let names: Vec<_> = route
        .to
        .iter()
        .filter_map(|choice| choice.trunk.clone())
        .collect();
    let found = trunks.find_all(&names, diagnostics);
    let weight = |choice: &Choice| {
        let weight = choice.weight.as_ref()?.value;
        u16::try_from(weight).ok()
    };
    let choices = found
        .into_iter()
        .zip(&route.to)
        .map(|(index, choice)| control::Choice {
            trunk: TrunkId(index),
            weight: weight(choice),
        });
    RouteTo::Trunks(choices.collect())
}

/// What the tables hold and occupy, for the operator; empty when there are none.
pub(crate) fn spell_tables(control: &control::Settings) -> String {
    let mut tables: Vec<&Arc<RouteTable>> = Vec::new();
    for route in &control.routes {
        if let RouteTo::Table(table) = &route.to
            && !tables.iter().any(|known| Arc::ptr_eq(known, table))
        {
            tables.push(table);
        }
    }
    if tables.is_empty() {
        return String::new();
    }
    let prefixes: usize = tables.iter().map(|table| table.len()).sum();
    let memory: usize = tables.iter().map(|table| table.memory()).sum();
    format!(
        " with {prefixes} prefixes in {} tables of {} kB",
        tables.len(),
        memory.div_ceil(1024)
    )
}
