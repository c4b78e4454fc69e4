"""An event against OCSF 1.8.0, in two passes.

Pass 1 is the JSON Schema of the event's class and profiles (ocsf-json-schema, which embeds the compiled schema, so
nothing is fetched). Pass 2 is what JSON Schema cannot say.
"""

import re

import jsonschema
from hygiene import leaves
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

VERSION = "1.8.0"
# In ms these are 2001 and 2286: a time in seconds or in microseconds is outside for as long as anyone runs this.
TIME_LIMITS = range(10**12, 10**13)


class Schema:
    """OCSF, compiled."""

    def __init__(self):
        self.raw = get_ocsf_schema(VERSION)
        self.embedded = OcsfJsonSchemaEmbedded(self.raw)
        self.classes = {c["uid"]: (name, c) for name, c in self.raw["classes"].items()}
        self.validators = {}
        self.types = self.raw["dictionary"]["types"]["attributes"]

    def validator(self, class_name, profiles):
        """Made once for each class and set of profiles: that, and loading, is most of the run time of a short log."""
        if (key := (class_name, frozenset(profiles))) not in self.validators:
            made = self.embedded.get_class_schema(class_name, sorted(key[1]))
            self.validators[key] = jsonschema.Draft202012Validator(made)
        return self.validators[key]

    def is_integer(self, kind):
        return {kind, self.types.get(kind, {}).get("type")} & {"integer_t", "long_t"}

    def class_of(self, uid):
        # By type too, since True would find class 1.
        return self.classes.get(uid, (None, None)) if type(uid) is int else (None, None)


class Walk:
    """What JSON Schema cannot say of one event."""

    def __init__(self, schema):
        self.schema = schema
        self.problems = []

    def say(self, path, problem):
        self.problems.append((path, problem))

    def event(self, event, class_, known_profiles):
        say = self.say
        uid, activity, type_uid = (event.get(k) for k in ("class_uid", "activity_id", "type_uid"))
        if isinstance(activity, int) and type_uid != uid * 100 + activity:
            say("type_uid", f"{type_uid}, but class_uid * 100 + activity_id is {uid * 100 + activity}")
        if "@deprecated" in class_:
            say("class_uid", f"class {uid} is deprecated")
        for profile in known_profiles:
            if profile not in (class_.get("profiles") or []):
                say("metadata.profiles", f"{profile} does not apply to class {uid}")
        self.attributes(event, class_["attributes"], "")
        for kind, path, it in leaves(event):
            if it is None:
                say(path, "null")
            elif isinstance(it, str):
                self.string(kind, path, it)
        self.observables(event)

    def string(self, kind, path, text):
        if not text.strip():
            self.say(path, f"empty {kind}")
        if any("\ud800" <= c <= "\udfff" for c in text):
            self.say(path, "half a surrogate pair")

    def attributes(self, value, attributes, path):
        for key, below in value.items():
            # An unknown key is pass 1's to report, and unmapped data has no schema.
            if spec := attributes.get(key):
                self.attribute(value, key, below, spec, f"{path}.{key}" if path else key)

    def attribute(self, parent, key, value, spec, path):
        if "@deprecated" in spec:
            self.say(path, f"deprecated since {spec['@deprecated'].get('since')}")
        if "enum" in spec:
            self.enum(parent, key, value, spec, path)
        for i, item in enumerate(value if isinstance(value, list) else [value]):
            here = f"{path}[{i}]" if isinstance(value, list) else path
            if isinstance(item, dict) and "object_type" in spec:
                object_ = self.schema.raw["objects"][spec["object_type"]]
                if "@deprecated" in object_:
                    self.say(here, f"object {spec['object_type']} is deprecated")
                self.attributes(item, object_["attributes"], here)
            elif isinstance(item, float) and self.schema.is_integer(spec["type"]):
                self.say(here, f"{item} has a fraction, which JSON Schema overlooks where it is zero")
            elif isinstance(item, int) and not -(2**63) <= item < 2**63:
                self.say(here, f"{item} does not fit 64 bits")
            elif spec["type"] == "timestamp_t" and isinstance(item, int) and item not in TIME_LIMITS:
                self.say(here, f"{item} is not in milliseconds")

    def enum(self, parent, key, value, spec, path):
        """The text beside an id must be the id's caption; beside 99 (other) it must be the source's own word."""
        listed = isinstance(value, list)
        ids = value if listed else [value]
        words = parent.get(spec.get("sibling"))
        captions = {e["caption"]: id_ for id_, e in spec["enum"].items()}
        for i, id_ in enumerate(ids):
            entry = spec["enum"].get(str(id_))
            if entry is None:
                continue  # Pass 1 reports it.
            if "@deprecated" in entry:
                self.say(path, f"{id_} ({entry['caption']}) is deprecated")
            if "sibling" not in spec:
                continue
            word = words[i] if listed and isinstance(words, list) and i < len(words) else words
            if id_ == 99 and (word is None or word == entry["caption"]):
                self.say(path, f"99 without the source's own word in {spec['sibling']}")
            elif id_ == 99 and str(word) in captions:
                self.say(path, f"99, but {word!r} is {captions[word]}")
            elif id_ != 99 and word is not None and word != entry["caption"]:
                self.say(path, f"{id_} is {entry['caption']!r}, but {spec['sibling']} says {word!r}")

    def observables(self, event):
        listed = event.get("observables")
        for i, observable in enumerate(listed if isinstance(listed, list) else []):
            if not isinstance(observable, dict) or not isinstance(observable.get("name"), str):
                continue
            path, found = f"observables[{i}]", self.resolve(event, observable["name"])
            scalars = {str(f) for f in found if not isinstance(f, (dict, list))}
            if not found:
                self.say(f"{path}.name", f"{observable['name']!r} is no attribute of this event")
            elif "value" in observable and observable["value"] not in scalars:
                self.say(f"{path}.value", f"is not the value of {observable['name']}")

    @staticmethod
    def resolve(event, name):
        """The values that a.b, a[].b or a[0].b refers to; OCSF allows all three for a list."""
        found = [event]
        for step in name.split("."):
            key, index = re.fullmatch(r"(.*?)(?:\[(\d*)\])?", step, re.DOTALL).groups()
            below = [f[key] for f in found if isinstance(f, dict) and key in f]
            flat = [item for b in below for item in (b if isinstance(b, list) else [b])]
            found = flat[int(index):int(index) + 1] if index else flat
        return found


def said(error):
    # jsonschema would print the whole object here, and no attribute's name.
    if how := {"anyOf": "at least", "oneOf": "exactly"}.get(error.validator):
        return f"needs {how} one of {', '.join(name for way in error.validator_value for name in way['required'])}"
    return error.message


def check_event(schema, event):
    """Both passes over one event: (path, problem)."""
    metadata = event.get("metadata") if isinstance(event.get("metadata"), dict) else {}
    if metadata.get("version") != VERSION:
        yield "metadata.version", f"{metadata.get('version')!r}, not {VERSION}"
    name, class_ = schema.class_of(event.get("class_uid"))
    if class_ is None:
        yield "class_uid", f"{event.get('class_uid')!r} is no class"
        return
    listed = metadata.get("profiles")
    profiles = [p for p in listed if isinstance(p, str)] if isinstance(listed, list) else []
    known = [p for p in profiles if p in schema.raw["profiles"]]
    for profile in set(profiles) - set(known):
        yield "metadata.profiles", f"{profile!r} is no profile"
    if len(set(profiles)) < len(profiles):
        yield "metadata.profiles", "a profile twice"
    for error in schema.validator(name, known).iter_errors(event):
        yield error.json_path.removeprefix("$").removeprefix("."), said(error)
    walk = Walk(schema)
    walk.event(event, class_, known)
    yield from walk.problems
