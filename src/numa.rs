//! The machine's NUMA nodes as tandem lies on them, for `tandem status`, and what is wrong with that. Pure: a
//! report in, views out.

use std::collections::BTreeMap;

use dataplane::report::{DeviceReport, Report, WorkerReport};

use crate::admin::views::{Numa, NumaNode};

/// The nodes, those that nobody knows last, and a sentence for each thing that crosses between them.
pub(crate) fn numa(report: &Report) -> Numa {
    // `None` sorts before every node, so the nodes are kept the other way round.
    let mut nodes: BTreeMap<(bool, Option<u32>), NumaNode> = BTreeMap::new();
    let mut at = |node: Option<u32>, add: &dyn Fn(&mut NumaNode)| {
        let empty = || NumaNode {
            node,
            ..NumaNode::default()
        };
        add(nodes.entry((node.is_none(), node)).or_insert_with(empty));
    };
    for device in &report.devices {
        at(device.numa_node, &|node| {
            node.devices.push(device.name.clone())
        });
    }
    for worker in &report.workers {
        let number = worker.worker.0;
        at(worker.numa.core, &|node| node.cores_of.push(number));
        for known in or_unknown(&worker.numa.umem) {
            at(known, &|node| node.umem_of.push(number));
        }
        for known in or_unknown(&worker.numa.tables) {
            at(known, &|node| node.tables_of.push(number));
        }
    }
    let crossings = report.workers.iter().flat_map(|worker| {
        let memory = strayed(worker, "frames", &worker.numa.umem)
            .into_iter()
            .chain(strayed(worker, "tables", &worker.numa.tables));
        let devices = report.devices.iter();
        devices
            .filter_map(|device| far(worker, device))
            .chain(memory)
            .collect::<Vec<_>>()
    });
    Numa {
        warnings: crossings.collect(),
        nodes: nodes.into_values().collect(),
    }
}

fn or_unknown(nodes: &[u32]) -> Vec<Option<u32>> {
    match nodes {
        [] => vec![None],
        known => known.iter().copied().map(Some).collect(),
    }
}

fn far(worker: &WorkerReport, device: &DeviceReport) -> Option<String> {
    let (here, there) = (worker.numa.core?, device.numa_node?);
    (here != there).then(|| {
        format!(
            "{} runs on core {} of NUMA node {here}, and {} is on node {there}: each of its packets crosses between \
             them (give [workers] cores of node {there})",
            worker.worker, worker.core, device.name
        )
    })
}

fn strayed(worker: &WorkerReport, what: &str, nodes: &[u32]) -> Option<String> {
    let here = worker.numa.core?;
    let elsewhere: Vec<_> = nodes.iter().filter(|&&node| node != here).collect();
    let first = elsewhere.first()?;
    Some(format!(
        "{what} of {} lie on NUMA node {first}, and its core {} is on node {here}, which had no memory for them",
        worker.worker, worker.core
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::tests::report;
    use dataplane::report::NumaPlaces;

    fn places(core: u32, umem: &[u32], tables: &[u32]) -> NumaPlaces {
        NumaPlaces {
            core: Some(core),
            umem: umem.into(),
            tables: tables.into(),
        }
    }

    #[test]
    fn what_is_together_is_shown_together_without_a_warning() {
        let mut report = report();
        report.devices[0].numa_node = Some(1);
        for worker in &mut report.workers {
            worker.numa = places(1, &[1], &[1]);
        }
        let view = numa(&report);
        assert_eq!(view.warnings, [""; 0]);
        assert_eq!(view.nodes.len(), 2);
        let one = &view.nodes[0];
        assert_eq!(
            (one.node, one.devices.as_slice()),
            (Some(1), &["in0".to_owned()][..])
        );
        assert_eq!(
            (&one.cores_of, &one.umem_of, &one.tables_of),
            (&vec![0, 1], &vec![0, 1], &vec![0, 1])
        );
        let unknown = &view.nodes[1];
        assert_eq!(
            (unknown.node, unknown.devices.as_slice()),
            (None, &["out0".to_owned()][..])
        );
        assert!(unknown.cores_of.is_empty());
    }

    #[test]
    fn everything_that_crosses_between_nodes_is_said() {
        let mut report = report();
        report.devices[0].numa_node = Some(0);
        report.devices[1].numa_node = Some(1);
        report.workers[0].numa = places(0, &[0], &[0, 1]);
        report.workers[1].numa = places(1, &[0], &[]);
        let view = numa(&report);
        let starts = [
            "worker 0 runs on core 1 of NUMA node 0, and out0 is on node 1: ",
            "tables of worker 0 lie on NUMA node 1, and its core 1 is on node 0",
            "worker 1 runs on core 2 of NUMA node 1, and in0 is on node 0: ",
            "frames of worker 1 lie on NUMA node 0, and its core 2 is on node 1",
        ];
        assert_eq!(view.warnings.len(), starts.len(), "{:?}", view.warnings);
        for (warning, start) in view.warnings.iter().zip(starts) {
            assert!(warning.starts_with(start), "{warning}");
        }
        assert_eq!(view.nodes[1].tables_of, [0]);
        assert_eq!(view.nodes[2].tables_of, [1], "the kernel does not say");
    }
}
