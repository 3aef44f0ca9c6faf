//! The book cannot lie: everything on its pages that looks like code or output
//! is quoted from a file that a test or the compiler reads.
//!
//! Each rule is a function that takes pages and returns what is wrong with
//! them. It is tried twice: on the book, where nothing may be wrong, and on a
//! page that breaks the rule, where something must be.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use mdbook_driver::MDBook;
use pulldown_cmark::{
    CodeBlockKind, Event, Options, Parser, Tag, TagEnd, TextMergeStream,
};
use regex::Regex;
use similar::{ChangeTag, TextDiff};
use support::ROOT;

/// Path below the project's folder → text.
type Pages = BTreeMap<String, String>;

/// Lines of steps that no page shows, with the reason.
const NOT_SHOWN: [(&str, &str, &str); 0] = []; // (file, line, why)

/// Snapshots that no page shows, with the reason.
const ONLY_TESTED: [(&str, &str); 1] =
    [("growth-step5-client", "the chapter shows the new client as a whole")];

fn pages() -> Pages {
    let mut pages = Pages::new();
    for entry in fs::read_dir(format!("{ROOT}/book/src")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap();
        pages.insert(format!("book/src/{name}"), text);
    }
    assert!(pages.len() >= 8, "where is the book?");
    pages
}

fn page(text: &str) -> Pages {
    Pages::from([("book/src/page.md".to_owned(), text.to_owned())])
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

// ---- Nothing that looks like code or output is written by hand

/// Fences that hold commands for the reader to type. They are tried below.
const COMMANDS: &str = "sh";

fn hand_written(pages: &Pages) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, text) in pages {
        let mut events = Parser::new_ext(text, Options::all());
        while let Some(event) = events.next() {
            let problem = match event {
                Event::Start(Tag::CodeBlock(kind)) => {
                    fence(name, kind, &mut events)
                }
                Event::Html(html) | Event::InlineHtml(html)
                    if has_other_tags(&html) =>
                {
                    Some(format!("not allowed: {html:?}"))
                }
                _ => None,
            };
            problems.extend(problem.map(|what| format!("{name}: {what}")));
        }
    }
    problems
}

/// The tags that pages may use. Others could show code, a transcript or a
/// picture, or a heading that no rule knows.
const TAGS: &str = r#"(?x)
    </?details> | <details\ class="case"> | </?summary> |
    <details\ class="choice(?:\ right)?"\ name="[a-z-]+\d"> |
    <!--\ (?:minutes:[^<>]*|ANCHOR(?:_END)?:\ [a-z-]+)\ --> |
    <span\ (?:lang="zh-Hans"|class="(?:client|server)")> | </span> |
    <div> | <div\ class="(?:commands|cover|index)"> | </div>"#;

/// Is there HTML other than those tags?
fn has_other_tags(html: &str) -> bool {
    Regex::new(TAGS).unwrap().replace_all(html, "").contains('<')
}

/// Is each line a command, perhaps after variables for its environment, and
/// none of them what a program prints?
fn is_commands(body: &str) -> bool {
    let command = Regex::new(
        r"(?x)^\ *(?:[A-Z_]+=\S+\ )*(?:
            cargo\ (?:build|install|run|test)\b |
            check\ (?:class|client|interop|server)\ .*\ -- |
            diff\ -r\  | done$ | for\ .*\ do\b | ip\ (?:-n|netns)\  |
            tcpdump\ -)",
    );
    let command = command.unwrap();
    body.lines().all(|line| command.is_match(line))
}

/// What is wrong with a block of code on this page. `events` go on with what
/// is in it.
fn fence(
    page: &str,
    kind: CodeBlockKind,
    events: &mut Parser,
) -> Option<String> {
    let CodeBlockKind::Fenced(info) = kind else {
        return Some("code by indentation; use a fence".to_owned());
    };
    let body = block(events);
    if &*info == COMMANDS && is_commands(&body) {
        return None;
    }
    let include =
        Regex::new(r"^\{\{#include ([^:{}\s]+)(?::[^{}\s]+)?\}\}\n$").unwrap();
    let Some(quoted) = include.captures(&body) else {
        let instead = "include a file that a test or the compiler reads";
        return Some(format!("written by hand: {body:?}; {instead}"));
    };
    misnamed(&info, &below_root(&Path::new(page).with_file_name(&quoted[1])))
}

/// The last word of a fence's info string is the file that it quotes. The
/// page prints that name above the listing.
fn misnamed(info: &str, file: &str) -> Option<String> {
    let words = ["console", "diff", "text"]; // output, not a listing
    let is_named = match file.ends_with(".snap") {
        true => words.contains(&info),
        false => info.rsplit(',').next() == Some(file),
    };
    let is_named = is_named && !info.contains(char::is_whitespace);
    (!is_named).then(|| format!("{file} is called {info:?}"))
}

/// The text of the block of code whose start was the last event.
fn block(events: &mut Parser) -> String {
    let mut body = String::new();
    for event in events {
        match event {
            Event::Text(part) => body.push_str(&part),
            _ => break, // the end of the block
        }
    }
    body
}

#[test]
fn nothing_is_written_by_hand() {
    assert_fine(hand_written(&pages()));
}

#[test]
fn what_is_written_by_hand_is_found() {
    let include = "{{#include ../../steps/step1/main.rs:main}}";
    let file = "steps/step1/main.rs";
    let fine = format!("```rust,ignore,{file}\n{include}\n```\n");
    assert_fine(hand_written(&page(&fine)));
    for text in [
        "```rust\nfn main() {}\n```\n".to_owned(),
        "```console\n$ cargo run\nlistening on 127.0.0.1:1\n```\n".to_owned(),
        "```\nplain\n```\n".to_owned(),
        "~~~~diff\n-old\n+new\n~~~~\n".to_owned(),
        format!("```rust\n{include}\nlet x = 1;\n```\n"),
        "> ```text\n> hidden in a quotation\n> ```\n".to_owned(),
        "```sh\ncargo run\nlistening on 127.0.0.1:1\n```\n".to_owned(),
        "```sh\ncheck: 3 cases passed\n```\n".to_owned(),
    ] {
        assert_found(hand_written(&page(&text)), "written by hand");
    }
    let indented = page("Look:\n\n    fn main() {}\n");
    assert_found(hand_written(&indented), "code by indentation");
    for html in [
        "<PRE>\nlistening\n</PRE>\n",
        "<div><code>x</code></div>\n",
        "It prints <samp>listening</samp>.\n",
        "<div\nstyle=\"white-space: pre\">\nlistening\n</div>\n",
        "<h5>A heading</h5>\n",
    ] {
        assert_found(hand_written(&page(html)), "not allowed");
    }
}

#[test]
fn a_listing_says_its_file() {
    let listing = "{{#include ../../steps/step1/main.rs:main}}";
    let output = "{{#include ../../tests/snapshots/demo-step1.snap:4:}}";
    let file = "steps/step1/main.rs";
    let page = |mark: &str, info: &str, include: &str| {
        page(&format!("{mark}{info}\n{include}\n{mark}\n"))
    };
    assert_fine(hand_written(&page("~~~", &format!("rust,{file}"), listing)));
    assert_fine(hand_written(&page("```", "console", output)));
    for (mark, info, include) in [
        ("```", "rust,ignore", listing),
        ("~~~", "", listing),
        ("~~~", "rust,ignore,steps/step2/main.rs", listing),
        ("```", "rust,ignore steps/step1/main.rs", listing),
        ("```", "text,tests/x.rs", output),
    ] {
        let found = hand_written(&page(mark, info, include));
        assert_found(found, &format!("is called {info:?}"));
    }
}

// ---- Every include finds its file, its part and its lines

/// What the includes of a page show: file → lines, counted from 0.
type Shown = BTreeMap<String, BTreeSet<usize>>;

fn includes(pages: &Pages) -> (Vec<String>, Shown) {
    let directive = Regex::new(r"\{\{[^}]*\}?\}?").unwrap();
    let include = Regex::new(r"^\{\{#include ([^:}\s]+)(:[^}\s]+)?\}\}$");
    let include = include.unwrap();
    let mut problems = Vec::new();
    let mut shown = Shown::new();
    for (name, text) in pages {
        for found in directive.find_iter(text) {
            let found = found.as_str();
            let result = match include.captures(found) {
                None => Err("not an include".to_owned()),
                Some(parts) => {
                    let folder = Path::new(name).parent().unwrap();
                    let file = below_root(&folder.join(&parts[1]));
                    let part = parts.get(2).map_or("", |part| part.as_str());
                    quoted(&file, part).map(|lines| (file, lines))
                }
            };
            match result {
                Err(why) => problems.push(format!("{name}: {found}: {why}")),
                Ok((file, lines)) => {
                    shown.entry(file).or_default().extend(lines);
                }
            }
        }
    }
    (problems, shown)
}

/// Takes `..` out of a path.
fn below_root(path: &Path) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(parts.pop()),
            Component::Normal(part) => parts.push(part.to_str().unwrap()),
            _ => panic!("{path:?} is not relative"),
        }
    }
    parts.join("/")
}

/// The lines that `:NAME`, `:FROM:` or nothing takes from a file.
fn quoted(file: &str, part: &str) -> Result<Range<usize>, String> {
    let path = Path::new(ROOT).join(file);
    let text = fs::read_to_string(path).map_err(|e| e.to_string())?;
    let lines: Vec<&str> = text.lines().collect();
    if file.ends_with(".snap") {
        // The header of a snapshot is exactly three lines.
        let starts = lines.first() == Some(&"---") && lines[2] == "---";
        if part != ":4:" || !starts {
            return Err("a snapshot is included with `:4:`".to_owned());
        }
    }
    let range = match part.trim_matches(':').parse::<usize>() {
        _ if part.is_empty() => 0..lines.len(),
        Ok(first) if part.ends_with(':') => first - 1..lines.len(),
        Ok(_) => return Err("one line alone says nothing".to_owned()),
        Err(_) => anchored(&lines, &part[1..])?,
    };
    match lines.get(range.clone()) {
        Some(lines) if !lines.is_empty() => Ok(range),
        _ => Err("finds no lines".to_owned()),
    }
}

fn anchored(lines: &[&str], name: &str) -> Result<Range<usize>, String> {
    let at = |mark: &str| {
        let [code, page] =
            [format!("// {mark}: {name}"), format!("<!-- {mark}: {name} -->")];
        let mut found = lines.iter().map(|line| line.trim_end());
        found.position(|line| line.ends_with(&code) || line == page)
    };
    match (at("ANCHOR"), at("ANCHOR_END")) {
        (Some(start), Some(end)) if start < end => Ok(start + 1..end),
        _ => Err(format!("there is no whole part {name:?}")),
    }
}

#[test]
fn includes_find_what_they_quote() {
    assert_fine(includes(&pages()).0);
}

#[test]
fn includes_that_find_nothing_are_found() {
    for (text, problem) in [
        ("{{#include ../../steps/step1/none.rs}}", "os error"),
        ("{{#include ../../steps/step1/main.rs:none}}", "no whole part"),
        ("{{#include ../../steps/step1/main.rs:9999:}}", "finds no lines"),
        ("{{#include ../../steps/step1/main.rs:3}}", "one line alone"),
        ("{{#inclde ../../steps/step1/main.rs}}", "not an include"),
        ("{{#include ../../steps/step1/main.rs:main}", "not an include"),
        ("{{#playground ../../steps/step1/main.rs}}", "not an include"),
        ("{{#include ../../tests/snapshots/demo-step1.snap}}", "`:4:`"),
        ("{{#include ../../tests/snapshots/demo-step1.snap:5:}}", "`:4:`"),
    ] {
        assert_found(includes(&page(text)).0, problem);
    }
}

// ---- Every line of every step is shown

fn unshown(pages: &Pages) -> Vec<String> {
    let (_, shown) = includes(pages);
    let mut problems = Vec::new();
    for n in 1..=9 {
        let step = format!("steps/step{n}");
        let Ok(files) = fs::read_dir(Path::new(ROOT).join(&step)) else {
            break;
        };
        for entry in files {
            let name = entry.unwrap().file_name().into_string().unwrap();
            problems.extend(unshown_in(n, &name, &shown));
        }
    }
    problems
}

/// The lines of one file of step `n` that are neither included, nor the same
/// in the step before, nor in a diff that is included.
fn unshown_in(n: usize, name: &str, shown: &Shown) -> Vec<String> {
    let file = format!("steps/step{n}/{name}");
    let mut missing: BTreeSet<usize> = code_lines(&file);
    for line in shown.get(&file).into_iter().flatten() {
        missing.remove(line);
    }
    if n > 1 {
        let stem = name.trim_end_matches(".rs");
        let diff = format!("tests/snapshots/growth-step{n}-{stem}.snap");
        let before = format!("steps/step{}/{name}", n - 1);
        let same = unchanged(&before, &file);
        let is_told = shown.contains_key(&diff);
        missing.retain(|line| !is_told && !same.contains(line));
    }
    let text = fs::read_to_string(Path::new(ROOT).join(&file)).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let excused = |line: &str| {
        NOT_SHOWN.iter().any(|(f, l, _)| *f == file && *l == line.trim())
    };
    let missing = missing.into_iter().filter(|&i| !excused(lines[i]));
    missing
        .map(|i| format!("no page shows {file}:{}: {}", i + 1, lines[i]))
        .collect()
}

/// The lines of a file that say something, counted from 0.
fn code_lines(file: &str) -> BTreeSet<usize> {
    let text = fs::read_to_string(Path::new(ROOT).join(file)).unwrap();
    let says =
        |line: &str| !line.trim().is_empty() && !line.contains("// ANCHOR");
    let code = text.split("#[cfg(test)]").next().unwrap(); // tests are not
    let lines = code.lines().enumerate();
    lines.filter(|(_, line)| says(line)).map(|(i, _)| i).collect()
}

/// The lines of `file` that stand in the step before, too.
fn unchanged(before: &str, file: &str) -> BTreeSet<usize> {
    let read = |f: &str| fs::read_to_string(Path::new(ROOT).join(f));
    let (before, after) =
        (read(before).unwrap_or_default(), read(file).unwrap());
    let diff = TextDiff::from_lines(&before, &after);
    let same = diff.iter_all_changes().filter(|c| c.tag() == ChangeTag::Equal);
    same.filter_map(|change| change.new_index()).collect()
}

#[test]
fn every_line_of_every_step_is_shown() {
    assert_fine(unshown(&pages()));
}

#[test]
fn a_line_that_no_page_shows_is_found() {
    let mut pages = pages();
    for text in pages.values_mut() {
        *text = text.replace("step1/server.rs:server", "step1/server.rs:none");
        *text = text.replace("growth-step2-client", "growth-step2-server");
    }
    let problems = unshown(&pages);
    assert_found(problems.clone(), "steps/step1/server.rs");
    let all = problems.join("\n");
    assert!(all.contains("async fn greet"), "{all}");
}

// ---- Every snapshot is shown, and some test makes it

fn unused_snapshots(pages: &Pages, names: &[String]) -> Vec<String> {
    let (_, mut shown) = includes(pages);
    let readme = fs::read_to_string(format!("{ROOT}/README.md")).unwrap();
    let made = made_by_tests();
    let mut problems = Vec::new();
    for name in names {
        let file = format!("tests/snapshots/{name}.snap");
        let is_shown = shown.remove(&file).is_some() || readme.contains(&file);
        let is_excused = ONLY_TESTED.iter().any(|(other, _)| other == name);
        if is_shown == is_excused {
            problems.push(format!("{file}: shown {is_shown}, else excused"));
        }
        if !made.iter().any(|pattern| pattern.is_match(name)) {
            problems.push(format!("{file}: no test makes it"));
        }
    }
    problems
}

/// What the names of snapshots in the sources of the tests stand for. (CI asks
/// insta itself which snapshots were compared; this is the quick answer.)
fn made_by_tests() -> Vec<Regex> {
    let mut made = Vec::new();
    let literal = Regex::new(r#""([a-z0-9-]*[{}a-z0-9-]+)""#).unwrap();
    let hole = Regex::new(r"\\\{[^}]*\\\}").unwrap();
    let folders = [
        "tests",
        "tests/exercises",
        "tests/tools",
        "tests/next",
        "tests/lab/tests",
        "tests/sim/tests",
    ];
    let folders = folders.map(|dir| Path::new(ROOT).join(dir));
    for entry in folders.iter().flat_map(|dir| fs::read_dir(dir).unwrap()) {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(path).unwrap();
            for found in literal.captures_iter(&source) {
                if found[1].contains('-') {
                    let name = regex::escape(&found[1]).replace(r"\-", "-");
                    let pattern = hole.replace_all(&name, "[a-z0-9-]+");
                    made.push(Regex::new(&format!("^{pattern}$")).unwrap());
                }
            }
        }
    }
    made
}

fn snapshots() -> Vec<String> {
    let files = fs::read_dir(format!("{ROOT}/tests/snapshots")).unwrap();
    let names = files.map(|e| e.unwrap().file_name().into_string().unwrap());
    names.map(|name| name.trim_end_matches(".snap").to_owned()).collect()
}

#[test]
fn every_snapshot_is_shown_and_made() {
    assert_fine(unused_snapshots(&pages(), &snapshots()));
}

#[test]
fn a_stale_snapshot_is_found() {
    let names = ["forgotten".to_owned(), "step1-greets".to_owned()];
    let problems = unused_snapshots(&pages(), &names);
    assert_found(problems.clone(), "forgotten.snap: no test makes it");
    assert_found(problems.clone(), "forgotten.snap: shown false");
    assert_eq!(problems.len(), 2, "{problems:?}");
}

// ---- Every heading has a name that outlives a translation

fn nameless_headings(pages: &Pages) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, text) in pages {
        if name.ends_with("SUMMARY.md") {
            continue;
        }
        for event in Parser::new_ext(text, Options::all()) {
            if let Event::Start(Tag::Heading { id: None, level, .. }) = event {
                problems.push(format!("{name}: a heading {level} without id"));
            }
        }
    }
    problems
}

/// A page has one title, and no heading skips a level below it.
fn skipped_levels(pages: &Pages) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, text) in pages {
        let mut last = 0;
        for event in Parser::new_ext(text, Options::all()) {
            let Event::Start(Tag::Heading { level, .. }) = event else {
                continue;
            };
            let level = level as usize;
            if level > last + 1 || (level == 1) != (last == 0) {
                problems.push(format!("{name}: level {level} after {last}"));
            }
            last = level;
        }
    }
    problems
}

#[test]
fn no_heading_skips_a_level() {
    assert_fine(skipped_levels(&pages()));
    for (text, problem) in [
        ("# A\n\n### B\n", "level 3 after 1"),
        ("# A\n\n## B\n\n# C\n", "level 1 after 2"),
        ("## A\n", "level 2 after 0"),
    ] {
        assert_found(skipped_levels(&page(text)), problem);
    }
}

#[test]
fn every_heading_has_an_id() {
    assert_fine(nameless_headings(&pages()));
}

#[test]
fn a_heading_without_id_is_found() {
    assert_fine(nameless_headings(&page("## Accept {#accept}\n")));
    assert_found(nameless_headings(&page("## Accept\n")), "without id");
}

// ---- Every chapter has the parts of a chapter

fn missing_parts(name: &str, text: &str) -> Vec<String> {
    let parts = [
        "After this chapter you can\n\n<!-- ANCHOR: outcomes -->\n",
        " {#predict}\n",
        " {#check-yourself}\n",
        "> [!WARNING]\n> **The trap: ",
        " {#exercises}\n",
        "**Break it.**",
        "**Build it.**",
        "**Measure it.**",
        "<summary>Hint</summary>",
        " {#next}\n",
    ];
    let missing = parts.iter().filter(|part| !text.contains(*part));
    missing.map(|part| format!("{name} has no {part:?}")).collect()
}

#[test]
fn every_chapter_has_its_parts() {
    let pages = pages();
    let numbered = Regex::new(r"(?m)^- \[.*\]\((.*)\)$").unwrap();
    let summary = &pages["book/src/SUMMARY.md"];
    let mut chapters = 0;
    for found in numbered.captures_iter(summary) {
        let name = format!("book/src/{}", &found[1]);
        assert_fine(missing_parts(&name, &pages[&name]));
        chapters += 1;
    }
    assert!(chapters >= 5);
}

#[test]
fn a_chapter_without_a_trap_is_found() {
    let text = pages()["book/src/server.md"].replace("The trap: ", "");
    assert_found(missing_parts("server.md", &text), "The trap");
}

// ---- A term of the glossary stands on the page that explains it

/// "term, other term · 术语", and then a definition that ends in a link.
fn lost_terms(pages: &Pages) -> Vec<String> {
    let entry = Regex::new(r"(?m)^(.+) · .+\n: .*\(\[.+\]\((.+?)(#.*)?\)\)$");
    let mut problems = Vec::new();
    for found in entry.unwrap().captures_iter(&pages["book/src/glossary.md"]) {
        let text = pages.get(&format!("book/src/{}", &found[2]));
        let id = found.get(3).map_or("", |id| id.as_str());
        let text = text.map(|text| section(text, id).replace('*', ""));
        let text = text.map(|text| text.to_lowercase());
        for term in found[1].split(", ") {
            let word = term.trim_start_matches("to ").to_lowercase();
            if !text.as_ref().is_some_and(|text| text.contains(&word)) {
                problems.push(format!("{}{id} does not say {term}", &found[2]));
            }
        }
    }
    problems
}

/// The part of a page under the heading with the id, such as `#predict`, and
/// under the headings below it.
fn section<'a>(text: &'a str, id: &str) -> &'a str {
    let mark = format!("{{{id}}}\n");
    let Some(end_of_heading) = text.find(&mark).map(|at| at + mark.len())
    else {
        return if id.is_empty() { text } else { "" };
    };
    let start = text[..end_of_heading - 1].rfind('\n').map_or(0, |at| at + 1);
    let level = text[start..].find(' ').unwrap();
    let next = Regex::new(&format!(r"(?m)^#{{1,{level}}} ")).unwrap();
    let next = next.find_at(text, end_of_heading);
    &text[start..next.map_or(text.len(), |next| next.start())]
}

#[test]
fn the_pages_of_the_glossary_have_its_terms() {
    let mut pages = pages();
    let glossary = pages["book/src/glossary.md"].clone();
    let entries = glossary.matches(" · ").count();
    assert_eq!(entries, glossary.matches("\n: ").count());
    assert_eq!(entries, glossary.matches("))\n").count(), "a link each");
    assert_fine(lost_terms(&pages));
    let page = pages.get_mut("book/src/frames.md").unwrap();
    *page = page.replace("*sticky packets*", "*glue*");
    assert_found(
        lost_terms(&pages),
        "frames.md#sticky does not say sticky packets",
    );
}

// ---- Chinese says that it is Chinese

/// A screen reader and the browser's fonts need to know the language.
fn unmarked_chinese(pages: &Pages) -> Vec<String> {
    let marked = Regex::new(r#"<span lang="zh-Hans">[^<]*</span>"#).unwrap();
    let chinese = Regex::new(r"\p{Han}+|&#\w+;").unwrap();
    let mut problems = Vec::new();
    for (name, text) in pages {
        let rest = marked.replace_all(text, "");
        let found = chinese.find_iter(&rest);
        problems.extend(found.map(|word| format!("{name}: {}", word.as_str())));
    }
    problems
}

#[test]
fn chinese_is_marked() {
    let pages = pages();
    assert_fine(unmarked_chinese(&pages));
    assert!(pages["book/src/glossary.md"].contains("zh-Hans"));
    for text in [
        "## Sticky · 粘包 {#sticky}\n",
        "| frame | 帧 |\n",
        "<span lang=\"zh-Hans\">粘包</span>, 帧\n",
        "<span lang=\"ja\">帧</span>\n",
        "a frame, &#24103;\n",
    ] {
        assert_found(unmarked_chinese(&page(text)), "page.md: ");
    }
}

// ---- The chapters are numbered in order

/// The numbered titles count from 1, and each page has the title that the
/// table of contents gives it.
fn misnumbered(pages: &Pages) -> Vec<String> {
    let entry = Regex::new(r"(?m)^( *- )?\[(.+)\]\((.+)\)$").unwrap();
    let mut problems = Vec::new();
    let mut last = 0;
    for found in entry.captures_iter(&pages["book/src/SUMMARY.md"]) {
        let (title, name) = (&found[2], &found[3]);
        let page = &pages[&format!("book/src/{name}")];
        let is_comment = |(first, _): &(&str, &str)| first.starts_with("<!--");
        let page = page
            .split_once("\n\n")
            .filter(is_comment)
            .map_or(page.as_str(), |(_minutes, page)| page);
        if !page.starts_with(&format!("# {title} {{#")) {
            let due = format!("its first line is no `# {title} {{#…}}`");
            problems.push(format!("{name} is not called {title}: {due}"));
        }
        let is_chapter = found.get(1).is_some_and(|mark| mark.as_str() == "- ");
        if is_chapter {
            last += 1;
            if !title.starts_with(&format!("{last} ")) {
                problems.push(format!("{title} is number {last}"));
            }
        } else if title.starts_with(|c: char| c.is_ascii_digit()) {
            problems.push(format!("{title} is no chapter"));
        }
    }
    problems
}

/// Prose names a chapter and links to it: a number may change.
fn numbered_references(pages: &Pages) -> Vec<String> {
    let number =
        r"(?i)\b(?:chapters?|ch\.)\s+(?:\d|one|two|three|four|five|six)";
    let number = Regex::new(number).unwrap();
    // Other books have chapters, too.
    let other = Regex::new(r"\[[^\]]*\]\(https://[^)]*\)").unwrap();
    let mut problems = Vec::new();
    for (name, text) in pages {
        for found in number.find_iter(&other.replace_all(text, "")) {
            problems.push(format!("{name}: {}", found.as_str()));
        }
    }
    problems
}

#[test]
fn chapters_are_numbered_in_order_and_called_by_name() {
    let mut pages = pages();
    assert_fine(misnumbered(&pages));
    assert_fine(numbered_references(&pages));
    let summary = pages.get_mut("book/src/SUMMARY.md").unwrap();
    *summary = summary.replace("[5 Many", "[4.4 Many");
    *summary = summary.replace("[Async", "[2.2 Async");
    let problems = misnumbered(&pages);
    assert_found(problems.clone(), "4.4 Many clients is number 5");
    assert_found(problems.clone(), "2.2 Async in ten minutes is no chapter");
    assert_found(problems, "many-clients.md is not called 4.4 Many clients");
    for wrong in ["As [chapter 3](server.md) says.", "Chapters\nthree"] {
        assert_found(numbered_references(&page(wrong)), "page.md: ");
    }
}

// ---- An answer is folded, and stands below its question

fn open_questions(pages: &Pages) -> Vec<String> {
    let folds = ["<details>\n<summary>Answer</", "<details class=\"choice"];
    let mut problems = Vec::new();
    for (name, text) in pages {
        let parts = text.split("{#predict}\n").skip(1);
        let inline = text.split("**Predict").skip(1);
        for part in parts.chain(inline) {
            let end = part.find("\n#").unwrap_or(part.len());
            if !folds.iter().any(|fold| part[..end].contains(fold)) {
                problems.push(format!("{name}: a question without answer"));
            }
        }
    }
    problems
}

#[test]
fn every_question_has_a_folded_answer() {
    assert_fine(open_questions(&pages()));
    let text = "## Predict {#predict}\n\n*What happens?*\n\n## Run it\n";
    assert_found(open_questions(&page(text)), "a question without answer");
}

// ---- The code that an exercise changes is there

/// "write `new` for `old`" after "In `file.rs`": the old code must stand in a
/// file of this name of some step.
fn wrong_exercises(pages: &Pages) -> Vec<String> {
    let change =
        Regex::new(r"In `(\w+\.rs)`[^.]*\bwrite `[^`]+` for `([^`]+)`")
            .unwrap();
    let mut problems = Vec::new();
    for (name, text) in pages {
        for found in change.captures_iter(text) {
            let is_there = (1..=9).any(|n| {
                let path = format!("{ROOT}/steps/step{n}/{}", &found[1]);
                fs::read_to_string(path).is_ok_and(|s| s.contains(&found[2]))
            });
            if !is_there {
                problems
                    .push(format!("{name}: no {} in {}", &found[2], &found[1]));
            }
        }
    }
    problems
}

#[test]
fn exercises_change_what_is_there() {
    assert_fine(wrong_exercises(&pages()));
    let page = page("In `answer.rs`, do it: write `if true {` for `if was {`.");
    assert_found(wrong_exercises(&page), "no if was {");
}

// ---- What the reader builds can be checked

/// A chapter that shows a step ends its exercises with the command that tries
/// the reader's own program of that step.
fn missing_check(name: &str, text: &str) -> Vec<String> {
    let shown = Regex::new(r"\{\{#include ../../steps/step(\d)/").unwrap();
    let steps = shown.captures_iter(text).map(|found| found[1].to_owned());
    let Some(step) = steps.max() else { return Vec::new() };
    let end = text.split("**Build it.**").nth(1).unwrap_or_default();
    let command = ["server", "client"].map(|side| {
        format!("```sh\ncargo run -p check -- {side} step{step} --cmd '")
    });
    match command.iter().any(|command| end.contains(command)) {
        true => Vec::new(),
        false => vec![format!("{name}: nothing checks step {step}")],
    }
}

#[test]
fn what_the_reader_builds_can_be_checked() {
    let summary = &pages()["book/src/SUMMARY.md"];
    let numbered = Regex::new(r"(?m)^- \[.*\]\((.*)\)$").unwrap();
    for found in numbered.captures_iter(summary) {
        let name = format!("book/src/{}", &found[1]);
        assert_fine(missing_check(&name, &pages()[&name]));
    }
    let text = pages()["book/src/server.md"].replace("-p check", "-p chalk");
    assert_found(missing_check("server.md", &text), "nothing checks step 1");
}

// ---- Commands and paths exist

/// The source of all cases of the checker.
fn cases() -> String {
    let folders = ["server", "client"]
        .map(|side| format!("{ROOT}/tests/check/src/cases/{side}"));
    let files = folders.iter().flat_map(|dir| fs::read_dir(dir).unwrap());
    let texts = files.map(|file| fs::read_to_string(file.unwrap().path()));
    texts.map(Result::unwrap).collect()
}

/// Commands whose target or package is not there.
fn wrong_commands(name: &str, text: &str) -> Vec<String> {
    let folders = [".", "tests/check", "tests/load", "steps/cluster"];
    let manifests = folders.map(|folder| {
        fs::read_to_string(format!("{ROOT}/{folder}/Cargo.toml")).unwrap()
    });
    let target = Regex::new(r"--(bin|test|bench) ([a-z0-9-]+)").unwrap();
    let package = Regex::new(r"cargo \w+ (?:--\w+ )*-p ([a-z]+)").unwrap();
    let mut problems = Vec::new();
    for found in target.captures_iter(text) {
        let (kind, target) = (&found[1], &found[2]);
        let entry = format!("[[{kind}]]\nname = \"{target}\"\n");
        if !manifests.iter().any(|text| text.contains(&entry)) {
            problems.push(format!("{name}: no {kind} {target}"));
        }
    }
    for found in package.captures_iter(text) {
        let is_there = [".", "steps", "tests"].iter().any(|dir| {
            let path = format!("{ROOT}/{dir}/{}/Cargo.toml", &found[1]);
            Path::new(&path).exists()
        });
        if !is_there {
            problems.push(format!("{name}: no package {}", &found[1]));
        }
    }
    problems
}

fn wrong_names(pages: &Pages) -> Vec<String> {
    let cases = cases();
    let path = Regex::new(r"`((?:book|steps|tests)/[^`{}*]+)`").unwrap();
    let case = Regex::new(r"(?i)\b([sc]\d[-_]\d\d)(?:\b|_)").unwrap();
    let mut problems = Vec::new();
    for (name, text) in pages {
        problems.extend(wrong_commands(name, text));
        for found in path.captures_iter(text) {
            if !Path::new(ROOT).join(&found[1]).exists() {
                problems.push(format!("{name}: no file {}", &found[1]));
            }
        }
        for found in case.captures_iter(text) {
            let id = found[1].to_uppercase().replace('_', "-");
            if !cases.contains(&format!("id: \"{id}\"")) {
                problems.push(format!("{name}: no case {}", &found[1]));
            }
        }
    }
    problems
}

fn with_readme(mut pages: Pages) -> Pages {
    let readme = fs::read_to_string(format!("{ROOT}/README.md")).unwrap();
    pages.insert("README.md".to_owned(), readme);
    pages
}

#[test]
fn commands_and_paths_exist() {
    let mut pages = with_readme(pages());
    let name = ".github/CONTRIBUTING.md";
    let text = fs::read_to_string(format!("{ROOT}/{name}")).unwrap();
    pages.insert(name.to_owned(), text);
    assert_fine(wrong_names(&pages));
}

#[test]
fn wrong_commands_and_paths_are_found() {
    for (text, problem) in [
        ("`cargo run --bin step99`", "no bin step99"),
        ("```sh\ncargo test --test nothing\n```", "no test nothing"),
        ("`cargo run -p chalk -- x`", "no package chalk"),
        ("See `tests/nowhere.rs`.", "no file tests/nowhere.rs"),
        ("The case `s9_99`", "no case s9_99"),
        ("The case [S9-99](cases.md#s4-05)", "no case S9-99"),
        ("`cargo test step5::c9_11_is_not_there`", "no case c9_11"),
    ] {
        assert_found(wrong_names(&page(text)), problem);
    }
}

// ---- A case of the checker is a link to what it does

/// Which place the words after this event lead to, or name, or `CODE`.
fn place(event: &Event) -> Option<String> {
    match event {
        Event::Start(Tag::CodeBlock(_)) => Some(CODE.to_owned()),
        Event::Start(Tag::Link { dest_url, .. }) => Some(dest_url.to_string()),
        Event::Start(Tag::Heading { id: Some(id), .. }) => {
            Some(format!("#{id}"))
        }
        Event::End(TagEnd::CodeBlock | TagEnd::Link | TagEnd::Heading(_)) => {
            Some(String::new())
        }
        _ => None,
    }
}

const CODE: &str = "a block of code";

/// Names of cases that stand in prose and do not lead to the case.
fn unlinked_cases(pages: &Pages) -> Vec<String> {
    let case = Regex::new(r"\b[SCsc]\d[-_]\d\d").unwrap();
    let command = Regex::new("^(?:cargo|check) ").unwrap();
    let mut problems = Vec::new();
    for (name, text) in pages {
        let home = if name.ends_with("cases.md") { "" } else { "cases.md" };
        let mut here = String::new();
        let events = Parser::new_ext(text, Options::all());
        for event in TextMergeStream::new(events) {
            here = place(&event).unwrap_or(here);
            let words = match event {
                Event::Code(code) if command.is_match(&code) => continue,
                Event::Text(words) | Event::Code(words) => words,
                Event::Html(words) | Event::InlineHtml(words) => words,
                _ => continue,
            };
            for found in case.find_iter(&words) {
                let id = found.as_str().to_lowercase().replace('_', "-");
                if here != CODE && here != format!("{home}#{id}") {
                    let name = format!("{name}: {}", found.as_str());
                    let due = format!("link it to cases.md#{id}");
                    problems.push(format!("{name} does not lead there: {due}"));
                }
            }
        }
    }
    problems
}

#[test]
fn every_case_is_a_link() {
    assert_fine(unlinked_cases(&pages()));
}

#[test]
fn a_case_without_its_link_is_found() {
    for fine in [
        "The case [`s4_05`](cases.md#s4-05), or [S4-05](cases.md#s4-05)–07.",
        "Run `cargo test step5::c5_11` or `check --explain S4-05`.",
        "```sh\ncheck server step4 --case S4-05\n```",
    ] {
        assert_fine(unlinked_cases(&page(fine)));
    }
    for wrong in [
        "The case S4-05.",
        "The case s4_05.",
        "> - it is `s4_05`",
        "The case [`s4_05`](cases.md#cases).",
        "The case [*S4-05*](cases.md#s4-06).",
        "[Look](cases.md#s4-05) at S4-05.",
        "## The case S4-05 {#s4-05}",
        "<details>\n<summary>S4-05</summary>\n\nIt.\n\n</details>",
        "The case `s4_05_answers`.",
    ] {
        assert_found(unlinked_cases(&page(wrong)), "does not lead there");
    }
}

// ---- What is typed is what the transcript shows

/// A transcript that follows commands to type, in the same section, shows each
/// of them.
fn other_commands(pages: &Pages) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, text) in pages {
        let mut typed = String::new();
        let mut events = Parser::new_ext(text, Options::all());
        while let Some(event) = events.next() {
            match event {
                Event::Start(Tag::Heading { .. }) => typed.clear(),
                Event::Start(Tag::CodeBlock(kind)) => {
                    let before = std::mem::take(&mut typed);
                    let body = block(&mut events);
                    match kind {
                        CodeBlockKind::Fenced(info) if &*info == COMMANDS => {
                            typed = body;
                        }
                        _ => problems.extend(differs(&before, &body, name)),
                    }
                }
                _ => {}
            }
        }
    }
    problems
}

/// Which line of `typed` is no command of the transcript that `include` quotes?
/// A transcript without a command is the output of what was typed.
fn differs(typed: &str, include: &str, page: &str) -> Option<String> {
    let file = include.trim().strip_prefix("{{#include ")?;
    let path = Path::new(page).parent()?.join(file.split(':').next()?);
    let text = fs::read_to_string(Path::new(ROOT).join(path)).ok()?;
    let lines = text.lines().map(str::trim_start);
    let shown: Vec<&str> =
        lines.filter_map(|line| line.strip_prefix("$ ")).collect();
    let is_other = |line: &&str| !shown.is_empty() && !shown.contains(line);
    let other = typed.lines().find(is_other)?;
    Some(format!("{page}: typed {other}, shown {shown:?}"))
}

#[test]
fn what_is_typed_is_what_the_transcript_shows() {
    assert_fine(other_commands(&pages()));
    let snap = "{{#include ../../tests/snapshots/demo-step1.snap:4:}}";
    let shown = format!("Look:\n\n```console\n{snap}\n```\n");
    let below = |above: &str| page(&format!("{above}{shown}"));
    assert_fine(other_commands(&below("")));
    assert_fine(other_commands(&below("```sh\ncargo run\n```\n\n## B\n")));
    let same = "```sh\ncargo run --bin step1\n```\n\n";
    assert_fine(other_commands(&below(same)));
    for second in ["cargo run", "cargo run --bin step2"] {
        let other = same.replace("step1\n", &format!("step1\n{second}\n"));
        let other = other_commands(&below(&other));
        assert_found(other, &format!("typed {second}, shown"));
    }
}

// ---- A packet that the text names is in the picture

/// The last number in the pictures and tables of packets that a text includes.
fn last_packet(text: &str) -> Option<usize> {
    if !text.contains(".snap") {
        return None;
    }
    let include = Regex::new(r"snapshots/\S+\.snap").unwrap();
    let number = r#"class="number(?:"| \w+".*)>(\d+)</t(?:h|ext)>"#;
    let number = Regex::new(number).unwrap();
    let files = include.find_iter(text).map(|file| {
        let path = format!("{ROOT}/tests/{}", file.as_str());
        fs::read_to_string(path).unwrap_or_default()
    });
    let text: String = files.collect();
    number.captures_iter(&text).map(|n| n[1].parse().unwrap()).max()
}

/// Packets that are neither in the section that names them nor, if there is no
/// picture in it, in the last picture above it.
fn unseen_packets(pages: &Pages) -> Vec<String> {
    let heading = Regex::new(r"(?m)^#+ ").unwrap();
    let names = Regex::new(r"(?i)\bpackets?((?:,| and| to|\s+\d+)+)").unwrap();
    let number = Regex::new(r"\d+").unwrap();
    let mut problems = Vec::new();
    for (name, text) in pages {
        let mut last = 0;
        for section in heading.split(text) {
            last = last_packet(section).unwrap_or(last);
            let named = names.captures_iter(section);
            let named = named.flat_map(|found| {
                let words = found.get(1).unwrap().as_str();
                number.find_iter(words).map(|n| n.as_str().parse().unwrap())
            });
            let unseen = named.filter(|&n: &usize| n == 0 || n > last);
            problems.extend(
                unseen.map(|n| format!("{name}: {n} of {last} packets")),
            );
        }
    }
    problems
}

#[test]
fn a_packet_that_the_text_names_is_shown() {
    assert_fine(unseen_packets(&pages()));
    let shown = "{{#include ../../tests/snapshots/lifelines-step1.snap:4:}}";
    let page =
        |text: &str| page(&format!("{text}\n\n## A {{#a}}\n\n{shown}\n"));
    assert_eq!(last_packet(shown), Some(10));
    for wrong in ["Packets 9 and 17 are", "In packet 11,", "(packets\n1 to 12)"]
    {
        let below = page(&format!("{shown}\n\n## B {{#b}}\n\n{wrong} it."));
        assert_found(unseen_packets(&below), "of 10 packets");
    }
    assert_found(unseen_packets(&page("See packet 1.")), "1 of 0 packets");
}

// ---- The pages promise the Rust that Cargo.toml asks for

fn wrong_rust(pages: &Pages) -> Vec<String> {
    let manifest = fs::read_to_string(format!("{ROOT}/Cargo.toml")).unwrap();
    let asked = Regex::new(r#"\nrust-version = "(.+?)""#).unwrap();
    let asked = &asked.captures(&manifest).unwrap()[1];
    // Any version of Rust; 127.0.0.1 is none.
    let version = Regex::new(r"\bRust.*?[^.\d](1\.\d+)").unwrap();
    let mut problems = Vec::new();
    for (name, text) in pages {
        for found in version.captures_iter(text) {
            if &found[1] != asked {
                problems.push(format!("{name}: not Rust {}", &found[1]));
            }
        }
        let begins = ["book/src/welcome.md", "README.md"].contains(&&**name);
        if begins && !text.contains(&format!(" {asked} or later")) {
            problems.push(format!("{name}: which Rust?"));
        }
    }
    problems
}

#[test]
fn the_pages_name_the_rust_that_is_needed() {
    let mut pages = with_readme(pages());
    assert_fine(wrong_rust(&pages));
    for old in [
        "You need [Rust](https://x.org), version 1.8 or later.",
        "Rust 1.8 or newer will do.",
    ] {
        assert_found(wrong_rust(&page(old)), "not Rust 1.8");
    }
    let readme = pages.get_mut("README.md").unwrap();
    *readme = readme.replace(" or later", "");
    assert_found(wrong_rust(&pages), "README.md: which Rust?");
}

// ---- The README shows what the tests saw

fn readme_problems(readme: &str) -> Vec<String> {
    let mark =
        Regex::new(r"<!-- (tests/snapshots/\S+\.snap) -->\n```console\n")
            .unwrap();
    let mut problems = Vec::new();
    let marked: Vec<_> = mark.captures_iter(readme).collect();
    if marked.len() != readme.matches("```console").count() {
        problems.push("a transcript that names no snapshot".to_owned());
    }
    for found in marked {
        let body = &readme[found.get(0).unwrap().end()..];
        let body = &body[..body.find("```").unwrap()];
        let file = fs::read_to_string(Path::new(ROOT).join(&found[1]));
        let file = file.unwrap_or_default();
        let lines: Vec<&str> = file.lines().skip(3).collect();
        if body.trim_end() != lines.join("\n") {
            problems.push(format!("differs from {}", &found[1]));
        }
    }
    let link = Regex::new(r"\]\(([^)#]+)(?:#[^)]*)?\)").unwrap();
    for found in link.captures_iter(readme) {
        let target = &found[1];
        let is_web = target.starts_with("https://");
        if !is_web && !Path::new(ROOT).join(target).exists() {
            problems.push(format!("a link to nowhere: {target}"));
        }
    }
    problems
}

#[test]
fn the_readme_shows_what_the_tests_saw() {
    let readme = fs::read_to_string(format!("{ROOT}/README.md")).unwrap();
    assert!(readme.contains("```console"), "the README has a transcript");
    assert_fine(readme_problems(&readme));
}

#[test]
fn a_readme_that_lies_is_found() {
    let readme = fs::read_to_string(format!("{ROOT}/README.md")).unwrap();
    let lie = readme.replace("14 bytes", "15 bytes");
    assert_found(readme_problems(&lie), "differs from tests/snapshots/");
    let other = format!("{readme}\n```console\n$ true\n```\n");
    assert_found(readme_problems(&other), "names no snapshot");
    let link = format!("{readme}\n[here](nowhere.md)\n");
    assert_found(readme_problems(&link), "a link to nowhere");
}

// ---- Every link of the built book resolves

/// Builds the book into a folder, as `mdbook build book` does.
fn built() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut book = MDBook::load(format!("{ROOT}/book")).unwrap();
    book.config.build.build_dir = folder.path().to_owned();
    book.build().unwrap();
    folder
}

/// Links, images and fragments of all pages in a folder that lead nowhere.
fn dead_links(folder: &Path) -> Vec<String> {
    let link = Regex::new(r#"(?:href|src)="([^"]+)""#).unwrap();
    let id = Regex::new(r#"(?:id|name)="([^"]+)""#).unwrap();
    let mut ids: BTreeMap<PathBuf, BTreeSet<String>> = BTreeMap::new();
    let mut mains: Vec<(PathBuf, String)> = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "html") {
            continue;
        }
        let html = fs::read_to_string(&path).unwrap();
        let found = id.captures_iter(&html).map(|id| id[1].to_owned());
        ids.insert(path.clone(), found.collect());
        let main = html.split("<main>").nth(1).unwrap_or(&html);
        let main = main.split("</main>").next().unwrap();
        mains.push((path, main.to_owned()));
    }
    let mut problems = Vec::new();
    for (path, main) in &mains {
        let page = path.file_name().unwrap().to_string_lossy();
        for found in link.captures_iter(main) {
            let target = &found[1];
            if let Err(why) = follow(target, path, &ids) {
                problems.push(format!("{page}: {target}: {why}"));
            }
        }
    }
    problems
}

fn follow(
    target: &str,
    page: &Path,
    ids: &BTreeMap<PathBuf, BTreeSet<String>>,
) -> Result<(), String> {
    if target.starts_with("https://") {
        return Ok(()); // not ours; and tests make no outside request
    }
    if target.contains("://") {
        return Err("neither https nor a page of the book".to_owned());
    }
    let (file, fragment) = target.split_once('#').unwrap_or((target, ""));
    let file = match file {
        "" => page.to_owned(),
        name => page.with_file_name(name),
    };
    if !file.exists() {
        return Err("no such page".to_owned());
    }
    let known = ids.get(&file).is_some_and(|ids| ids.contains(fragment));
    match fragment.is_empty() || known {
        true => Ok(()),
        false => Err("no such place on the page".to_owned()),
    }
}

#[test]
fn every_link_resolves() {
    let folder = built();
    let pages = fs::read_dir(folder.path()).unwrap().count();
    assert!(pages > 8);
    assert_fine(dead_links(folder.path()));
    let html = fs::read_to_string(folder.path().join("server.html")).unwrap();
    assert!(!html.contains("{{#"), "an include was not replaced");
}

#[test]
fn dead_links_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let html = r##"<main><p id="here">
        <a href="#here">fine</a> <a href="#there">dead</a>
        <a href="page.html#here">fine</a> <a href="none.html">dead</a>
        <a href="https://www.rfc-editor.org/rfc/rfc9293">fine</a>
        <a href="http://example.com">dead</a> <img src="none.png">
        </p></main>"##;
    fs::write(folder.path().join("page.html"), html).unwrap();
    let problems = dead_links(folder.path());
    assert_eq!(problems.len(), 4, "{problems:?}");
    for dead in ["#there", "none.html", "http://example.com", "none.png"] {
        assert_found(problems.clone(), dead);
    }
}

// ---- The index of ideas: sorted, complete, and each name is in its file

/// An entry is `- **words**: links; `name` in `file`, …`.
fn wrong_ideas(index: &str, summary: &str) -> Vec<String> {
    let entry = Regex::new(r"^- \*\*(.+?)\*\*: \[.+\]\(.+\)").unwrap();
    let place = Regex::new(r"`([\w!]+)` in `([^`]+)`").unwrap();
    let mut problems = Vec::new();
    let mut last = String::new();
    for line in index.lines() {
        if line.starts_with('#') {
            last.clear();
        } else if let Some(words) = entry.captures(line) {
            let key = sort_key(&words[1]);
            if key <= last {
                problems.push(format!("{key:?} stands below {last:?}"));
            }
            last = key;
        } else if line.starts_with("- ") {
            problems.push(format!("no words and a link: {line}"));
        }
        let places = place.captures_iter(line);
        problems.extend(places.filter_map(|f| lost_name(&f[1], &f[2])));
    }
    let linked: BTreeSet<&str> = linked_pages(index).collect();
    let missing = linked_pages(summary)
        .filter(|page| *page != "ideas.md" && !linked.contains(page));
    problems.extend(missing.map(|page| format!("no idea leads to {page}")));
    problems
}

/// The pages that a text links to, in order.
fn linked_pages(text: &str) -> impl Iterator<Item = &str> {
    let links = text.split("](").skip(1);
    let targets = links.filter_map(|rest| rest.split(['#', ')']).next());
    targets.filter(|target| target.ends_with(".md"))
}

/// Words of letters and digits only, so that `` `.await` `` stands under A.
fn sort_key(words: &str) -> String {
    let words = words.to_lowercase();
    let words = words.split(|c: char| !c.is_alphanumeric());
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

fn lost_name(name: &str, file: &str) -> Option<String> {
    let text = fs::read_to_string(Path::new(ROOT).join(file));
    let word = Regex::new(&format!(r"\b{name}\b")).unwrap();
    let is_there = text.is_ok_and(|text| word.is_match(&text));
    (!is_there).then(|| format!("no {name} in {file}"))
}

#[test]
fn the_index_of_ideas_finds_what_it_names() {
    let pages = pages();
    let (index, summary) =
        (&pages["book/src/ideas.md"], &pages["book/src/SUMMARY.md"]);
    assert_fine(wrong_ideas(index, summary));
    for (old, new, problem) in [
        ("`decode` in `steps", "`decoder` in `steps", "no decoder in steps"),
        ("**`accept` fails**", "**zeros**", "stands below \"zeros\""),
        ("(uses.md#table)", "(frames.md)", "no idea leads to uses.md"),
        ("**idle limit**: ", "idle limit: ", "no words and a link"),
    ] {
        let index = index.replace(old, new);
        assert_found(wrong_ideas(&index, summary), problem);
    }
}

// ---- The ways in: their minutes add up, and the map leaves nothing out

/// The sum of the minutes in the table below a heading.
fn minutes(ways: &str, id: &str) -> u32 {
    let row = Regex::new(r"(?m)^\| (\d+) \|").unwrap();
    let rows = row.captures_iter(section(ways, id));
    rows.map(|row| row[1].parse::<u32>().unwrap()).sum()
}

fn wrong_ways(ways: &str, summary: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let tables =
        [("#hour", 60), ("#first-evening", 180), ("#second-evening", 180)];
    for (id, due) in tables {
        let sum = minutes(ways, id);
        if sum != due {
            problems.push(format!("{id} takes {sum} minutes, not {due}"));
        }
    }
    let pages = linked_pages(summary);
    let pages = pages.skip_while(|page| *page != "introduction.md");
    let pages = pages.take_while(|page| !page.starts_with("teaching"));
    let map: BTreeSet<&str> = linked_pages(section(ways, "#map")).collect();
    let missing = pages.filter(|page| !map.contains(page));
    problems.extend(missing.map(|page| format!("the map leaves {page} out")));
    let commands = section(ways, "#impatient");
    let missing = programs()
        .into_iter()
        .filter(|program| !commands.contains(program.as_str()));
    problems.extend(missing.map(|program| format!("no command{program}")));
    problems
}

/// Rows of the two evenings with less time than a page needs: its minutes for
/// reading, and half of those for its exercises.
fn rushed(ways: &str, pages: &Pages) -> Vec<String> {
    let row = Regex::new(r"(?m)^\| (\d+) \| \[.+\]\((.+\.md)\) \|").unwrap();
    let needs = Regex::new(r"minutes: read (\d+), show \d+, do (\d+)").unwrap();
    let mut problems = Vec::new();
    for evening in ["#first-evening", "#second-evening"] {
        for found in row.captures_iter(section(ways, evening)) {
            let (_, [minutes, page]) = found.extract();
            let text = &pages[&format!("book/src/{page}")];
            let Some(times) = needs.captures(text) else { continue };
            let [read, work] = times.extract().1.map(half_minutes);
            if half_minutes(minutes) < read + work / 2 {
                problems.push(format!("{page} needs more than {minutes}"));
            }
        }
    }
    problems
}

fn half_minutes(minutes: &str) -> u32 {
    2 * minutes.parse::<u32>().unwrap()
}

/// How Cargo is told to run each step, each program after them, and each tool.
fn programs() -> Vec<String> {
    let mut programs = Vec::new();
    for entry in fs::read_dir(format!("{ROOT}/steps")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.starts_with("step") {
            programs.push(format!(" --bin {name}`"));
        } else if path.join("Cargo.toml").exists() {
            programs.push(format!(" -p {name}`"));
        }
    }
    let tools = ["check --", "lab --", "load --", "sim`"];
    programs.extend(tools.map(|tool| format!(" -p {tool}")));
    programs
}

#[test]
fn the_ways_in_add_up() {
    let pages = pages();
    let (ways, summary) =
        (&pages["book/src/ways-in.md"], &pages["book/src/SUMMARY.md"]);
    assert_fine(wrong_ways(ways, summary));
    assert_fine(rushed(ways, &pages));
    let hasty = ways.replace("| 55 |", "| 42 |");
    assert_found(rushed(&hasty, &pages), "server.md needs more than 42");
    for (old, new, problem) in [
        ("| 5 |", "| 6 |", "#hour takes 64 minutes, not 60"),
        ("| 55 |", "| 45 |", "#first-evening takes 170 minutes, not 180"),
        ("| 25 | [Check", "| 5 | [Check", "#second-evening takes 160"),
        ("[WAN](wan.md)", "WAN", "the map leaves wan.md out"),
        ("cargo run -p udp", "udp", "no command -p udp"),
        ("--bin step6`", "--bin step5`", "no command --bin step6"),
    ] {
        let ways = ways.replace(old, new);
        assert_found(wrong_ways(&ways, summary), problem);
    }
}

// ---- The README tells a new reader what first-contact.sh tries

/// Commands that the script types and the README does not show.
fn untold(script: &str, readme: &str) -> Vec<String> {
    let command = Regex::new(r"(?m)(cargo run .+).$").unwrap(); // and a quote
    let commands = command.captures_iter(script);
    let commands: BTreeSet<&str> =
        commands.map(|found| found.extract::<1>().1[0]).collect();
    assert!(commands.len() >= 4, "the script types {commands:?}");
    let is_untold = |command: &&str| !readme.contains(command);
    commands.into_iter().filter(is_untold).map(str::to_owned).collect()
}

#[test]
fn the_readme_shows_what_first_contact_tries() {
    let read = |file| fs::read_to_string(format!("{ROOT}/{file}")).unwrap();
    let (script, readme) = (read("tests/first-contact.sh"), read("README.md"));
    assert_fine(untold(&script, &readme));
    let other = readme.replace("-p book", "-p other");
    assert_found(untold(&script, &other), "cargo run -p book");
}
