//! JUnit XML, as CI services read it.

use std::io;

use quick_xml::Writer;
use quick_xml::events::BytesText;

use crate::case::Case;
use crate::report::{Obstacle, Report};
use crate::run::Result;
use crate::verdict::Verdict;

type Xml = Writer<Vec<u8>>;

pub fn junit(report: &Report) -> String {
    let mut xml = Writer::new_with_indent(Vec::new(), b' ', 2);
    // Writing to memory cannot fail.
    let _ = suite(&mut xml, report);
    let body = String::from_utf8_lossy(&xml.into_inner()).into_owned();
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{body}\n")
}

fn suite(xml: &mut Xml, report: &Report) -> io::Result<()> {
    let name = format!("{} step{}", report.side.name(), report.step);
    let is_failed = |r: &&Result| report.is_failure(&r.verdict);
    let failures = report.results.iter().filter(is_failed).count();
    // If the program did not start, each case is an error, so that the
    // report lists every case.
    let left = report.left_out.len();
    let errors = report.count("unknown") + left;
    let (points, most) = report.score();
    xml.create_element("testsuite")
        .with_attributes([
            ("name", name.as_str()),
            ("tests", &(report.results.len() + left).to_string()),
            ("failures", &failures.to_string()),
            ("errors", &errors.to_string()),
            ("skipped", &report.count("skip").to_string()),
        ])
        .write_inner_content(|xml| {
            let mut values = vec![
                ("seed", report.seed.to_string()),
                ("points", points.to_string()),
                ("max_points", most.to_string()),
            ];
            let command = report.command.iter();
            values.extend(command.map(|c| ("command", c.clone())));
            properties(xml, &values)?;
            let mut cases = report.results.iter();
            cases.try_for_each(|result| case(xml, report, result))?;
            let mut left = report.left_out.iter();
            left.try_for_each(|case| not_tried(xml, report, case))
        })?;
    Ok(())
}

fn properties(xml: &mut Xml, values: &[(&str, String)]) -> io::Result<()> {
    xml.create_element("properties").write_inner_content(|xml| {
        for (name, value) in values {
            let attributes = [("name", *name), ("value", value.as_str())];
            let property = xml.create_element("property");
            property.with_attributes(attributes).write_empty()?;
        }
        Ok(())
    })?;
    Ok(())
}

fn case(xml: &mut Xml, report: &Report, result: &Result) -> io::Result<()> {
    let points = report.points(result);
    test_case(xml, report, result.case, points, |xml| {
        verdict(xml, report, result)
    })
}

fn not_tried(xml: &mut Xml, report: &Report, case: &Case) -> io::Result<()> {
    let why = report.obstacle.as_ref().map(Obstacle::line);
    let why = why.unwrap_or_else(|| "not tried".to_owned());
    test_case(xml, report, case, 0, |xml| {
        let error = xml.create_element("error");
        error.with_attribute(("message", why.as_str())).write_empty()?;
        Ok(())
    })
}

fn test_case(
    xml: &mut Xml,
    report: &Report,
    case: &Case,
    points: u32,
    inner: impl FnOnce(&mut Xml) -> io::Result<()>,
) -> io::Result<()> {
    let name = format!("{} {}", case.id, case.title);
    let class = format!("{}.step{}", report.side.name(), report.step);
    let element = xml
        .create_element("testcase")
        .with_attribute(("classname", class.as_str()))
        .with_attribute(("name", name.as_str()));
    element.write_inner_content(|xml| {
        let points = points.to_string();
        let most = case.weight().to_string();
        properties(xml, &[("points", points), ("max_points", most)])?;
        inner(xml)
    })?;
    Ok(())
}

fn verdict(xml: &mut Xml, report: &Report, result: &Result) -> io::Result<()> {
    let (tag, message) = match &result.verdict {
        Verdict::Pass => return Ok(()),
        Verdict::Skip(why) => ("skipped", why.clone()),
        Verdict::Unknown(why) => ("error", why.clone()),
        Verdict::Warn(f) if !report.is_strict => {
            ("system-out", f.meaning.clone())
        }
        Verdict::Warn(f) | Verdict::Fail(f) => ("failure", f.meaning.clone()),
    };
    let mut element = xml.create_element(tag);
    if tag != "system-out" {
        element = element.with_attribute(("message", message.as_str()));
    }
    match result.verdict.failure() {
        None => element.write_empty()?,
        Some(_) => {
            let details = report.details(result);
            element.write_text_content(BytesText::new(&details))?
        }
    };
    Ok(())
}
