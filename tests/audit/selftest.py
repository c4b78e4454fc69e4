#!/usr/bin/env python3
"""Does validate.py find what it says it finds? Sound events pass; each of them spoilt in one way does not."""

import base64
import contextlib
import copy
import io
import json
import sys
import tempfile
import urllib.parse
from pathlib import Path

import validate

SECRET = "canary/code+7f3a~Zq9_x"


def event(class_uid, class_name, category, activity, profiles, code, **more):
    category_uid, category_name = category
    activity_id, activity_name = activity
    return {
        "metadata": {"version": "1.8.0", "product": {"name": "narrowgate", "vendor_name": "Narrowgate Project"},
                     "uid": "01KAF9Q2000000000000000102", "sequence": 102, "event_code": code, "profiles": profiles},
        "category_uid": category_uid, "category_name": category_name, "class_uid": class_uid, "class_name": class_name,
        "activity_id": activity_id, "activity_name": activity_name, "type_uid": class_uid * 100 + activity_id,
        "type_name": f"{class_name}: {activity_name}", "time": 1795420800227, "severity_id": 1,
        "severity": "Informational", **more}


AGENT = {"uid": "spiffe://prod.example/ns/agents/sa/invoice-bot", "name": "invoice-bot", "type_id": 4,
         "type": "Service"}
DENIED = event(
    6003, "API Activity", (6, "Application Activity"), (1, "Create"), ["security_control", "host"], "exchange.decided",
    actor={"user": AGENT}, api={"operation": "RedeemCode", "request": {"uid": "req-2"}},
    src_endpoint={"svc_name": "narrowgate-agent-api", "type_id": 1, "type": "Server"},
    resources=[{"uid": "https://erp.example/api", "name": "erp-api", "role_id": 1, "role": "Target"}],
    action_id=2, action="Denied", disposition_id=2, disposition="Blocked", status_id=2, status="Failure",
    observables=[{"name": "actor.user.uid", "type_id": 31, "type": "User Object: uid", "value": AGENT["uid"]},
                 {"name": "resources[].name", "type_id": 38, "type": "Resource Details Object: name",
                  "value": "erp-api"}],
    unmapped={"narrowgate": {"deny_kind": "no_permit", "removed": [], "note": "a Bearer token was asked for"}})
ISSUED = event(
    3003, "Authorize Session", (3, "Identity & Access Management"), (1, "Assign Privileges"),
    ["security_control", "host"], "token.issued", user=AGENT, actor={"user": AGENT}, privileges=["erp.read"],
    session={"uid": "hk1:1f5994350c9842d20c8305d4214097a6", "created_time": 1795420800123}, status_id=1,
    status="Success")
CHANGED = event(
    3004, "Entity Management", (3, "Identity & Access Management"), (3, "Update"), ["host"], "config.changed",
    actor={"user": AGENT}, entity={"name": "narrowgate.toml", "type_id": 99, "type": "Configuration"})
SOUND = (DENIED, ISSUED, CHANGED)


def line(value):
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"


def spoilt(value, path, new):
    """A copy with one attribute set, or taken away where `new` is `del`."""
    value = copy.deepcopy(value)
    *way, last = path.split(".")
    inside = value
    for step in way:
        inside = inside[int(step)] if isinstance(inside, list) else inside[step]
    if new == "del":
        del inside[last]
    else:
        inside[int(last) if isinstance(inside, list) else last] = new
    return line(value)


def swapped(old, new, value=DENIED):
    """The line with some bytes changed: for what no JSON writer would write."""
    assert old in line(value), old
    return line(value).replace(old, new, 1)


FOUND = [  # What is wrong, the log, and a part of the report on it.
    ("empty file", b"", "empty file"),
    ("no last newline", line(DENIED)[:-1], "no newline at the end"),
    ("blank line", line(DENIED) + b"\n", ":2: -: not JSON"),
    ("not an object", b"[]\n", "not a JSON object"),
    ("not UTF-8", swapped(b"invoice-bot", b"invoice\xffbot"), "not UTF-8"),
    ("carriage return", swapped(b"}\n", b"}\r\n"), "raw U+000D"),
    ("line separator", spoilt(DENIED, "message", "a\u2028b"), "raw U+2028"),
    ("duplicate key", swapped(b'"class_uid"', b'"class_uid": 1, "class_uid"'), "duplicate key"),
    ("NaN", swapped(b'"note"', b'"risk": NaN, "note"'), "NaN is no JSON"),
    ("line too long", spoilt(DENIED, "unmapped.narrowgate.note", "x" * 65536), "more than 65536"),
    ("half a surrogate", swapped(b"no_permit", b"\\ud800"), "half a surrogate"),
    ("unknown class", spoilt(DENIED, "class_uid", 6099), "class_uid: 6099 is no class"),
    ("unknown attribute", spoilt(DENIED, "actor.user.shoe_size", 44), "'shoe_size' was unexpected"),
    ("required attribute gone", spoilt(DENIED, "api", "del"), "'api' is a required property"),
    ("wrong type", spoilt(DENIED, "actor.user.name", 7), "actor.user.name: 7 is not of type 'string'"),
    ("just one of", spoilt(ISSUED, "group", {"name": "g"}), "needs exactly one of"),
    ("at least one of", spoilt(ISSUED, "user", {"type_id": 1}), "user: needs at least one of"),
    ("type_uid", spoilt(DENIED, "type_uid", 600302), "class_uid * 100 + activity_id is 600301"),
    ("other version", spoilt(DENIED, "metadata.version", "1.7.0"), "'1.7.0', not 1.8.0"),
    ("no such profile", spoilt(DENIED, "metadata.profiles.1", "hots"), "'hots' is no profile"),
    ("profile does not apply", spoilt(ISSUED, "metadata.profiles.1", "trace"), "trace does not apply to class 3003"),
    ("attribute of a profile not listed", spoilt(DENIED, "metadata.profiles", ["host"]), "'action_id'"),
    ("unknown enum value", spoilt(DENIED, "action_id", 77), "action_id: 77 is not one of"),
    ("99 without its word", spoilt(CHANGED, "entity.type", "del"), "entity.type_id: 99 without"),
    ("99 with the enum's word", spoilt(CHANGED, "entity.type", "Other"), "entity.type_id: 99 without"),
    ("99 for what has an id", spoilt(CHANGED, "entity.type", "User"), "entity.type_id: 99, but 'User' is"),
    ("sibling contradicts", spoilt(DENIED, "disposition", "Allowed"), "2 is 'Blocked', but disposition says"),
    ("deprecated attribute", spoilt(DENIED, "actor.user.credential_uid", "c1"), "deprecated since 1.6.0"),
    ("time in seconds", spoilt(DENIED, "time", 1795420800), "time: 1795420800 is not in milliseconds"),
    ("nested time in seconds", spoilt(ISSUED, "session.created_time", 1795420800), "session.created_time: 1795420800"),
    ("time with a fraction", spoilt(DENIED, "time", 1795420800227.0), "has a fraction"),
    ("number too large", spoilt(DENIED, "timezone_offset", 2**63), "does not fit 64 bits"),
    ("null", spoilt(DENIED, "unmapped.narrowgate.deny_kind", None), "unmapped.narrowgate.deny_kind: null"),
    ("empty string", spoilt(DENIED, "status_detail", ""), "status_detail: empty value"),
    ("empty key", spoilt(DENIED, "unmapped.narrowgate.", "x"), "empty key"),
    ("observable of nothing", spoilt(DENIED, "observables.0.name", "actor.user.uuid"), "is no attribute"),
    ("observable of another value", spoilt(DENIED, "observables.1.value", "crm-api"), "is not the value of"),
    ("JWT", spoilt(DENIED, "status_detail", "got eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0."), "looks like a JWT"),
    ("escaped JWT", swapped(b"no_permit", b"\\u0065yJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0."), "looks like a JWT"),
    ("Bearer", spoilt(DENIED, "unmapped.narrowgate.note", "authorization: bearer sk3a9fQx"), "a Bearer credential"),
    ("PEM", spoilt(DENIED, "message", "-----BEGIN EC PRIVATE KEY-----"), "looks like PEM"),
    *((f"canary, {how}", spoilt(DENIED, "unmapped.narrowgate.note", f"seen {text} there"), "canary 2 (")
      for how, text in (
          ("plain", SECRET), ("percent-encoded", urllib.parse.quote(SECRET, safe="")),
          ("percent-encoded twice", urllib.parse.quote(urllib.parse.quote(SECRET, safe=""), safe="")),
          ("every byte percent-encoded", "".join(f"%{b:02x}" for b in SECRET.encode())),
          ("hex", SECRET.encode().hex()),
          *((f"base64 after {n} bytes", base64.urlsafe_b64encode(b"x" * n + SECRET.encode() + b"\xff\xff").decode())
            for n in range(3)))),
    ("canary as a key", spoilt(DENIED, f"unmapped.narrowgate.{SECRET}", 1), "canary 2 ("),
    ("canary in a broken line", b'{"' + SECRET.encode() + b"\n", "canary 2 ("),
]


def run(log, *options):
    with tempfile.TemporaryDirectory() as scratch:
        path, canaries = Path(scratch) / "audit.jsonl", Path(scratch) / "canaries"
        path.write_bytes(log)
        canaries.write_text(f"another-secret-entirely\n{SECRET}\n")
        with contextlib.redirect_stdout(io.StringIO()) as out:
            code = validate.main([str(path), "--canaries", str(canaries), *options])
        return code, out.getvalue().replace(f"{path}", "audit.jsonl")


def main():
    everything = b"".join(map(line, SOUND))
    codes = "exchange.decided,token.issued,config.changed"
    tests = [
        ("sound events pass", run(everything, "--require-codes", codes), 0, "3 events, 3 classes, valid"),
        ("a code that never appears", run(everything, "--require-codes", codes + ",token.revoked"), 1,
         "no event is token.revoked"),
        ("--json, sound", run(everything, "--json"), 0, '"ok": true'),
        ("--json, spoilt", run(b"{}\n", "--json"), 1, '"line": 1'),
        ("20 problems at most", run(b"{}\n" * 30), 1, "... and 40 more"),
        *((what, run(log), 1, part) for what, log, part in FOUND),
    ]
    failed = 0
    for what, (code, out), wanted, part in tests:
        # A report that quotes the secret it found would put it into the test's own log.
        if code != wanted or part not in out or SECRET in out:
            failed += 1
            print(f"FAILED {what}: exit {code}, wanted {wanted} and {part!r} in:\n{out}")
    print(f"{len(tests) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
