//! The teacher's guide cannot drift from the book: its plans are sums of the
//! minutes that the pages give, what it shows live is what a transcript shows,
//! and each question, exercise and solution has all its parts.
//!
//! Each rule is tried on the book, and on a page that breaks it.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;

use regex::Regex;
use support::{ROOT, snapshot};

/// Name without `.md` → text.
type Pages = BTreeMap<String, String>;

fn pages() -> Pages {
    let mut pages = Pages::new();
    for entry in fs::read_dir(format!("{ROOT}/book/src")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        pages.insert(name, fs::read_to_string(path).unwrap());
    }
    pages
}

/// Title without its number, page, and whether it is a chapter (and not a page
/// below one), in the order of the contents.
fn contents(pages: &Pages) -> Vec<(String, String, bool)> {
    let entry = Regex::new(r"(?m)^( *)- \[(?:\d+ )?(.+)\]\((.+)\.md\)$");
    let entries = entry.unwrap();
    let entries = entries.captures_iter(&pages["SUMMARY"]);
    let found = |c: regex::Captures| {
        (c[2].to_owned(), c[3].to_owned(), c[1].is_empty())
    };
    entries.map(found).collect()
}

fn chapters(pages: &Pages) -> Vec<String> {
    let chapters = contents(pages).into_iter().filter(|entry| entry.2);
    chapters.map(|entry| entry.1).collect()
}

/// The part of a page from the heading with this id to the next one of the
/// same level.
fn section<'a>(text: &'a str, id: &str) -> &'a str {
    let Some(at) = text.find(&format!("{{#{id}}}")) else { return "" };
    let rest = &text[at..];
    &rest[..rest.find("\n## ").unwrap_or(rest.len())]
}

#[track_caller]
fn assert_fine(problems: Vec<String>) {
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[track_caller]
fn assert_found(problems: Vec<String>, what: &str) {
    let is_found = problems.iter().any(|problem| problem.contains(what));
    assert!(is_found, "nobody noticed: {what}; only {problems:?}");
}

// ---- Minutes and plans

/// What a class does with a page.
const WAYS: [&str; 4] = ["read", "show", "do", "discuss"];

/// The minutes of a page, from its first line:
/// `<!-- minutes: read 25, show 15, do 35, discuss 10 -->`.
fn minutes(name: &str, text: &str) -> Result<[u32; 4], String> {
    let first = text.lines().next().unwrap_or_default();
    let given = first
        .strip_prefix("<!-- minutes: ")
        .and_then(|rest| rest.strip_suffix(" -->"))
        .ok_or(format!("{name} does not start with its minutes"))?;
    let parts: Vec<&str> = given.split(", ").collect();
    let mut minutes = [0; 4];
    for (i, way) in WAYS.iter().enumerate() {
        let part = parts.get(i).and_then(|part| part.split_once(' '));
        let number = part.filter(|part| part.0 == *way).map(|part| part.1);
        minutes[i] = number
            .and_then(|number| number.parse().ok())
            .ok_or(format!("{name}: how long to {way}? ({given})"))?;
    }
    match parts.len() == WAYS.len() && minutes[0] > 0 {
        true => Ok(minutes),
        false => Err(format!("{name}: {given}")),
    }
}

#[test]
fn every_page_of_the_course_says_how_long_it_takes() {
    let pages = pages();
    for (_, name, is_chapter) in contents(&pages) {
        let minutes = minutes(&name, &pages[&name]).unwrap();
        assert!(!is_chapter || minutes.iter().all(|&m| m > 0), "{name}");
    }
    for wrong in [
        "# A {#a}\n",
        "<!-- minutes: read 5, show 5, do 5 -->\n",
        "<!-- minutes: read 5, do 5, show 5, discuss 5 -->\n",
        "<!-- minutes: read 5, show 5, do 5, discuss some -->\n",
        "<!-- minutes: read 0, show 5, do 5, discuss 5 -->\n",
        "<!-- minutes: read 5, show 5, do 5, discuss 5, sing 5 -->\n",
    ] {
        assert!(minutes("page", wrong).is_err(), "{wrong}");
    }
}

/// A part of a plan: its title, how many minutes it has, and what fills them:
/// a page and what the class does with it, or anything else with its minutes.
#[derive(Clone, Copy)]
struct Block(&'static str, u32, &'static [(&'static str, &'static str)]);

/// How many minutes of a block may stay free for questions.
const SLACK: u32 = 15;

const TALK: &[Block] = &[Block(
    "The talk",
    90,
    &[
        ("introduction", "show"),
        ("server", "show"),
        ("client", "show"),
        ("many-clients", "show"),
        ("preparation", "show"),
        ("frames", "show"),
        ("retry", "show"),
        ("drain", "show"),
    ],
)];

const THREE: &[Block] = &[
    Block(
        "First session: a connection",
        90,
        &[
            ("introduction", "show discuss"),
            ("server", "show discuss do"),
            ("client", "show"),
        ],
    ),
    Block(
        "Second session: messages",
        90,
        &[
            ("many-clients", "show discuss"),
            ("preparation", "show"),
            ("frames", "show discuss do"),
        ],
    ),
    Block(
        "Third session: failure",
        90,
        &[
            ("time-limits", "show discuss"),
            ("retry", "show discuss"),
            ("heartbeat", "show"),
            ("ledger", "show"),
            ("drain", "show discuss"),
        ],
    ),
];

const DAY: &[Block] = &[
    Block(
        "9:00",
        90,
        &[
            ("introduction", "show discuss"),
            ("server", "show discuss do"),
            ("client", "show"),
        ],
    ),
    Block(
        "11:00",
        90,
        &[("client", "do discuss"), ("many-clients", "show do")],
    ),
    Block(
        "13:30",
        90,
        &[
            ("preparation", "show"),
            ("frames", "show discuss do"),
            ("time-limits", "show discuss"),
        ],
    ),
    Block(
        "15:30",
        90,
        &[
            ("retry", "show discuss"),
            ("heartbeat", "show discuss"),
            ("ledger", "show discuss"),
            ("drain", "show discuss"),
        ],
    ),
];

const WEEKS: &[Block] = &[
    Block(
        "Week 1, lecture",
        90,
        &[
            ("introduction", "show discuss"),
            ("preparation", "show discuss"),
            ("server", "show discuss"),
            ("client", "show discuss"),
        ],
    ),
    Block(
        "Week 1, lab",
        90,
        &[("preparation", "do"), ("server", "do"), ("client", "do")],
    ),
    Block(
        "Week 1, at home",
        150,
        &[
            ("introduction", "read do"),
            ("preparation", "read"),
            ("async", "read do"),
            ("server", "read"),
            ("client", "read"),
            ("rust", "read"),
            ("hello", "read"),
        ],
    ),
    Block(
        "Week 2, lecture",
        90,
        &[
            ("many-clients", "show discuss"),
            ("frames", "show discuss"),
            ("testing", "show discuss"),
            ("wan", "show discuss"),
        ],
    ),
    Block("Week 2, lab", 90, &[("many-clients", "do"), ("frames", "do")]),
    Block(
        "Week 2, at home",
        150,
        &[
            ("many-clients", "read"),
            ("frames", "read"),
            ("testing", "read do"),
            ("wan", "read do"),
            ("uses", "read"),
        ],
    ),
    Block(
        "Week 3, lecture",
        90,
        &[
            ("flow", "show discuss"),
            ("proxy", "show discuss"),
            ("time-limits", "show discuss"),
            ("retry", "show discuss"),
            ("heartbeat", "show discuss"),
        ],
    ),
    Block("Week 3, lab", 90, &[("time-limits", "do"), ("retry", "do")]),
    Block(
        "Week 3, at home",
        150,
        &[
            ("flow", "read"),
            ("proxy", "read"),
            ("time-limits", "read"),
            ("retry", "read"),
            ("heartbeat", "read do"),
        ],
    ),
    Block(
        "Week 4, lecture",
        90,
        &[
            ("sim", "show discuss"),
            ("ledger", "show discuss"),
            ("drain", "show discuss"),
            ("performance", "show discuss"),
        ],
    ),
    Block("Week 4, lab", 90, &[("ledger", "do"), ("drain", "do")]),
    Block(
        "Week 4, at home",
        150,
        &[
            ("sim", "read do"),
            ("ledger", "read"),
            ("drain", "read"),
            ("performance", "read do"),
        ],
    ),
    Block(
        "Week 5, lecture",
        90,
        &[
            ("udp", "show discuss"),
            ("tls", "show discuss"),
            ("web", "show discuss"),
            ("chat", "show discuss"),
            ("cluster", "show discuss"),
        ],
    ),
    Block(
        "Week 5, lab",
        90,
        &[("[The interop day](grading.md#interop)", "90")],
    ),
];

/// The rows of a block, with the time at which each starts, and their sum.
fn rows(block: &Block, pages: &Pages) -> Result<(String, u32), String> {
    let contents = contents(pages);
    let (mut rows, mut sum) = (String::new(), 0);
    let mut row = |sum: &mut u32, minutes: u32, what: &str| {
        let (hours, past) = (*sum / 60, *sum % 60);
        let _ = writeln!(rows, "| {hours}:{past:02} | {minutes} | {what} |");
        *sum += minutes;
    };
    for (name, ways) in block.2 {
        if let Ok(minutes) = ways.parse() {
            row(&mut sum, minutes, name);
            continue;
        }
        let page = contents.iter().find(|entry| entry.1 == *name);
        let (title, ..) = page.ok_or(format!("no page {name}"))?;
        let all = minutes(name, &pages[*name])?;
        for way in ways.split(' ') {
            let i = WAYS.iter().position(|w| *w == way);
            let what = format!("{way} [{title}]({name}.md)");
            row(&mut sum, all[i.ok_or(format!("{name}: {way}?"))?], &what);
        }
    }
    Ok((rows, sum))
}

/// A plan as tables, if each block fits its time and fills it.
fn plan(blocks: &[Block], pages: &Pages) -> Result<String, String> {
    let mut text = String::new();
    for block in blocks {
        let Block(title, room, _) = block;
        let (rows, sum) = rows(block, pages)?;
        if sum > *room || sum + SLACK < *room {
            return Err(format!("{title}: {sum} of {room} minutes"));
        }
        let head = "| from | min | what |\n| ---: | ---: | --- |";
        let free = match room - sum {
            0 => String::new(),
            free => format!(", and {free} for questions"),
        };
        text += &format!("**{title}**\n\n{head}\n{rows}");
        text += &format!("| | {sum} | of {room}{free} |\n\n");
    }
    Ok(text.trim_end().to_owned())
}

#[test]
fn each_plan_is_the_sum_of_its_pages() {
    let pages = pages();
    for (name, blocks) in
        [("talk", TALK), ("three", THREE), ("day", DAY), ("weeks", WEEKS)]
    {
        snapshot(&format!("plan-{name}"), &plan(blocks, &pages).unwrap());
    }
}

#[test]
fn a_plan_that_does_not_fit_is_found() {
    let mut pages = pages();
    let text = pages.get_mut("server").unwrap();
    *text = text.replacen("show 15", "show 35", 1);
    let found = plan(TALK, &pages).unwrap_err();
    assert!(found.contains("of 90 minutes"), "{found}");
    *pages.get_mut("server").unwrap() = "# 3 The server\n".to_owned();
    let found = plan(TALK, &pages).unwrap_err();
    assert!(found.contains("does not start with its minutes"), "{found}");
    let short = [Block("short", 90, &[("client", "show")])];
    assert!(plan(&short, &pages).unwrap_err().contains("of 90 minutes"));
}

#[test]
fn the_table_of_minutes_is_the_sum_of_all_pages() {
    let pages = pages();
    let mut text = "| page | read | show | do | discuss |\n".to_owned();
    text += "| --- | ---: | ---: | ---: | ---: |\n";
    let mut sums = [0; 4];
    for (title, name, is_chapter) in contents(&pages) {
        let minutes = minutes(&name, &pages[&name]).unwrap();
        let gap = if is_chapter { "" } else { "… " };
        text += &format!("| {gap}[{title}]({name}.md) |");
        for (sum, minutes) in sums.iter_mut().zip(minutes) {
            *sum += minutes;
            text += &format!(" {minutes} |");
        }
        text.push('\n');
    }
    let hours = sums.map(|sum: u32| (sum + 30) / 60);
    let [read, show, act, discuss] = hours;
    text += &format!("| hours | {read} | {show} | {act} | {discuss} |");
    snapshot("plan-minutes", &text);
}

// ---- Questions

/// A choice: is it the right one, and how many letters has its summary?
type Choice = (bool, usize);

/// The choices of each question of a page, in order.
type Questions = Vec<(String, Vec<Choice>)>;

/// Reads the questions of a page, and says what is wrong with each choice: the
/// right one says why and shows what proves it, each of the others why not.
fn questions(text: &str) -> (Questions, Vec<String>) {
    let choice = Regex::new(
        r#"(?sx)<details\ class="choice(\ right)?"\ name="(\S+)">\n
        <summary>(.+?)</summary>\n\n(.*?)\n</details>\n"#,
    );
    let mut questions = Questions::new();
    let mut problems = Vec::new();
    for found in choice.unwrap().captures_iter(text) {
        let (is_right, question) = (found.get(1).is_some(), &found[2]);
        if questions.last().is_none_or(|last| last.0 != question) {
            questions.push((question.to_owned(), Vec::new()));
        }
        let choice = (is_right, found[3].chars().count());
        questions.last_mut().unwrap().1.push(choice);
        if found[3].contains(['`', '*', '\n']) {
            problems.push(format!("{question}: Markdown in a summary"));
        }
        let body = &found[4];
        let starts = if is_right { "**Yes.** " } else { "**No.** " };
        if !body.starts_with(starts) || body.len() < 60 {
            let due = format!("{starts}and why, in 60 characters");
            problems.push(format!("{question}: {due}: {:?}", &found[3]));
        }
        if is_right && !body.contains("{{#include ") {
            problems.push(format!("{question}: nothing proves it"));
        }
    }
    (questions, problems)
}

/// A chapter has four to six questions, each with three or four choices, one of
/// which is right, and not always in the same place.
fn wrong_questions(name: &str, text: &str) -> Vec<String> {
    let (questions, mut problems) = questions(text);
    let opened = text.matches("<details class=\"choice").count();
    if opened != questions.iter().map(|q| q.1.len()).sum::<usize>() {
        problems.push(format!("{name}: a choice that is no choice"));
    }
    let mut places = BTreeSet::new();
    for (i, (question, choices)) in questions.iter().enumerate() {
        let rights = choices.iter().filter(|choice| choice.0).count();
        places.insert(choices.iter().position(|choice| choice.0));
        if *question != format!("{name}-{}", i + 1) {
            problems.push(format!("{question} is number {}", i + 1));
        }
        if rights != 1 || !(3..=4).contains(&choices.len()) {
            let n = choices.len();
            let due = "needs three or four choices, and one that is right";
            problems.push(format!("{question}: {rights} of {n}; it {due}"));
        }
    }
    if !(4..=6).contains(&questions.len()) || places.len() < 2 {
        let n = questions.len();
        problems.push(format!("{name}: {n} questions, right at {places:?}"));
    }
    problems
}

/// In the book as a whole, neither the place nor the length of a choice tells
/// whether it is the right one: each of three places has a quarter of the right
/// ones at least, and no more than 45 % of them are the shortest.
fn wrong_habits(pages: &Pages) -> Vec<String> {
    let all = pages.values().flat_map(|text| questions(text).0);
    let all: Vec<Vec<Choice>> = all.map(|question| question.1).collect();
    let place = |choices: &&Vec<Choice>| choices.iter().position(|c| c.0);
    let three: Vec<_> = all.iter().filter(|c| c.len() == 3).collect();
    let mut problems = Vec::new();
    for i in 0..3 {
        let here = three.iter().filter(|c| place(c) == Some(i)).count();
        if here * 4 < three.len() {
            let of = three.len();
            problems.push(format!("choice {i} is right {here} of {of} times"));
        }
    }
    let is_shortest = |choices: &&Vec<Choice>| {
        let least = choices.iter().map(|choice| choice.1).min();
        choices.iter().any(|choice| choice.0 && Some(choice.1) == least)
    };
    let shortest = all.iter().filter(is_shortest).count();
    if shortest * 100 > all.len() * 45 {
        let of = all.len();
        problems
            .push(format!("the shortest is right {shortest} of {of} times"));
    }
    problems
}

/// Moves right choices to the front, or lengthens the wrong ones.
fn with_a_habit(pages: &Pages, is_place: bool) -> Pages {
    let wrong = "<details class=\"choice\" ";
    let right = "<details class=\"choice right\" ";
    let first = Regex::new(&format!(
        "(?s)({wrong}.*?</details>\n)({right}.*?</details>\n)"
    ));
    let first = first.unwrap();
    let longer = Regex::new(&format!("({wrong}name=\"\\S+\">\n<summary>)"));
    let longer = longer.unwrap();
    let long = format!("$1{}", "long ".repeat(20));
    let change = |text: &String| match is_place {
        true => first.replace_all(text, "$2$1").into_owned(),
        false => longer.replace_all(text, long.as_str()).into_owned(),
    };
    pages.iter().map(|(name, text)| (name.clone(), change(text))).collect()
}

#[test]
fn neither_place_nor_length_gives_a_right_choice_away() {
    let pages = pages();
    assert_fine(wrong_habits(&pages));
    let found = wrong_habits(&with_a_habit(&pages, true));
    assert_found(found, "choice 2 is right");
    let found = wrong_habits(&with_a_habit(&pages, false));
    assert_found(found, "the shortest is right");
}

#[test]
fn every_chapter_has_questions_with_reasons() {
    let pages = pages();
    for name in chapters(&pages) {
        assert_fine(wrong_questions(&name, &pages[&name]));
        let check = section(&pages[&name], "check-yourself");
        assert!(check.contains("**Question 1.** "), "{name}");
    }
    let text = &pages["server"];
    for (old, new, problem) in [
        ("choice right\" name=\"server-2", "choice\" name=\"server-2", "0 of"),
        ("choice\" name=\"server-3", "choice right\" name=\"server-3", "2 of"),
        ("name=\"server-5", "name=\"server-6", "server-6 is number 5"),
        ("**No.** ", "Hm. ", "and why"),
        ("<summary>At both", "<summary>At `both`", "Markdown in"),
        ("</summary>\n\n**No.**", "</summary>\n**No.**", "is no choice"),
    ] {
        let wrong = text.replacen(old, new, 1);
        assert_ne!(wrong, *text, "{old}");
        assert_found(wrong_questions("server", &wrong), problem);
    }
    let wrong = Regex::new(r"\{\{#include [^}]*\}\}").unwrap();
    let wrong = wrong.replace_all(text, "");
    assert_found(wrong_questions("server", &wrong), "nothing proves it");
}

// ---- Exercises and their solutions

const KINDS: [&str; 3] =
    ["**Break it.** ", "**Build it.** ", "**Measure it.** "];

/// The exercises, or the solutions, of a text, in order: which kind, and all
/// that belongs to it.
fn exercises(text: &str) -> Vec<(&'static str, &str)> {
    let mark = Regex::new(r"(?m)^\*\*(?:Break|Build|Measure) it\.\*\* ");
    let mark = mark.unwrap();
    let mut starts: Vec<usize> =
        mark.find_iter(text).map(|m| m.start()).collect();
    starts.push(text.len());
    let parts = starts.windows(2).map(|ends| &text[ends[0]..ends[1]]);
    let kind =
        |part: &str| *KINDS.iter().find(|k| part.starts_with(**k)).unwrap();
    parts.map(|part| (kind(part), part)).collect()
}

fn wrong_exercises(name: &str, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    for (kind, part) in exercises(section(text, "exercises")) {
        for hint in ["Hint", "Second hint"] {
            let fold = format!("\n<details>\n<summary>{hint}</summary>\n");
            let mut bodies = part.split(&fold).skip(1).map(|rest| {
                rest.split("</details>").next().unwrap_or_default().trim()
            });
            let body = bodies.next().unwrap_or_default();
            if body.is_empty() || bodies.next().is_some() {
                problems.push(format!("{name}: {kind}has no {hint}"));
            }
        }
    }
    problems
}

/// What an exercise is called: `**Break it.** *A cable is pulled.* `.
fn title(part: &str) -> &str {
    let rest = part.split_once("it.** *").unwrap_or_default().1;
    rest.split('*').next().unwrap()
}

/// The solutions of a chapter are of the same kinds as its exercises, have the
/// same titles, and stand in the same order. Each shows a file or an output
/// that a test has made, or says that it is on paper, and its points add up.
fn wrong_solutions(name: &str, chapter: &str, solutions: &str) -> Vec<String> {
    let asked = exercises(section(chapter, "exercises"));
    let solved = exercises(section(solutions, &format!("solutions-{name}")));
    let names = |all: &[(&'static str, &str)]| -> Vec<String> {
        all.iter()
            .map(|(kind, part)| format!("{kind}{}", title(part)))
            .collect()
    };
    let mut problems = Vec::new();
    if names(&asked) != names(&solved) {
        let names = (names(&asked), names(&solved));
        problems.push(format!("{name}: asked, solved: {names:?}"));
    }
    for (kind, part) in solved {
        if title(part).is_empty() {
            problems.push(format!("{name}: {kind}has no title"));
        }
        let is_proved = part.contains("{{#include ../../tests/");
        if !is_proved && !part.contains("(On paper.)") {
            problems.push(format!("{name}: {kind}is not proved"));
        }
        problems.extend(wrong_points(part).map(|p| format!("{name}: {p}")));
    }
    problems
}

/// `**Points.** 4: 1 for this, 3 for that.`
fn wrong_points(solution: &str) -> Option<String> {
    let start: String = solution.chars().take(60).collect();
    let Some(points) = solution.split("\n**Points.** ").nth(1) else {
        return Some(format!("no points for {start:?}"));
    };
    let line = points.lines().next().unwrap();
    let (sum, parts) = line.split_once(": ").unwrap_or_default();
    let part = Regex::new(r"\b(\d+) for ").unwrap();
    let other = Regex::new(r"(?:^|, )\d+ (?:points? )?(.{4})").unwrap();
    if other.captures_iter(parts).any(|part| &part[1] != "for ") {
        return Some(format!("points for nothing in {line:?}"));
    }
    let parts = part.captures_iter(parts).map(|p| p[1].parse::<u32>().unwrap());
    let parts: u32 = parts.sum();
    let is_one = solution.matches("\n**Points.** ").count() == 1;
    let is_right = is_one && sum.parse() == Ok(parts) && parts > 0;
    (!is_right).then(|| format!("{parts} points in {line:?}"))
}

#[test]
fn an_empty_hint_is_found() {
    let text = &pages()["server"];
    let hint = "In which call is the server's program now, and for whom?";
    let wrong = text.replace(hint, "");
    assert_ne!(wrong, *text);
    assert_found(wrong_exercises("server", &wrong), "has no Hint");
}

#[test]
fn every_exercise_has_two_hints_and_a_solution() {
    let pages = pages();
    for (name, text) in &pages {
        if !text.contains("{#exercises}") {
            continue;
        }
        assert_fine(wrong_exercises(name, text));
        assert_fine(wrong_solutions(name, text, &pages["solutions"]));
    }
    for name in chapters(&pages) {
        let found = exercises(section(&pages[&name], "exercises"));
        for kind in KINDS {
            assert!(found.iter().any(|e| e.0 == kind), "{name}: no {kind}");
        }
    }
}

/// An output that two solutions print is the wrong one for one of them.
fn twice(solutions: &str) -> Vec<String> {
    let include = Regex::new(r"snapshots/(exercise-[a-z0-9-]+)\.snap").unwrap();
    let mut seen = BTreeSet::new();
    let all = include.captures_iter(solutions).map(|found| found[1].to_owned());
    all.filter(|name| !seen.insert(name.clone())).collect()
}

/// The exercises that the plans name are there.
fn wrong_titles(guide: &str, pages: &Pages) -> Vec<String> {
    let start = "they do the exercises ";
    let (_, rest) = guide.split_once(start).expect("the labs of the plan");
    let line = rest.lines().next().unwrap().replace("*Frames*", "");
    let named = line.split('*').skip(1).step_by(2);
    let all: String = pages.values().cloned().collect();
    let is_there = |title: &&str| all.contains(&format!("it.** *{title}.* "));
    named.filter(|title| !is_there(title)).map(str::to_owned).collect()
}

#[test]
fn a_solution_that_stands_elsewhere_is_found() {
    let pages = pages();
    let (all, guide) = (&pages["solutions"], &pages["teaching"]);
    assert_fine(twice(all));
    let wrong = all.replace("introduction-refused", "introduction-share");
    assert_found(twice(&wrong), "exercise-introduction-share");
    assert_fine(wrong_titles(guide, &pages));
    let wrong = guide.replace("*A greeter*", "*A greeting*");
    assert_found(wrong_titles(&wrong, &pages), "A greeting");
    let wrong = all.replace("3: 1 for two packets, ", "3: 1 for a, 3 extra, ");
    assert_found(
        wrong_solutions("introduction", &pages["introduction"], &wrong),
        "nothing",
    );
}

#[test]
fn what_an_exercise_or_a_solution_lacks_is_found() {
    let pages = pages();
    let (text, all) = (&pages["server"], &pages["solutions"]);
    let wrong = text.replacen("Second hint", "Hint", 1);
    assert_found(wrong_exercises("server", &wrong), "has no Second hint");
    for (old, new) in [
        ("**Break it.** ", "**Build it.** "),
        ("*One at a time.*", "*A queue for one.*"),
    ] {
        let wrong = text.replacen(old, new, 1);
        assert_found(wrong_solutions("server", &wrong, all), "asked, solved");
    }
    let wrong = all.replace("*A queue for one.* ", "");
    assert_found(wrong_solutions("server", text, &wrong), "has no title");
    let wrong = all.replace("../../tests/", "../../steps/");
    assert_found(wrong_solutions("server", text, &wrong), "is not proved");
    let wrong = all.replacen("**Points.** ", "**Points.** 1", 1);
    let found = pages
        .iter()
        .flat_map(|(name, text)| wrong_solutions(name, text, &wrong));
    assert_found(found.collect(), "points in");
}

// ---- The guide, chapter by chapter

/// What the guide says of each chapter.
const PARTS: [&str; 5] = [
    "**Outcomes.**",
    "**Show.**",
    "**Where they get stuck.**",
    "**What they believe.**",
    "**Skip.**",
];

fn wrong_guide(name: &str, pages: &Pages) -> Vec<String> {
    let part = section(&pages["teaching-chapters"], &format!("guide-{name}"));
    let between = |from: &str, to: &str| {
        let from = part.split(from).nth(1).unwrap_or_default();
        from.split(to).next().unwrap().to_owned()
    };
    let mut problems = Vec::new();
    for mark in PARTS {
        if part.matches(&format!("\n{mark}")).count() != 1 {
            problems.push(format!("no {mark}"));
        }
    }
    if !part.contains(&format!("{{{{#include {name}.md:outcomes}}}}")) {
        problems.push("other outcomes than the chapter's".to_owned());
    }
    problems.extend(wrong_numbers(part, pages));
    let beliefs = between("**What they believe.**", "**Skip.**");
    let rows = beliefs.lines().filter(|line| line.starts_with("| ")).skip(2);
    let rows: Vec<&str> = rows.collect();
    let exposes = Regex::new(
        r"\([a-z-]+\.md#(?:[sc]\d-\d\d|check-yourself|predict|exercises)\)",
    );
    let exposes = exposes.unwrap();
    if rows.len() < 2 || !rows.iter().all(|row| exposes.is_match(row)) {
        problems.push(format!("what exposes each of {rows:?}?"));
    }
    let shown = between("**Show.**", "**Where they get stuck.**");
    let all: String =
        chapters(pages).iter().map(|name| transcripts(name, pages)).collect();
    problems.extend(wrong_shows(&shown, &transcripts(name, pages), &all));
    problems.iter().map(|problem| format!("{name}: {problem}")).collect()
}

/// The questions that a text names by number are there.
fn wrong_numbers(text: &str, pages: &Pages) -> Vec<String> {
    let named = Regex::new(
        r"questions? (\d)(?: and (\d))? of \[Check yourself\]\(([a-z-]+)\.md",
    );
    let named = named.unwrap();
    let mut problems = Vec::new();
    for found in named.captures_iter(text) {
        let page = &pages[&found[3]];
        for number in [found.get(1), found.get(2)].into_iter().flatten() {
            let number = number.as_str();
            if !page.contains(&format!("**Question {number}.** ")) {
                problems.push(format!("no question {number}: {}", &found[0]));
            }
        }
    }
    problems
}

/// What a teacher shows starts with a command that a transcript of the chapter
/// shows, too; a further one may come from any chapter. Only a server's port may
/// differ, because the stage is not a clean machine.
fn wrong_shows(shown: &str, seen: &str, all: &str) -> Vec<String> {
    let command = Regex::new(r"(?m)^\d+\. `([^`]+)`").unwrap();
    let commands: Vec<_> = command.captures_iter(shown).collect();
    let items = Regex::new(r"(?m)^\d+\. ").unwrap().find_iter(shown).count();
    let mut problems = Vec::new();
    if commands.is_empty() || items != commands.len() {
        problems.push(format!("{items} things to show, and how?"));
    }
    let unseen = commands.iter().filter(|found| !is_seen(&found[1], seen));
    problems.extend(unseen.map(|c| format!("no transcript of {}", &c[1])));
    let further = Regex::new(
        r"(?x)`( (?:[A-Z_]+=\S+\ )*
        (?:cargo\ run|python3|target/debug|strace|nc|ss|redis-server|kill
        |seq|head|cmp|printf|sleep)\b [^`]* )`",
    );
    let further = further.unwrap();
    let unseen = further.captures_iter(shown).filter(|c| !is_seen(&c[1], all));
    problems.extend(unseen.map(|c| format!("no page shows {}", &c[1])));
    problems
}

fn is_seen(command: &str, typed: &str) -> bool {
    let address = Regex::new(r" --addr 127\.0\.0\.1:\d+").unwrap();
    let plain = |line: &str| address.replace(line.trim(), "").into_owned();
    let wanted = plain(command);
    typed.lines().any(|line| plain(line) == wanted)
}

/// What is typed in the transcripts of a chapter and of the pages below it.
fn transcripts(name: &str, pages: &Pages) -> String {
    let contents = contents(pages);
    let at = contents.iter().position(|entry| entry.1 == name).unwrap();
    let below = contents[at + 1..].iter().take_while(|entry| !entry.2);
    let names = contents[at..=at].iter().chain(below);
    let include =
        Regex::new(r"tests/(?:check/tests/)?snapshots/([a-z0-9-]+)\.snap");
    let include = include.unwrap();
    let mut typed = String::new();
    let prompt = Regex::new(r"^\s*(?:\$|# the server:) ").unwrap();
    for (_, page, _) in names {
        for found in include.captures_iter(&pages[page]) {
            let path = format!("{ROOT}/{}", &found[0]);
            let text = fs::read_to_string(path).unwrap_or_default();
            for line in text.lines().filter(|line| prompt.is_match(line)) {
                typed += &format!("{}\n", prompt.replace(line, ""));
            }
        }
        let fences = pages[page].split("```sh\n").skip(1);
        fences.for_each(|fence| typed += fence.split("```").next().unwrap());
    }
    typed
}

/// The pages without a section that a plan shows: the guide says with which
/// commands, in the row of a table.
fn wrong_rows(pages: &Pages) -> Vec<String> {
    let all = [TALK, THREE, DAY, WEEKS].concat();
    let shown = all.iter().flat_map(|block| block.2);
    let shown = shown.filter(|(_, ways)| ways.contains("show"));
    let chapters = chapters(pages);
    let below = shown.filter(|(page, _)| !chapters.iter().any(|c| c == page));
    let code = Regex::new("`([^`]+)`").unwrap();
    let mut problems = Vec::new();
    for (page, _) in below {
        let link = format!("]({page}.md#predict) | ");
        let row = pages["teaching"].lines().find(|row| row.contains(&link));
        let row = row.unwrap_or_default();
        let seen = transcripts(page, pages);
        let commands = code.captures_iter(row).filter(|c| c[1].contains(' '));
        let commands: Vec<_> = commands.collect();
        if commands.is_empty() {
            problems.push(format!("no row says how to show {page}"));
        }
        let unseen = commands.iter().filter(|c| !is_seen(&c[1], &seen));
        problems.extend(unseen.map(|c| format!("{page}: no {}", &c[1])));
    }
    problems
}

#[test]
fn what_a_plan_shows_has_its_commands() {
    let mut pages = pages();
    assert_fine(wrong_rows(&pages));
    let guide = pages["teaching"].clone();
    for (old, new, problem) in [
        ("(sim.md#predict) | ", "(sim.md) | ", "how to show sim"),
        ("--bin sink`", "--bin sinks`", "flow: no"),
    ] {
        let wrong = guide.replace(old, new);
        assert_ne!(wrong, guide, "{old}");
        pages.insert("teaching".to_owned(), wrong);
        assert_found(wrong_rows(&pages), problem);
    }
}

#[test]
fn the_guide_has_every_chapter_and_shows_what_the_tests_have_seen() {
    let mut pages = pages();
    for name in chapters(&pages) {
        assert_fine(wrong_guide(&name, &pages));
    }
    let guide = pages["teaching-chapters"].clone();
    for (old, new, problem) in [
        ("seq 1000", "seq 1001", "no transcript of"),
        (
            "Start `cargo run --bin step2",
            "Start `cargo run --bin step0",
            "no page",
        ),
        ("server.md:outcomes", "client.md:outcomes", "other outcomes"),
        ("**Skip.**", "Skip", "no **Skip.**"),
        ("cases.md#s", "cases.md#t", "what exposes"),
        ("question 1 of", "question 9 of", "no question 9"),
        ("\n1. `", "\n1. Show `", "and how?"),
    ] {
        let wrong = guide.replace(old, new);
        assert_ne!(wrong, guide, "{old}");
        pages.insert("teaching-chapters".to_owned(), wrong);
        assert_found(wrong_guide("server", &pages), problem);
    }
}
