//! Runs cases: the plainest first, then those of the program's own step, then
//! those of the steps before. In each group it first runs the cases that no
//! clock judges, beside each other, and then the others, a few of which wait at
//! the same time. It repeats a case that a busy machine may have spoilt, and
//! then with few others beside it, or none.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::case::Case;
use crate::cases;
use crate::diagnosis::show::time;
use crate::harness::lab::{CASE, Lab, Setup, Target, any_port};
use crate::harness::machine::{Machine, Room};
use crate::harness::peer::FULL;
use crate::os;
use crate::program::running::{Program, Template};
use crate::program::start::{self, Trouble};
use crate::traits::{Side, Tag};
use crate::verdict::{Failure, Stop, Verdict};

/// A timed case is excused when something was later than this, any other one
/// when it was later than that. With 40 ms for all, real failures were excused.
const LATE_TIMED: Duration = Duration::from_millis(40);
const LATE: Duration = Duration::from_millis(800);
const LATE_SURE: Duration = Duration::from_secs(2);

/// How many timed cases run beside each other: they mostly wait.
const WAITING: usize = 8;

/// How often we try a case on a machine that is late.
const TRIES: usize = 5;

/// The verdict on one case.
pub struct Result {
    pub case: &'static Case,
    pub verdict: Verdict,
}

/// How to run.
pub struct Plan {
    pub cases: Vec<&'static Case>,
    pub jobs: usize,
    pub keep_going: bool,
}

/// Runs the cases of a plan and says each result, in the plan's order. Stops
/// at the first failure, unless told to keep going.
pub fn run(
    setup: &Setup,
    plan: &Plan,
    mut say: impl FnMut(&Result),
) -> Vec<Result> {
    let mut results: Vec<Option<Result>> = Vec::new();
    results.resize_with(plan.cases.len(), || None);
    let mut said = 0;
    for (indexes, jobs) in groups(setup, plan) {
        let stop = &AtomicUsize::new(usize::MAX);
        let limit = first_failure(&results).filter(|_| !plan.keep_going);
        stop.store(limit.unwrap_or(usize::MAX), Ordering::Relaxed);
        let mut take = |i: usize, result: Result| {
            let is_failure = matches!(result.verdict, Verdict::Fail(_));
            if is_failure && !plan.keep_going {
                stop.fetch_min(i, Ordering::Relaxed);
            }
            results[i] = Some(result);
            while let Some(Some(result)) = results.get(said) {
                if said <= stop.load(Ordering::Relaxed) {
                    say(result);
                }
                said += 1;
            }
        };
        spread(setup, plan, &indexes, jobs, stop, &mut take);
    }
    let end = first_failure(&results).filter(|_| !plan.keep_going);
    results.truncate(end.map_or(usize::MAX, |end| end + 1));
    results.into_iter().flatten().collect()
}

/// The indexes of cases that run together, and in how many threads.
fn groups(setup: &Setup, plan: &Plan) -> Vec<(Vec<usize>, usize)> {
    let nearness = |i: usize| match plan.cases[i] {
        case if Some(case.id) == setup.basic => 0,
        case if case.rule_step() == setup.step => 1,
        _ => 2,
    };
    let near =
        |wanted| (0..plan.cases.len()).filter(move |&i| nearness(i) == wanted);
    let groups = (0..=2).flat_map(|wanted| {
        let (timed, untimed) =
            near(wanted).partition(|&i| plan.cases[i].has(Tag::Timed));
        let waiting = if plan.jobs > 1 { WAITING } else { 1 };
        [(untimed, plan.jobs), (timed, waiting)]
    });
    groups.collect()
}

fn first_failure(results: &[Option<Result>]) -> Option<usize> {
    let is_failure = |result: &Option<Result>| {
        matches!(result, Some(Result { verdict: Verdict::Fail(_), .. }))
    };
    results.iter().position(is_failure)
}

/// Runs these cases in `jobs` threads, up to the index where to stop.
fn spread(
    setup: &Setup,
    plan: &Plan,
    indexes: &[usize],
    jobs: usize,
    stop: &AtomicUsize,
    take: &mut impl FnMut(usize, Result),
) {
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, indexes.len().max(1)) {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(&i) = indexes.get(at) else { return };
                    if i > stop.load(Ordering::Relaxed) {
                        continue;
                    }
                    let case = plan.cases[i];
                    let verdict = judge(setup, case);
                    let _ = sender.send((i, Result { case, verdict }));
                }
            });
        }
        drop(sender);
        for (i, result) in receiver {
            take(i, result);
        }
    });
}

/// Runs one case. A server that does not answer the plainest message explains
/// why it does not answer any other, and so does a client that does not send
/// it. If that is not known yet, it is tried.
pub fn judge(setup: &Setup, case: &'static Case) -> Verdict {
    let mut verdict = judge_alone(setup, case);
    let Some(basic) = setup.basic.and_then(cases::find) else { return verdict };
    if basic.id == case.id {
        setup.is_mute.get_or_init(|| is_silent(&verdict));
        return verdict;
    }
    let Verdict::Fail(failure) = &mut verdict else { return verdict };
    let is_mute = || is_silent(&judge_alone(setup, basic));
    if failure.is_silence() && *setup.is_mute.get_or_init(is_mute) {
        let what = match case.side() {
            Side::Server => "Your server does not answer",
            Side::Client => "Your client does not send",
        };
        failure.meaning = format!(
            "{what} the plainest message either, so repair {} first.",
            basic.id
        );
        failure.look = format!("what check says about {}", basic.id);
    }
    verdict
}

fn is_silent(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Fail(failure) if failure.is_silence())
}

/// Runs one case; again if the machine was late and there is time for it, and
/// then with more room.
fn judge_alone(setup: &Setup, case: &'static Case) -> Verdict {
    if let Some(why) = cannot_run(setup, case) {
        return Verdict::Skip(why);
    }
    let Machine { turn, processes, .. } = &setup.machine;
    let mut why =
        "this machine is too busy to tell; try again when it is not".to_owned();
    let mut left = CASE;
    for n in 0..TRIES {
        let ((tried, took), was_crowded) = turn.with(room(case, n), || {
            let start = Instant::now();
            (try_once(setup, case, left), start.elapsed())
        });
        processes.wait_if_over();
        match tried {
            (Verdict::Unknown(reason), _) => why = reason,
            (verdict, Trust::Full) => return verdict,
            (verdict, Trust::IfAlone) if !was_crowded => return verdict,
            // A machine that is late among few cases is late for others.
            (Verdict::Pass, Trust::IfAlone) if n > 0 => return Verdict::Pass,
            _ => {}
        }
        // What a crowd took of the time is not the program's fault.
        if !was_crowded {
            left = left.saturating_sub(took);
        }
        if left < took {
            break;
        }
    }
    Verdict::Unknown(why)
}

/// The room that a case has when it is tried for the nth time, from 0.
fn room(case: &Case, n: usize) -> Room {
    match n + usize::from(case.has(Tag::Heavy)) {
        0 => Room::Little,
        1 => Room::Much,
        _ => Room::All,
    }
}

/// Why a case cannot be tried here.
pub fn cannot_run(setup: &Setup, case: &Case) -> Option<String> {
    match &setup.target {
        _ if case.has(Tag::Linux) && !os::IS_LINUX => {
            Some("needs Linux".into())
        }
        Target::Address(_) if case.has(Tag::Starts) => {
            Some("needs to start the program: --cmd".into())
        }
        Target::Command(template)
            if case.has(Tag::Places) && !template.has_addr() =>
        {
            Some("needs {addr} in the command".into())
        }
        Target::Command(template)
            if case.has(Tag::Journal) && !template.has_journal() =>
        {
            Some("needs {journal} in the command".into())
        }
        _ => None,
    }
}

/// How far a verdict is believed.
enum Trust {
    Full,
    /// Nothing was wrong but the time, or a late machine may have hidden what
    /// was: what came too early, or a slice that was merged with the next. It
    /// is believed only if no other case added to the lateness.
    IfAlone,
    /// A late machine excuses the failure.
    None,
}

/// The verdict, and how far it is believed.
fn try_once(
    setup: &Setup,
    case: &'static Case,
    left: Duration,
) -> (Verdict, Trust) {
    let lab = Lab::new(setup, case.traits(), left);
    let is_server = case.side() == Side::Server;
    let done = (case.script)(&lab).and_then(|()| match is_server {
        true => lab.lives_on(),
        false => Ok(()),
    });
    let verdict = match done.map_err(|stop| *stop) {
        Err(Stop::Fail(failure)) => return failed(&lab, failure),
        Err(Stop::Skip(why)) => Verdict::Skip(why),
        Err(Stop::Unknown(why)) => Verdict::Unknown(why),
        Ok(()) => match lab.warning() {
            None => Verdict::Pass,
            Some(mut failure) => {
                lab.complete(&mut failure);
                Verdict::Warn(failure)
            }
        },
    };
    let hides = lab.traits.has(Tag::Timed) || lab.traits.has(Tag::Slices);
    match hides && lab.lateness() > LATE_TIMED {
        true => (verdict, Trust::IfAlone),
        false => (verdict, Trust::Full),
    }
}

/// A failure, and whether it is believed.
fn failed(lab: &Lab, mut failure: Failure) -> (Verdict, Trust) {
    let late = lab.lateness();
    lab.complete(&mut failure);
    if failure.by_time && lab.is_cut() {
        // What a late machine took of the time is not the program's fault.
        let is_excused = lab.limit < CASE || lab.was_held_up();
        let trust = if is_excused { Trust::None } else { Trust::IfAlone };
        return (took_too_long(lab, failure), trust);
    }
    let is_timed = lab.traits.has(Tag::Timed);
    let is_late = match failure.by_time {
        _ if failure.is_sure => late > LATE_SURE,
        true if lab.traits.has(Tag::Heavy) && lab.was_held_up() => true,
        true if !is_timed => late > LATE,
        _ => is_timed && late > LATE_TIMED,
    };
    let is_excused = is_late && !lab.is_own_fault();
    (Verdict::Fail(failure), trust(is_excused))
}

fn trust(is_excused: bool) -> Trust {
    if is_excused { Trust::None } else { Trust::Full }
}

/// The program had done nothing wrong when the time of the case was over.
fn took_too_long(lab: &Lab, failure: Failure) -> Verdict {
    let all = time(CASE);
    let mut failure = failure.of(
        format!("all of it within {all}"),
        "the time limit has passed, with nothing wrong until then",
    );
    failure.sent.clear();
    if lab.had_to_knock.get() {
        let actual = "when the limit passed, clients still waited to get in";
        failure.actual = vec![actual.into()];
        failure.meaning = FULL.meaning.into();
        failure.look = FULL.look.into();
        return Verdict::Fail(failure);
    }
    let side = lab.traits.side.name();
    failure.meaning = format!(
        "Your {side} is slow, because others need a small part of these {all}, \
         and this machine was not too busy."
    );
    failure.look =
        "what your program does for each client or message: does it pause, \
         wait for a time, or take one byte after another?"
            .into();
    Verdict::Warn(failure)
}

/// Starts a server before any case: what goes wrong here goes wrong in each
/// of them. Returns whether two that ask for any free port get two.
///
/// # Errors
/// It did not come up.
pub fn probe(template: &Template) -> std::result::Result<bool, Trouble> {
    let (first, addr) = probe_one(template)?;
    start::knock(&first, addr)?;
    Ok(probe_one(template).is_ok_and(|(_, other)| other != addr))
}

/// Can a client be started at all? What it does is left to the cases.
///
/// # Errors
/// There is no such program, or it may not be run.
pub fn probe_client(template: &Template) -> std::result::Result<(), Trouble> {
    let started = template.start(any_port(), &["hi".to_owned()], &[], None);
    started.map(drop).map_err(|error| vec![format!("{error:#}.")])
}

fn probe_one(
    template: &Template,
) -> std::result::Result<(Program, SocketAddr), Trouble> {
    let mut program = template
        .start(any_port(), &[], &[], None)
        .map_err(|error| vec![format!("{error:#}.")])?;
    let addr = start::wait_ready(&mut program)?;
    start::stays(&mut program)?;
    Ok((program, addr))
}
