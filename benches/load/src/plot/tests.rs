//! Every sheet is well-formed XML, says its figures, and can be drawn of nothing and of one point.

use super::*;

/// The texts of a sheet, which must be a well-formed document with an `svg` at its root.
fn texts(svg: &str) -> Vec<String> {
    let document = roxmltree::Document::parse(svg).expect("well-formed XML");
    assert_eq!(document.root_element().tag_name().name(), "svg");
    let texts = document
        .descendants()
        .filter(|node| node.has_tag_name("text"));
    let text = |node: roxmltree::Node<'_, '_>| {
        let inside = node.descendants().filter(|node| node.is_text());
        inside
            .filter_map(|node| node.text())
            .collect::<String>()
            .trim()
            .to_owned()
    };
    texts.map(text).collect()
}

/// Every coordinate lies on the sheet.
fn on_the_sheet(svg: &str) {
    let document = roxmltree::Document::parse(svg).expect("well-formed XML");
    let number = |node: &roxmltree::Node<'_, '_>, name: &str| {
        node.attribute(name)
            .and_then(|text| text.parse::<f64>().ok())
    };
    let root = document.root_element();
    let wide = number(&root, "width").expect("a width");
    let tall = number(&root, "height").expect("a height");
    for node in document.descendants() {
        for (x, y) in [("x", "y"), ("cx", "cy"), ("x1", "y1"), ("x2", "y2")] {
            if let (Some(x), Some(y)) = (number(&node, x), number(&node, y)) {
                let inside = (0.0..=wide).contains(&x) && (0.0..=tall).contains(&y);
                assert!(inside, "{x} {y} of {wide} {tall}: {node:?}");
            }
        }
    }
}

fn heading() -> Heading {
    Heading {
        title: "1,000 streams <both ways> & \"more\"\u{1}".to_owned(),
        notes: vec!["AMD EPYC, 2 cores, Linux 6.18; a0 veth copy".to_owned()],
    }
}

fn point(rate: f64, loss: f64) -> rates::Point {
    rates::Point {
        rate,
        loss,
        passed: loss == 0.0,
        latency: Some([rate / 20.0, rate / 10.0, rate / 4.0, rate * 3.0]),
    }
}

fn trials() -> Vec<rates::Point> {
    vec![
        point(100_000.0, 0.0),
        point(600_000.0, 0.31),
        point(350_000.0, 0.0),
        point(475_000.0, 0.000_04),
        point(412_000.0, 0.0),
        point(444_000.0, 0.000_002),
    ]
}

#[test]
fn rates_show_the_trials_and_the_rate_found() {
    let svg = rates::draw(&rates::Rates {
        heading: heading(),
        points: trials(),
        ndr: Some(412_000.0),
    })
    .expect("a sheet");
    on_the_sheet(&svg);
    let texts = texts(&svg);
    for wanted in [
        "1,000 streams <both ways> & \"more\"",
        "AMD EPYC, 2 cores, Linux 6.18; a0 veth copy",
        "zero loss up to 412 kpps",
        "400 k",
        "0.1 %",
        "p99.9",
        "passed",
        "failed",
    ] {
        assert!(
            texts.iter().any(|text| text == wanted),
            "{wanted}: {texts:?}"
        );
    }
    // A dot for each trial and for each of its four latencies, each of a ground and a rim.
    assert_eq!(svg.matches("<circle").count(), 6 * 5 * 2);
    assert!(
        svg.contains("#208554") && svg.contains("#C42B32"),
        "both colours"
    );
}

#[test]
fn rates_of_nothing_and_of_one() {
    let nothing = rates::draw(&rates::Rates::default()).expect("a sheet");
    assert_eq!(
        texts(&nothing)
            .iter()
            .filter(|text| *text == "no data")
            .count(),
        2
    );
    for only in [
        point(0.0, 0.0),
        point(1.0, 1.0),
        point(f64::NAN, 0.0),
        point(f64::INFINITY, f64::NAN),
        rates::Point {
            latency: None,
            ..point(5.0, 1.0)
        },
        rates::Point {
            latency: Some([f64::NAN; 4]),
            ..point(5.0, 0.5)
        },
    ] {
        let svg = rates::draw(&rates::Rates {
            points: vec![only],
            ndr: Some(f64::NAN),
            ..Default::default()
        });
        let svg = svg.expect("a sheet");
        texts(&svg);
        on_the_sheet(&svg);
    }
}

fn bar(name: &str, median: f64, ours: bool) -> comparison::Bar {
    comparison::Bar {
        name: name.to_owned(),
        min: median * 0.94,
        median,
        max: median * 1.03,
        ours,
        remark: if ours {
            String::new()
        } else {
            "4.1 x".to_owned()
        },
    }
}

fn relays() -> comparison::Comparison {
    let panel = |name: &str, quantity, scale, factor: f64| comparison::Panel {
        name: name.to_owned(),
        quantity,
        scale,
        bars: vec![
            bar("tandem", 520_000.0 * factor, true),
            bar("rtpengine, user space", 126_000.0 * factor, false),
            bar("socket relay", 221_000.0 * factor, false),
            bar("nftables", 640_000.0 * factor, false),
            bar("XDP rewrite and redirect", 1_480_000.0 * factor, false),
        ],
    };
    comparison::Comparison {
        heading: heading(),
        panels: vec![
            panel(
                "zero-loss rate, packets a second",
                Quantity::Rate,
                Scale::Linear,
                1.0,
            ),
            panel(
                "p99 latency at half of it",
                Quantity::Nanos,
                Scale::Log,
                0.3,
            ),
        ],
    }
}

#[test]
fn comparisons_show_every_relay_with_its_spread() {
    let svg = comparison::draw(&relays()).expect("a sheet");
    on_the_sheet(&svg);
    let texts = texts(&svg);
    for wanted in [
        "tandem",
        "socket relay",
        "520 k (489 k to 536 k)",
        "126 k (118 k to 130 k), 4.1 x",
        "156.0 us (146.6 us to 160.7 us)",
        "zero-loss rate, packets a second",
    ] {
        assert!(
            texts.iter().any(|text| text == wanted),
            "{wanted}: {texts:?}"
        );
    }
}

#[test]
fn comparisons_of_nothing_and_of_one() {
    let nothing = comparison::draw(&comparison::Comparison::default()).expect("a sheet");
    assert!(texts(&nothing).contains(&"no data".to_owned()));
    for scale in [Scale::Linear, Scale::Log] {
        for median in [0.0, 3.0, -1.0, f64::NAN, f64::INFINITY] {
            let panel = comparison::Panel {
                name: "one".to_owned(),
                quantity: Quantity::Ratio,
                scale,
                bars: vec![bar(&"a long name ".repeat(12), median, true)],
            };
            let empty = comparison::Panel {
                bars: vec![],
                ..panel.clone()
            };
            let sheet = comparison::Comparison {
                panels: vec![panel, empty],
                ..Default::default()
            };
            let svg = comparison::draw(&sheet).expect("a sheet");
            texts(&svg);
        }
    }
}

fn overload() -> curves::Curves {
    let line = |name: &str, peak: f64, collapse: f64| curves::Line {
        name: name.to_owned(),
        points: (1..=10)
            .map(|step| f64::from(step) * 100_000.0)
            .map(|x| (x, x.min(peak - (x - peak).max(0.0) * collapse)))
            .rev()
            .collect(),
    };
    curves::Curves {
        heading: heading(),
        bottom: "packets a second offered".to_owned(),
        quantity: Quantity::Rate,
        scale: Scale::Linear,
        panels: vec![curves::Panel {
            name: "packets a second delivered".to_owned(),
            quantity: Quantity::Rate,
            scale: Scale::Linear,
            lines: vec![
                line("tandem", 520_000.0, 0.02),
                line("rtpengine, user space", 126_000.0, 0.05),
                line("socket relay", 221_000.0, 0.1),
            ],
        }],
    }
}

#[test]
fn curves_show_every_line_and_nothing() {
    let mut curves = overload();
    let svg = curves::draw(&curves).expect("a sheet");
    on_the_sheet(&svg);
    let found = texts(&svg);
    for wanted in [
        "tandem",
        "socket relay",
        "packets a second offered",
        "500 k",
    ] {
        assert!(
            found.iter().any(|text| text == wanted),
            "{wanted}: {found:?}"
        );
    }
    let strokes = svg.split("<polyline").skip(1);
    let thick = strokes.filter(|stroke| stroke.contains(r#"stroke-width="2""#));
    assert_eq!(thick.count(), 3);
    for points in [
        vec![],
        vec![(1.0, 1.0)],
        vec![(f64::NAN, 1.0), (0.0, f64::INFINITY)],
    ] {
        curves.panels[0].lines = vec![curves::Line {
            name: "one".to_owned(),
            points,
        }];
        on_the_sheet(&curves::draw(&curves).expect("a sheet"));
    }
    curves.panels.clear();
    texts(&curves::draw(&curves).expect("a sheet"));
}

fn load() -> calls::Calls {
    let second = |at: u32| {
        let rate = [100.0, 200.0, 400.0][(at as usize / 20).min(2)];
        let at = f64::from(at);
        calls::Second {
            at,
            started: rate - (at * 1.7).sin() * 3.0,
            ended: if at < 5.0 { 0.0 } else { rate * 0.98 },
            failed: if at > 45.0 { 17.0 } else { 0.0 },
            asked: rate,
            up: rate * 5.0,
        }
    };
    let point = |rate: f64| calls::Point {
        rate,
        failed: if rate > 300.0 { 0.043 } else { 0.0 },
        delay: Some([rate * 4e3, rate * 7e3, rate * 2e4, rate * 9e4]),
    };
    calls::Calls {
        heading: heading(),
        seconds: (0..60).map(second).collect(),
        points: [400.0, 100.0, 200.0].map(point).to_vec(),
    }
}

#[test]
fn calls_show_the_pace_and_the_delay_by_rate() {
    let svg = calls::draw(&load()).expect("a sheet");
    on_the_sheet(&svg);
    let several = texts(&svg);
    for wanted in [
        "started",
        "failed",
        "asked for",
        "calls up",
        "post-dial delay",
        "p99",
        "4.3 % failed",
    ] {
        assert!(
            several.iter().any(|text| text == wanted),
            "{wanted}: {several:?}"
        );
    }
    let mut one = load();
    one.points.truncate(1);
    let svg = calls::draw(&one).expect("a sheet");
    on_the_sheet(&svg);
    assert!(!texts(&svg).contains(&"post-dial delay".to_owned()));
}

#[test]
fn calls_of_nothing_and_of_one() {
    let nothing = calls::draw(&calls::Calls::default()).expect("a sheet");
    assert_eq!(
        texts(&nothing)
            .iter()
            .filter(|text| *text == "no data")
            .count(),
        2
    );
    let mut one = load();
    one.seconds.truncate(1);
    one.points = vec![
        calls::Point {
            rate: f64::NAN,
            failed: 0.0,
            delay: None
        };
        2
    ];
    on_the_sheet(&calls::draw(&one).expect("a sheet"));
    one.points = vec![
        calls::Point {
            rate: 5.0,
            failed: 1.0,
            delay: None
        };
        2
    ];
    on_the_sheet(&calls::draw(&one).expect("a sheet"));
}

/// `SHEETS=DIRECTORY cargo test -p tandem-load sheets` leaves the sheets of these tests there, to be looked at.
#[test]
fn sheets_can_be_looked_at() {
    let Some(directory) = std::env::var_os("SHEETS") else {
        return;
    };
    let directory = std::path::PathBuf::from(directory);
    let rates = rates::Rates {
        heading: Heading {
            title: "tandem-load rtp: 1,000 streams both ways, 172-byte payload (214-byte frames), IPv4 RTP".to_owned(),
            notes: vec![
                "AMD EPYC, 2 cores, Linux 6.18.44; a0 veth copy mode, b0 veth copy mode; load on core 0".to_owned(),
            ],
        },
        points: trials(),
        ndr: Some(412_000.0),
    };
    let drawn = [
        ("rates", rates::draw(&rates)),
        ("rates-empty", rates::draw(&rates::Rates::default())),
        ("comparison", comparison::draw(&relays())),
        ("curves", curves::draw(&overload())),
        ("calls", calls::draw(&load())),
    ];
    for (name, svg) in drawn {
        let file = directory.join(format!("{name}.svg"));
        std::fs::write(file, svg.expect("a sheet")).expect("a file");
    }
}
