#!/usr/bin/env python3
"""Validate narrowgate's audit log: JSON Lines, each line one OCSF 1.8.0 event.

hygiene.py looks at each line as it was written and looks for secrets, ocsf.py at the event in it; this is the command.
Exit 0: valid. Exit 1: the first problems are listed. Exit 2: usage.
"""

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

import hygiene
import ocsf

PROBLEMS_SHOWN = 20


class Report:
    def __init__(self):
        self.events, self.classes, self.codes, self.problems = 0, set(), Counter(), []

    def problem(self, file, line, path, problem):
        # Escaped and cut, so that what is wrong with a log cannot go wrong on a terminal.
        tidy = [str(s).encode("unicode_escape").decode()[:300] for s in (path or "-", problem)]
        self.problems.append({"file": file, "line": line, "path": tidy[0], "problem": tidy[1]})


def check_log(schema, canaries, name, data, report):
    if not data:
        return report.problem(name, 0, "", "empty file")
    *lines, rest = data.split(b"\n")
    if rest:
        report.problem(name, len(lines) + 1, "", "no newline at the end of the file")
        lines.append(rest)
    for number, raw in enumerate(lines, 1):
        event, problems = hygiene.read_line(raw)
        found = [("", p) for p in problems]
        found += [*hygiene.secret_shapes(raw, event), *hygiene.canary_hits(canaries, raw, event)]
        if event is not None:
            report.events += 1
            report.classes.add(str(event.get("class_uid")))
            metadata = event.get("metadata")
            if isinstance(metadata, dict) and isinstance(metadata.get("event_code"), str):
                report.codes[metadata["event_code"]] += 1
            found += ocsf.check_event(schema, event)
        for path, problem in found:
            report.problem(name, number, path, problem)


def main(argv):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", metavar="FILE", help="JSON Lines; '-' is standard input")
    parser.add_argument("--require-codes", default="", metavar="A,B", help="each metadata.event_code must appear")
    parser.add_argument("--canaries", metavar="FILE", help="secrets, one a line, that must not appear in any form")
    parser.add_argument("--json", action="store_true", help="report as one JSON object")
    options = parser.parse_args(argv)
    schema, report = ocsf.Schema(), Report()
    try:
        canaries = hygiene.read_canaries(options.canaries) if options.canaries else []
        logs = [(name, sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()) for name in options.files]
    except (OSError, ValueError) as problem:
        parser.error(str(problem))
    for name, data in logs:
        check_log(schema, canaries, name, data, report)
    for code in filter(None, options.require_codes.split(",")):
        if code not in report.codes:
            report.problem("-", 0, "metadata.event_code", f"no event is {code}")
    if options.json:
        print(json.dumps({"ok": not report.problems, "events": report.events, "classes": sorted(report.classes),
                          "codes": report.codes, "problem_count": len(report.problems),
                          "problems": report.problems[:PROBLEMS_SHOWN]}))
    elif not report.problems:
        print(f"{report.events} events, {len(report.classes)} classes, valid")
    else:
        for p in report.problems[:PROBLEMS_SHOWN]:
            print(f"{p['file']}:{p['line']}: {p['path']}: {p['problem']}")
        if (more := len(report.problems) - PROBLEMS_SHOWN) > 0:
            print(f"... and {more} more")
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
