"""A line of the audit log as bytes and text: what log shippers see, and what must never be in it."""

import base64
import json
import re
import urllib.parse
from collections import Counter
from pathlib import Path

LINE_LIMIT = 64 * 1024  # With its line feed.
CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff]")
SECRET_SHAPES = {
    "a JWT": re.compile(r"eyJ[\w-]{5,}\.[\w-]+\.[\w-]*"),
    # Prose may say "Bearer token": only a word with a digit, or one too long for a word, is taken for a credential.
    "a Bearer credential": re.compile(r"\bbearer\s+(?:(?=\S*\d)[\w.~+/-]{8,}|[\w.~+/-]{20,})", re.IGNORECASE),
    "PEM": re.compile(r"-----BEGIN [A-Z0-9 ]+-----"),
}


def read_line(raw):
    """The event in a line, and what is wrong with the line."""
    problems = []
    if len(raw) + 1 > LINE_LIMIT:
        problems.append(f"{len(raw) + 1} bytes, more than {LINE_LIMIT}")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        return None, [*problems, f"not UTF-8: {error.reason} at byte {error.start}"]
    if found := CONTROLS.search(text):
        problems.append(f"raw U+{ord(found[0]):04X} at character {found.start()}")

    def unique(pairs):
        problems.extend(f"duplicate key {key!r}" for key, n in Counter(k for k, _ in pairs).items() if n > 1)
        return dict(pairs)

    try:
        event = json.loads(text, object_pairs_hook=unique, parse_constant=lambda c: problems.append(f"{c} is no JSON"))
    except (ValueError, RecursionError) as error:
        return None, [*problems, f"not JSON: {error}"]
    if not isinstance(event, dict):
        return None, [*problems, "not a JSON object"]
    return event, problems


def leaves(value, path=""):
    """Every key and every scalar of a JSON value, with its path: ('key' | 'value', path, it)."""
    if isinstance(value, dict):
        for key, below in value.items():
            here = f"{path}.{key}" if path else key
            yield "key", here, key
            yield from leaves(below, here)
    elif isinstance(value, list):
        for i, below in enumerate(value):
            yield from leaves(below, f"{path}[{i}]")
    else:
        yield "value", path, value


def secret_shapes(raw, event):
    """What looks like a credential: (path, problem). A line that is no event is searched as it is."""
    texts = leaves(event) if event is not None else [("value", "", raw.decode("utf-8", "replace"))]
    for _, path, text in texts:
        for name, shape in SECRET_SHAPES.items():
            if isinstance(text, str) and shape.search(text):
                yield path, f"looks like {name}"


def canary_forms(secret):
    """What a secret may look like: itself, in hex, and in base64 at each of the three alignments."""
    raw = secret.encode()
    forms = {"plain": secret, "hex": raw.hex(), "HEX": raw.hex().upper()}
    for lead in range(3):
        encoded = base64.b64encode(bytes(lead) + raw).decode().rstrip("=")
        # The outer characters also hold bits of the neighbours, which are unknown.
        inner = encoded[(0, 2, 3)[lead]:len(encoded) - (1 if (lead + len(raw)) % 3 else 0)]
        forms[f"base64+{lead}"] = inner
        forms[f"base64url+{lead}"] = inner.replace("+", "-").replace("/", "_")
    return forms


def canary_hits(canaries, raw, event):
    """Canaries in a line, as written and as any reader would decode it. Named by number: a report must not leak."""
    text = raw.decode("utf-8", "replace")
    if event is not None:
        text = "\n".join([text, *(str(it) for _, _, it in leaves(event))])
    # Decoding the line finds every percent-encoding, full or partial, and a doubled one.
    once = urllib.parse.unquote(text)
    hay = "\0".join({text, once, urllib.parse.unquote_plus(text), urllib.parse.unquote(once)})
    for number, forms in canaries:
        if found := next((form for form, needle in forms.items() if needle in hay), None):
            yield "", f"canary {number} ({found})"


def read_canaries(path):
    secrets = [(n, s) for n, s in enumerate(Path(path).read_text("utf-8").splitlines(), 1) if s]
    if short := [n for n, s in secrets if len(s) < 8]:
        raise ValueError(f"{path}: canaries on lines {short} are too short to look for")
    return [(n, canary_forms(s)) for n, s in secrets]
