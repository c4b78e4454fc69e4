#!/usr/bin/env python3
"""A stock grpcio client of narrowgate's agent API: one call, one JSON object on standard output.

It stands for the agents people already have, so it uses grpcio's own means and nothing made for narrowgate. An answer
and a refusal both exit 0, since a test looks at either; 2 is a usage error, 1 anything the API promises not to do
(such as error details that do not decode).
"""

import argparse
import atexit
import importlib
import json
import os
import sys
import tempfile
from pathlib import Path

import grpc
from google.protobuf import json_format
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

PROTO = Path(__file__).resolve().parents[3] / "proto"
SERVICE_METHODS = ("BeginAuthorization", "RedeemCode", "GetToken", "RevokeGrant")


class Usage(Exception):
    """The command line cannot be carried out."""


def stubs():
    """Import the token stubs, made from the repository's own proto files and so never out of step with them."""
    where = os.environ.get("NARROWGATE_TEST_GEN")
    if where is None:
        # Not a fixed name under /tmp: this directory is imported from, and anyone could have made that one before us.
        keep = tempfile.TemporaryDirectory(prefix="narrowgate-gen-")
        atexit.register(keep.cleanup)
        where = keep.name
    generate(Path(where))
    sys.path.insert(0, where)
    importlib.import_module("narrowgate.v1.errors_pb2")  # What errors carry.
    return (importlib.import_module("narrowgate.v1.token_pb2"), importlib.import_module("narrowgate.v1.token_pb2_grpc"))


def generate(where):
    sources = sorted(PROTO.glob("narrowgate/v1/*.proto"))
    stems = [where / s.relative_to(PROTO).with_suffix("") for s in sources]
    made = [stem.with_name(stem.name + end) for stem in stems for end in ("_pb2.py", "_pb2_grpc.py")]
    if all(m.exists() for m in made) and min(m.stat().st_mtime for m in made) > max(s.stat().st_mtime for s in sources):
        return
    from grpc_tools import protoc  # Slow to import, and needed only here.

    where.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=where) as scratch:
        well_known = Path(protoc.__file__).parent / "_proto"
        flags = [f"-I{PROTO}", f"-I{well_known}", f"--python_out={scratch}", f"--grpc_python_out={scratch}"]
        if protoc.main(["protoc", *flags, *map(str, sources)]) != 0:
            raise SystemExit("protoc failed")
        for target in made:
            # Renamed into place, so that tests running at once never import half a file.
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(Path(scratch) / target.relative_to(where), target)


def arguments(argv):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", required=True, help="unix:/path/x.sock or host:port")
    parser.add_argument("--authority", help="the :authority to send; localhost by default on a Unix socket")
    parser.add_argument("--no-authority", action="store_true", help="leave :authority to grpcio")
    parser.add_argument("--ca", help="PEM file: trust this for the server; needed for TLS")
    parser.add_argument("--cert", help="PEM file: the client's chain")
    parser.add_argument("--key", help="PEM file: the client's key")
    parser.add_argument("--metadata", action="append", default=[], metavar="K=V")
    parser.add_argument("--timeout", type=float, default=10.0, metavar="SECONDS")
    parser.add_argument("method", choices=(*SERVICE_METHODS, "Health"), metavar="METHOD")
    parser.add_argument("json", metavar="JSON", help="the request; '-' reads standard input")
    options = parser.parse_args(argv)
    if options.authority and options.no_authority:
        parser.error("--authority and --no-authority exclude each other")
    if (options.cert or options.key) and not (options.ca and options.cert and options.key):
        parser.error("mTLS needs --ca, --cert and --key together")
    if options.ca and options.target.startswith("unix:"):
        parser.error("TLS is for TCP targets")
    if any("=" not in pair for pair in options.metadata):
        parser.error("--metadata takes K=V")
    return options


def channel(options):
    # A proxy variable of the machine that runs the tests must not decide where they go.
    settings = [("grpc.enable_http_proxy", 0)]
    authority = options.authority
    if authority is None and not options.no_authority and options.target.startswith("unix:"):
        # Stock grpcio sends the percent-encoded socket path as :authority, which HTTP/2 servers refuse as malformed.
        authority = "localhost"
    if authority is not None:
        settings.append(("grpc.default_authority", authority))
    if options.ca is None:
        return grpc.insecure_channel(options.target, options=settings)
    ca, key, cert = (Path(p).read_bytes() if p else None for p in (options.ca, options.key, options.cert))
    return grpc.secure_channel(options.target, grpc.ssl_channel_credentials(ca, key, cert), options=settings)


def prepare(options):
    """The request message, and what to ask of a channel to call it."""
    if options.method == "Health":
        request, name, stub = health_pb2.HealthCheckRequest(), "Check", health_pb2_grpc.HealthStub
    else:
        messages, services = stubs()
        request, name = getattr(messages, options.method + "Request")(), options.method
        stub = services.TokenServiceStub
    text = sys.stdin.read() if options.json == "-" else options.json
    try:
        json_format.Parse(text, request)
        if not text.lstrip().startswith("{"):
            raise json_format.ParseError("no object")  # json_format takes [] for an empty message.
    except json_format.ParseError as error:
        raise Usage(f"JSON is no {options.method} request: {error}") from error
    return request, lambda over: getattr(stub(over), name)


def printed(message):
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def refusal(error):
    """The google.rpc.Status of a failed call. from_call raises if it contradicts the plain gRPC status."""
    found = {"status": error.code().name, "message": error.details(), "reason": None, "domain": None, "metadata": {},
             "details": [], "field_violations": [], "retry_delay_s": None, "advice": None}
    errors = sys.modules.get("narrowgate.v1.errors_pb2")
    status = rpc_status.from_call(error)
    for detail in status.details if status else []:
        kind = detail.TypeName()
        found["details"].append(kind)
        known = errors if kind.startswith("narrowgate.v1.") else error_details_pb2
        message = getattr(known, kind.rpartition(".")[2], lambda: None)()
        if message is None or not detail.Unpack(message):
            continue
        if kind == "google.rpc.ErrorInfo":
            found.update(reason=message.reason, domain=message.domain, metadata=dict(message.metadata))
        elif kind == "google.rpc.BadRequest":
            found["field_violations"] += [printed(v) for v in message.field_violations]
        elif kind == "google.rpc.RetryInfo":
            found["retry_delay_s"] = message.retry_delay.ToNanoseconds() / 1e9
        elif kind == "narrowgate.v1.Advice":
            found["advice"] = printed(message)
    return found


def main(argv):
    options = arguments(argv)
    try:
        request, method = prepare(options)
        over = channel(options)
        metadata = [tuple(pair.split("=", 1)) for pair in options.metadata]
    except (Usage, OSError) as problem:
        print(f"agent.py: {problem}", file=sys.stderr)
        return 2
    with over:
        try:
            result = {"ok": printed(method(over)(request, timeout=options.timeout, metadata=metadata))}
        except grpc.RpcError as error:
            result = {"error": refusal(error)}
    print(json.dumps(result, sort_keys=True))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
