"""Validates the example config against service.schema.json, and the schema by what it must refuse.

usage: validate_service_schema.py FOLDER   (the folder that holds the example and the schema)
Needs python3-jsonschema with draft 2020-12. The parser's word on the same is service_config_test.cc.
"""
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "policies"))
import validate_schema


def service(**keys):
    return {"version": 1, "functions": {"f": {"handler": ["./f"]}}, **keys}


def function(**keys):
    return service(functions={"f": {"handler": ["./f"], **keys}})


ACCEPTED = {
    "the least": service(),
    "an IPv6 page": service(allow_origins=["http://[::1]:8080"]),
    "no argument": function(handler=["f", ""]),
    "exec with nothing ready": function(protocol="exec", ready=0),
    "lines with something ready": function(protocol="lines", ready=1),
    "a hidden credential": function(credentials=[".a", "..."]),
    "a bind of a file": function(binds={"/etc/hosts": "/srv/hosts"}),
}

REFUSED = {
    "no version": {"functions": {"f": {"handler": ["./f"]}}},
    "another version": service(version=2),
    "no functions": {"version": 1},
    "an empty list of functions": service(functions={}),
    "a function without a handler": service(functions={"f": {}}),
    "a handler without a program": function(handler=[]),
    "a program without a name": function(handler=[""]),
    "a command line for a handler": function(handler="./f -x"),
    "a function with a slash": service(functions={"a/b": {"handler": ["./f"]}}),
    "a name that is too long": service(functions={"f" * 65: {"handler": ["./f"]}}),
    "an unknown key": service(function={}),
    "an unknown key of a function": function(memory=1),
    "an unknown limit": service(limits={"connections": 1}),
    "no time": function(timeout_ms=0),
    "a limit that is off": service(limits={"idle_timeout_ms": 0}),
    "exec with something ready": function(protocol="exec", ready=1),
    "a protocol of its own making": function(protocol="http"),
    "the host as a folder": function(binds={"/srv": "/"}),
    "a bind into /tmp": function(binds={"/tmp/a": "/srv"}),
    "a relative bind": function(binds={"/srv": "srv"}),
    "a bind with a reason": function(binds={"/srv": {"why": "x"}}),
    "a variable with a dash": function(env={"A-B": "1"}),
    "a variable that is no text": function(env={"A": 1}),
    "a credential that climbs": function(credentials=[".."]),
    "a credential with a path": function(credentials=["a/b"]),
    "a credential twice": function(credentials=["a", "a"]),
    "any page": service(allow_origins=["*"]),
    "a page instead of its origin": service(allow_origins=["https://example.com/"]),
    "an address twice": service(listen=[":1", ":1"]),
}


def main(folder):
    schema = json.loads((folder / "service.schema.json").read_text())
    accepted = {**ACCEPTED, "the example": json.loads(
        (folder / "functions.example.json").read_text())}
    faults = validate_schema.faults_of(schema, accepted, REFUSED)
    return validate_schema.verdict(faults, accepted, REFUSED)


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
