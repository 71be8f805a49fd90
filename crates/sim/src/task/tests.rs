//! A task notices what a TCP does wrong.

use super::*;
use crate::plan::Reading;
use crore_base::Duration;

/// A TCP that does what the test says.
#[derive(Default)]
struct Script {
    reads: Vec<Got>,
    room: usize,
    written: Vec<u8>,
    calls: Vec<&'static str>,
}

impl Verbs for Script {
    fn write(&mut self, data: &[u8], _zero_copy: bool) -> Option<usize> {
        let n = data.len().min(self.room);
        self.room -= n;
        self.written.extend(&data[..n]);
        Some(n)
    }

    fn read(&mut self) -> Got {
        if self.reads.is_empty() {
            Got::Nothing
        } else {
            self.reads.remove(0)
        }
    }

    fn shutdown_write(&mut self) {
        self.calls.push("shutdown");
    }

    fn close(&mut self) {
        self.calls.push("close");
    }

    fn abort(&mut self) {
        self.calls.push("abort");
    }
}

fn bytes(pattern: Pattern, from: u64, len: usize) -> Got {
    let mut bytes = vec![0; len];
    pattern.fill(from, &mut bytes);
    Got::Data(Chunk::copy_from(&bytes))
}

fn patterns() -> [Pattern; 2] {
    [true, false].map(|left| Pattern::new(1, 0, left))
}

fn open_task(plan: EndPlan, expects: u64) -> Task {
    let [out, inc] = patterns();
    let mut task = Task::new("task".to_owned(), plan, &EndPlan::plain(expects), out, inc);
    task.on_opened(Instant::ZERO).expect("opened once");
    task.on_readable().expect("open");
    task
}

fn pump(task: &mut Task, script: &mut Script) -> Result<bool, String> {
    task.pump(Instant::ZERO, script)
}

#[test]
fn a_regular_end_is_shut_down_read_to_the_end_and_given_back() {
    let [_, inc] = patterns();
    let plan = EndPlan {
        finish: Finish::Shutdown { awaits_end: false },
        ..EndPlan::plain(100)
    };
    let mut task = open_task(plan, 50);
    let mut script = Script {
        reads: vec![bytes(inc, 0, 20), bytes(inc, 20, 30)],
        room: 60,
        ..Script::default()
    };
    assert_eq!(pump(&mut task, &mut script), Ok(true), "something was done");
    assert_eq!(script.written.len(), 60, "as far as there was room");
    script.room = 1000;
    assert_eq!(
        pump(&mut task, &mut script),
        Ok(false),
        "nobody said that there is room"
    );
    task.on_writable().expect("open");
    script.reads.push(Got::Eof);
    task.on_readable().expect("open");
    assert_eq!(pump(&mut task, &mut script), Ok(true), "the rest");
    assert_eq!(script.calls, ["shutdown", "close"], "in order");
    assert_eq!(task.end(), Some(TaskEnd::GaveBack), "by its own will");
    assert!(task.is_complete(), "with all that it expected");
}

#[test]
fn what_a_tcp_does_wrong_is_noticed() {
    let [out, inc] = patterns();
    let cases: [(&str, Vec<Got>); 5] = [
        ("is 0x", vec![bytes(inc, 1, 20)]),
        ("is 0x", vec![bytes(out, 0, 20)]),
        ("more came", vec![bytes(inc, 0, 51)]),
        ("ended early", vec![bytes(inc, 0, 49), Got::Eof]),
        ("no bytes and no reason", vec![Got::Data(Chunk::empty())]),
    ];
    for (expected, reads) in cases {
        let mut task = open_task(EndPlan::plain(0), 50);
        let mut script = Script {
            reads,
            ..Script::default()
        };
        let error = pump(&mut task, &mut script).expect_err(expected);
        assert!(error.contains(expected), "{error} instead of {expected}");
    }
}

#[test]
fn events_out_of_turn_are_noticed() {
    let [out, inc] = patterns();
    let mut task = Task::new("task".to_owned(), EndPlan::plain(0), &EndPlan::plain(0), out, inc);
    assert!(task.on_readable().is_err(), "readable before it is open");
    assert!(task.on_opened(Instant::ZERO).is_ok(), "opened");
    assert!(task.on_opened(Instant::ZERO).is_err(), "twice");
    assert!(task.on_closed(CloseReason::Finished).is_ok(), "closed");
    assert!(task.on_writable().is_err(), "writable after the end");
    assert!(task.on_closed(CloseReason::Finished).is_err(), "closed twice");
}

#[test]
fn a_slow_reader_takes_its_time() {
    let [_, inc] = patterns();
    let plan = EndPlan {
        reading: Reading {
            starts_after: Duration::from_millis(5),
            every: Duration::from_millis(2),
        },
        ..EndPlan::plain(0)
    };
    let mut task = open_task(plan, 50);
    let mut script = Script {
        reads: vec![bytes(inc, 0, 20), bytes(inc, 20, 30)],
        ..Script::default()
    };
    let mut times = Vec::new();
    while !task.is_complete() {
        let next = task.next_wakeup().expect("it wants to read");
        task.pump(next, &mut script).expect("all is right");
        times.push(next.as_millis());
    }
    assert_eq!(times, [5, 7], "as planned");
}
