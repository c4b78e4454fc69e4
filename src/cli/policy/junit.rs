//! JUnit's XML, as CI systems read it. There is no standard; this is what they agree on.

use std::fmt::Write;

/// Cases of one file.
pub(super) struct Suite {
    pub(super) name: String,
    pub(super) cases: Vec<Case>,
}

/// One case.
pub(super) struct Case {
    pub(super) name: String,
    /// The line of the suite's file, from 1.
    pub(super) line: Option<usize>,
    /// Why it failed.
    pub(super) failure: Option<String>,
}

/// The document.
pub(super) fn document(command: &str, suites: &[Suite]) -> String {
    let failures = |suite: &Suite| suite.cases.iter().filter(|case| case.failure.is_some()).count();
    let (tests, failed) = suites.iter().fold((0, 0), |all, it| (all.0 + it.cases.len(), all.1 + failures(it)));
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing to a text cannot fail.
    let _ = writeln!(xml, "<testsuites name=\"{}\" tests=\"{tests}\" failures=\"{failed}\">", escaped(command));
    for suite in suites {
        let (name, tests, failed) = (escaped(&suite.name), suite.cases.len(), failures(suite));
        let _ = writeln!(xml, "  <testsuite name=\"{name}\" tests=\"{tests}\" failures=\"{failed}\" errors=\"0\">");
        for case in &suite.cases {
            let line = case.line.map_or_else(String::new, |line| format!(" line=\"{line}\""));
            let of = escaped(&case.name);
            let _ = write!(xml, "    <testcase classname=\"{name}\" name=\"{of}\" file=\"{name}\"{line}");
            let _ = match &case.failure {
                None => writeln!(xml, "/>"),
                Some(why) => {
                    let why = escaped(why);
                    writeln!(xml, ">\n      <failure message=\"{why}\">{why}</failure>\n    </testcase>")
                }
            };
        }
        xml.push_str("  </testsuite>\n");
    }
    xml.push_str("</testsuites>\n");
    xml
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            '\t' => escaped.push_str("&#9;"),
            // XML 1.0 has no way to write them.
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}
