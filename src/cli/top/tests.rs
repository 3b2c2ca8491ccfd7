//! The screen, drawn into memory: what it shows at which size, what keys do, and what a refresh costs.

use std::time::Duration;

use ratatui_core::backend::{Backend, TestBackend};
use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;
use ratatui_core::style::{Color, Modifier};
use ratatui_core::terminal::Terminal;
use ratatui_crossterm::CrosstermBackend;
use ratatui_crossterm::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::draw::draw;
use super::sample::{STARTED, snapshot};
use super::screen::{Link, Screen, Step};
use super::tables::{View, table};

const SECOND: u64 = 1_000_000_000;

/// A screen that shows the second from 100 to 101 of the sample.
fn screen() -> Screen {
    let mut screen = Screen::new(Duration::from_secs(1));
    screen.answer(Ok(snapshot(100 * SECOND, 100)));
    screen.answer(Ok(snapshot(101 * SECOND, 101)));
    screen
}

fn press(screen: &mut Screen, code: KeyCode) -> Option<Step> {
    screen.key(KeyEvent::new(code, KeyModifiers::NONE))
}

fn drawn(screen: &Screen, width: u16, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("memory");
    terminal
        .draw(|frame| draw(screen, frame.area(), frame.buffer_mut()))
        .expect("memory");
    terminal.backend().buffer().clone()
}

fn text(buffer: &Buffer) -> String {
    let area = buffer.area();
    let line = |y| {
        let cells = (0..area.width).filter_map(|x| buffer.cell((x, y)));
        let line: String = cells.map(|cell| cell.symbol()).collect();
        format!("{}\n", line.trim_end())
    };
    (0..area.height).map(line).collect()
}

#[test]
fn eighty_by_twenty_four_shows_the_essential() {
    assert_eq!(
        text(&drawn(&screen(), 80, 24)),
        "\
tandem 0.1.0 running, up 1m 41s, process 4711                           every 1s
 1 Overview   2 Workers   3 Queues   4 Devices   5 Drops

calls        100 of 10000 calls up, 400 flows
in        40.0 k packets/s   68.5 M bit/s
out       40.0 k packets/s   68.5 M bit/s
lost/s        10 by workers       0 at rings
stayed    1.5 us p50        40.0 us p99        40.0 us max
calls/s        3 offered          2 answered         1 failed           2 ended

WORKER  CORE  STATE  BUSY  RX PPS  TX PPS  RX BIT/S  DROPS/S       P50       P99
0       1     runs    25%  20.0 k  20.0 k    34.2 M        5    1.5 us   40.0 us
1       2     runs    25%  20.0 k  20.0 k    34.2 M        5    1.5 us   40.0 us

REASON                    COUNTED BY     DROPS/S  THIS INTERVAL  SINCE START
wrong_source              worker              10             10        1,010

DEVICE    MODE       RX PPS  TX PPS  RX BIT/S  TX BIT/S  DROPS/S  TO KERNEL/S
in0       copy       20.0 k  20.0 k    34.2 M    34.2 M        0            3
out0      copy       20.0 k  20.0 k    34.2 M    34.2 M        0            3



q quit  p pause  ←→ view  ↑↓ scroll  s sort  ? help
"
    );
}

#[test]
fn a_wide_terminal_shows_every_column() {
    let mut screen = screen();
    press(&mut screen, KeyCode::Char('2'));
    let text = text(&drawn(&screen, 200, 10));
    assert!(text.contains(
        "\
WORKER  CORE  STATE  BUSY  IDLE  ASLEEP  RX PPS  TX PPS  RX BIT/S  TX BIT/S  DROPS/S       P50       P99       MAX"
    ), "{text}");
    for column in ["RX RING", "FREE FRAMES", "FLOWS", "BATCH"] {
        assert!(text.contains(column), "{column}:\n{text}");
    }
    press(&mut screen, KeyCode::Char('3'));
    let text = super::tests::text(&drawn(&screen, 200, 10));
    for column in ["RX RING", "RX MOST", "FILL RING", "TX RING", "FILL EMPTY/S"] {
        assert!(text.contains(column), "{column}:\n{text}");
    }
    assert!(
        text.contains("12/2048      300  4090/4096     0/2048"),
        "{text}"
    );
}

#[test]
fn a_narrow_one_leaves_out_what_matters_least() {
    let shown = text(&drawn(&screen(), 44, 12));
    let titles = shown.lines().find(|line| line.starts_with("WORKER"));
    assert_eq!(titles, Some("WORKER  BUSY  RX PPS  TX PPS  DROPS/S"));
    let mut screen = screen();
    press(&mut screen, KeyCode::Char('3'));
    let shown = text(&drawn(&screen, 44, 12));
    let titles = shown.lines().find(|line| line.starts_with("DEVICE"));
    assert_eq!(titles, Some("DEVICE    QUEUE  RX PPS  TX PPS  DROPS/S"));
}

#[test]
fn any_size_is_survived() {
    let mut screen = screen();
    for key in "12345?".chars() {
        press(&mut screen, KeyCode::Char(key));
        for width in 0..90 {
            for height in 0..30 {
                let area = Rect::new(0, 0, width, height);
                draw(&screen, area, &mut Buffer::empty(area));
            }
        }
    }
}

#[test]
fn five_lines_show_what_goes_in_and_out() {
    assert_eq!(
        text(&drawn(&screen(), 40, 5)),
        "\
tandem 0.1.0 running, up 1m 41  every 1s
calls        100 of 10000 calls up, 400
in        40.0 k packets/s   68.5 M bit/
out       40.0 k packets/s   68.5 M bit/
lost/s        10 by workers       0 at r
"
    );
}

#[test]
fn until_there_are_two_answers_it_says_so() {
    let mut screen = Screen::new(Duration::from_secs(5));
    let first = text(&drawn(&screen, 80, 10));
    assert!(first.starts_with("tandem asking ..."), "{first}");
    screen.answer(Ok(snapshot(100 * SECOND, 100)));
    let second = text(&drawn(&screen, 80, 10));
    assert!(
        second.contains("measuring the first interval ..."),
        "{second}"
    );
}

#[test]
fn a_tandem_that_is_gone_is_said_over_the_last_picture_and_one_that_is_back_is_measured_anew() {
    let mut screen = screen();
    screen.answer(Err("no tandem is running".to_owned()));
    let lost = drawn(&screen, 80, 24);
    assert!(text(&lost).starts_with("not reachable: no tandem is running\n"));
    assert_eq!(lost.cell((0, 0)).map(|cell| cell.fg), Some(Color::Red));
    // The old figures are still there, and dim.
    let old = lost.cell((10, 4)).expect("it is on the screen");
    assert_eq!(old.symbol(), "4");
    assert!(old.modifier.contains(Modifier::DIM));
    // Another process: its counters have nothing to do with those before.
    let mut first = snapshot(SECOND, 1);
    let mut second = snapshot(2 * SECOND, 3);
    for again in [&mut first, &mut second] {
        again.status.taken.started_unix_ms = STARTED + 5_000;
        again.workers.taken.started_unix_ms = STARTED + 5_000;
    }
    screen.answer(Ok(first));
    assert_eq!(screen.link, Link::Measuring);
    screen.answer(Ok(second));
    assert_eq!(screen.link, Link::Up);
    let back = text(&drawn(&screen, 80, 24));
    assert!(back.contains("in        80.0 k packets/s"), "{back}");
}

#[test]
fn a_restart_between_two_answers_makes_no_picture() {
    let mut screen = screen();
    let before = screen.picture.clone();
    let mut after = snapshot(SECOND, 1);
    after.status.taken.started_unix_ms += 5_000;
    after.workers.taken.started_unix_ms += 5_000;
    screen.answer(Ok(after));
    assert_eq!(screen.link, Link::Measuring);
    assert_eq!(screen.picture, before);
    let shown = text(&drawn(&screen, 80, 24));
    let header = shown.lines().next().unwrap_or_default();
    assert!(header.ends_with("started again: measuring"), "{header}");
}

#[test]
fn a_paused_screen_keeps_its_picture_and_goes_on_with_the_newest() {
    let mut screen = screen();
    press(&mut screen, KeyCode::Char('p'));
    screen.answer(Ok(snapshot(102 * SECOND, 112)));
    let paused = text(&drawn(&screen, 80, 24));
    assert!(paused.contains(" PAUSED"), "{paused}");
    assert!(paused.contains("40.0 k packets/s"), "{paused}");
    press(&mut screen, KeyCode::Char('p'));
    screen.answer(Ok(snapshot(103 * SECOND, 114)));
    let on = text(&drawn(&screen, 80, 24));
    assert!(on.contains("80.0 k packets/s"), "{on}");
}

#[test]
fn keys_lead_through_the_views_and_out() {
    let mut screen = screen();
    let mut seen = Vec::new();
    for _ in View::ALL {
        assert_eq!(press(&mut screen, KeyCode::Tab), Some(Step::Draw));
        seen.push(screen.view.name());
    }
    assert_eq!(seen, ["Workers", "Queues", "Devices", "Drops", "Overview"]);
    press(&mut screen, KeyCode::Left);
    assert_eq!(screen.view, View::Drops);
    press(&mut screen, KeyCode::Char('4'));
    assert_eq!(screen.view, View::Devices);
    press(&mut screen, KeyCode::Char('?'));
    let help = text(&drawn(&screen, 80, 24));
    assert!(help.contains("q, Ctrl-C            quit"), "{help}");
    assert!(
        help.contains("Any key closes this."),
        "80x24 has room: {help}"
    );
    press(&mut screen, KeyCode::Esc);
    assert!(!screen.help);
    assert_eq!(press(&mut screen, KeyCode::F(7)), None);
    assert_eq!(press(&mut screen, KeyCode::Char('q')), Some(Step::Quit));
    let control = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(screen.key(control), Some(Step::Quit));
}

#[test]
fn s_sorts_by_each_column_of_numbers_in_turn() {
    let mut screen = Screen::new(Duration::from_secs(1));
    screen.answer(Ok(snapshot(100 * SECOND, 100)));
    let mut after = snapshot(101 * SECOND, 101);
    after.workers.workers[1].busy_ns += 5 * SECOND;
    screen.answer(Ok(after));
    press(&mut screen, KeyCode::Char('2'));
    let first = |screen: &Screen| {
        let shown = text(&drawn(screen, 80, 24));
        let titles = shown.lines().position(|line| line.starts_with("WORKER"));
        let row = titles.and_then(|titles| shown.lines().nth(titles + 1));
        row.and_then(|row| row.chars().next())
    };
    assert_eq!(first(&screen), Some('0'));
    press(&mut screen, KeyCode::Char('s'));
    assert_eq!(first(&screen), Some('1'), "the busiest first");
    // Every other column, and back to the order of the workers.
    let picture = screen.picture.clone().expect("two answers");
    let columns = table(View::Workers, &picture).sortable().len();
    for _ in 0..columns {
        assert!(screen.sort().is_some());
        press(&mut screen, KeyCode::Char('s'));
    }
    assert_eq!(screen.sort(), None);
    assert_eq!(first(&screen), Some('0'));
}

#[test]
fn more_rows_than_lines_are_scrolled_to_the_last_and_not_beyond() {
    let mut screen = screen();
    press(&mut screen, KeyCode::Char('3'));
    // Header, views, titles, keys: four of eight lines are left, one of them for what is not shown.
    let shown = |screen: &Screen| text(&drawn(screen, 80, 6));
    assert!(
        shown(&screen).contains("in0       0 "),
        "{}",
        shown(&screen)
    );
    assert!(shown(&screen).contains("... 2 more"), "{}", shown(&screen));
    press(&mut screen, KeyCode::End);
    assert!(
        shown(&screen).contains("out0      1 "),
        "{}",
        shown(&screen)
    );
    assert!(!shown(&screen).contains("more"), "{}", shown(&screen));
    press(&mut screen, KeyCode::Home);
    assert!(
        shown(&screen).contains("in0       0 "),
        "{}",
        shown(&screen)
    );
}

#[test]
fn a_refresh_costs_what_has_changed() {
    let mut screen = screen();
    let sent = |before: &Buffer, after: &Buffer| {
        let mut bytes = Vec::new();
        let mut backend = CrosstermBackend::new(&mut bytes);
        backend.draw(before.diff_iter(after)).expect("memory");
        bytes.len()
    };
    let nothing = Buffer::empty(Rect::new(0, 0, 80, 24));
    let first = drawn(&screen, 80, 24);
    let whole = sent(&nothing, &first);
    // Every rate and every time is another one.
    screen.answer(Ok(snapshot(102 * SECOND + 123_456_789, 103)));
    let second = drawn(&screen, 80, 24);
    let refresh = sent(&first, &second);
    assert!(whole > 1_000, "{whole}");
    assert!(refresh < 600, "{refresh} of {whole} bytes");
    // What goes on as it was costs nothing but the end of a refresh.
    assert!(sent(&second, &second) < 20);
}
