use proptest::prelude::*;

use super::*;
use crate::id::RequestId;

fn joined<'a>(lines: impl IntoIterator<Item = &'a str>) -> Vec<Record> {
    let mut joiner = Joiner::default();
    let mut records: Vec<_> = lines
        .into_iter()
        .filter_map(|line| joiner.push(line.as_bytes(), Candidates::default(), &"date"))
        .collect();
    records.extend(joiner.end());
    records
}

/// How many lines each record of `text` has.
fn shape(text: &str) -> Vec<u64> {
    joined(text.lines()).iter().map(|record| record.lines).collect()
}

fn who(id: &str) -> Candidates {
    let mut who = Candidates::default();
    who.add(RequestId::sanitised(id.as_bytes()));
    who
}

#[test]
fn lines_that_nothing_ties_together_stay_apart() {
    assert_eq!(shape("GET /\nGET /a\n\n{\"a\":1}\n}\n#1 fan\n... more\ndone (ok)"), [1; 8]);
}

#[test]
fn what_is_indented_belongs_to_the_line_before() {
    assert_eq!(shape("one\n  two\n\tthree\nfour"), [3, 1]);
    assert_eq!(shape("  nobody before\n  me neither"), [2]);
    assert_eq!(shape("{\n  a: 1,\n  b: [\n    2\n  ]\n}\nnext"), [6, 1]);
}

#[test]
fn a_python_traceback_ends_with_its_exception() {
    let trace = "Traceback (most recent call last):\n  File \"a.py\", line 1, in <module>\n    f()\n    ^^^\n  File \
                 \"a.py\", line 3, in f\n    raise ValueError('x')\nValueError: x";
    assert_eq!(shape(&format!("before\n{trace}\nafter\nlater")), [1, 7, 1, 1]);
    for reason in [
        "During handling of the above exception, another exception occurred:",
        "The above exception was the direct cause of the following exception:",
    ] {
        assert_eq!(shape(&format!("{trace}\n\n{reason}\n\n{trace}\nafter")), [17, 1], "{reason}");
    }
    assert_eq!(shape(&format!("{trace}\n\nafter")), [8, 1], "the blank line is not lost");
}

#[test]
fn a_trace_that_is_under_way_is_worth_a_longer_wait() {
    let mut joiner = Joiner::default();
    let mut after = |line: &str| {
        joiner.push(line.as_bytes(), Candidates::default(), &"date");
        joiner.is_in_trace()
    };
    assert!(!after("GET /") && after("Traceback (most recent call last):") && after("  File \"a.py\""));
    assert!(after("ValueError: x") && !after("GET /"));
    assert!(!Joiner::default().is_in_trace());
}

#[test]
fn a_java_trace_has_causes() {
    let trace = "Exception in thread \"main\" java.lang.IllegalStateException: outer\n\tat A.a(A.java:1)\n\tat \
                 A.main(A.java:2)\nCaused by: java.io.IOException: inner\n\tat A.b(A.java:3)\n\t... 2 more\n... 3 more";
    assert_eq!(shape(&format!("before\n{trace}\nafter")), [1, 7, 1]);
}

#[test]
fn a_go_panic_has_goroutines() {
    let trace = "panic: boom [recovered]\n\tpanic: boom\n[signal SIGSEGV: segmentation violation code=0x1]\n\n\
                 goroutine 1 [running]:\nmain.(*T).f(0xc00001, {0x1, 0x2})\n\t/a.go:5 +0x1d\npanic({0x1, 0x2})\n\t\
                 /usr/lib/go/panic.go:1 +0x2\nmain.main()\n\t/a.go:9 +0x20\ncreated by main.g in goroutine \
                 7\n\t/a.go:10\n\ngoroutine 2 [select, 3 minutes]:\nruntime.goexit()\n\t/asm.s:1";
    assert_eq!(shape(&format!("{trace}\nexit status 2")), [17, 1]);
    let served = "2024/01/01 10:00:00 http: panic serving 127.0.0.1:1: boom\ngoroutine 5 [running]:\nnet/http.f()\n\t\
                  /x.go:1";
    assert_eq!(shape(&format!("{served}\nlistening (again)")), [4, 1]);
}

#[test]
fn php_node_ruby_net_and_rust_print_traces_of_their_own() {
    for trace in [
        "PHP Fatal error:  Uncaught Exception: x in /a.php:3\nStack trace:\n#0 /a.php(5): f()\n#1 {main}\n\nNext \
         RuntimeException: y in /a.php:4\nStack trace:\n#0 {main}\n  thrown in /a.php on line 3",
        "/app/server.js:3\n    throw new TypeError('x');\n    ^\n\nTypeError [ERR_X]: x\n    at f (/app/a.js:3:9) {\n  \
         code: 'ERR_X'\n}",
        "  File \"a.py\", line 1\n    f(\n     ^\nSyntaxError: '(' was never closed",
        "a.rb:1:in 'f': x (RuntimeError)\n\tfrom a.rb:3:in '<main>'",
        "Unhandled exception. System.Exception: x\n ---> System.Exception: y\n   at A.B() in /a.cs:line 1\n--- End of \
         stack trace from previous location ---\n   at A.Main()",
        "thread 'main' panicked at src/main.rs:2:5:\nboom\nnote: run with `RUST_BACKTRACE=1` environment variable",
        "thread 'main' panicked at src/main.rs:2:5:\nboom\nstack backtrace:\n   0: main\n             at ./a.rs:1:2",
    ] {
        let lines = trace.lines().count() as u64;
        assert_eq!(shape(&format!("{trace}\nafter")), [lines, 1], "{trace}");
    }
}

#[test]
fn no_line_behind_the_first_can_forge_a_date_or_a_marker() {
    let marker = "FC Invoke End RequestId: 1";
    let trace = format!("Traceback (most recent call last):\n  File\n{marker}\n");
    let records = joined(trace.lines());
    assert_eq!(records.len(), 1);
    assert!(String::from_utf8(records[0].text.clone()).unwrap().ends_with(&format!("\n {marker}")));
    for dated in ["2026-01-01 x", "  2026-01-01", "\u{a0}é2026-01-01", "\t\t2026-01-01T00:00"] {
        assert_eq!(shape(&format!("one\n  two\n{dated}")), [2, 1], "{dated:?}");
    }
    assert_eq!(shape("one\n   2026-01-01 is not at the start\n  26-01-01"), [3]);
}

#[test]
fn lines_of_different_requests_are_never_joined() {
    let mut joiner = Joiner::default();
    assert_eq!(joiner.push(b"one", who("a"), &1), None);
    assert_eq!(joiner.push(b"  of a", who("a"), &2), None);
    let record = joiner.push(b"  of b", who("b"), &3).unwrap();
    assert_eq!((record.date.as_str(), record.lines, record.who), ("1", 2, who("a")));
    let mut both = who("b");
    both.merge(&who("a"));
    assert_eq!(joiner.push(b"  of either", both.clone(), &4), None);
    assert_eq!(joiner.end().unwrap().who, both);
}

#[test]
fn a_record_that_would_be_too_long_goes_on_with_a_date_of_its_own() {
    let line = format!("  {}", "x".repeat(9_998));
    let records = joined(["first"].into_iter().chain([line.as_str(); 7]).chain(["}", "last"]));
    assert_eq!(records.iter().map(|record| record.lines).collect::<Vec<_>>(), [4, 3, 2, 1]);
    assert!(records.iter().all(|record| record.text.len() <= PIECE_BYTES));
}

proptest! {
    #[test]
    fn no_line_is_lost_or_moved_whatever_is_joined(
        lines in proptest::collection::vec(
            prop_oneof![
                "[ -~]{0,30}", "  [ -~]{0,30}", Just(String::new()), Just("    ^".to_owned()),
                Just("Traceback (most recent call last):".to_owned()), Just("Error: x".to_owned()),
                Just("During handling of the above exception, another exception occurred:".to_owned()),
                Just("panic: x".to_owned()), Just("goroutine 1 [running]:".to_owned()), Just("main.main()".to_owned()),
                Just("Stack trace:".to_owned()), Just("#0 {main}".to_owned()), Just("}".to_owned()),
                Just("x".repeat(20_000)), Just("2026-01-01".to_owned()),
            ],
            0..40,
        ),
    ) {
        let records = joined(lines.iter().map(String::as_str));
        let mut found = Vec::new();
        for record in &records {
            prop_assert!(record.text.len() <= PIECE_BYTES);
            let text = String::from_utf8(record.text.clone()).unwrap();
            let of_record: Vec<_> = text.split('\n').map(str::to_owned).collect();
            prop_assert_eq!(of_record.len() as u64, record.lines);
            for line in &of_record[1..] {
                prop_assert!(line.is_empty() || line.starts_with([' ', '\t']));
                prop_assert!(!is_dated(line.as_bytes()));
            }
            found.extend(of_record);
        }
        prop_assert_eq!(found.len(), lines.len());
        for (found, line) in found.iter().zip(&lines) {
            prop_assert!(found == line || found.strip_prefix(' ') == Some(line));
        }
    }
}
