"""Validates the shipped policies against policy.schema.json, and the schema by what it must refuse.

usage: validate_schema.py FOLDER   (the folder that holds the policies and the schema)
Needs python3-jsonschema with draft 2020-12.
"""
import copy
import json
import pathlib
import sys

import jsonschema

RULE = {"action": "allow", "calls": ["read"], "why": "reads"}


def rule_with(**changes):
    return {"version": 1, "seccomp": {"rules": {"a": {**RULE, **changes}}}}


def condition(**keys):
    return rule_with(when=[keys])


ACCEPTED = {
    "only the version": {"version": 1},
    "null removes from what is extended": {
        "version": 1, "extends": "strict", "seccomp": {"rules": {"a": None}}},
    "a rule changed in part": {
        "version": 1, "extends": "strict", "seccomp": {"rules": {"a": {"when": []}}}},
    "hexadecimal": condition(arg=0, op="masked_eq", mask="0xFF", value=1),
    "the largest number": condition(arg=5, op="eq", value=2**64 - 1),
    "the switches of seccomp": {
        "version": 1, "seccomp": {"write_execute": "a JIT compiler", "exec_once": True}},
    "a switch taken back": {"version": 1, "extends": "strict", "seccomp": {"write_execute": None}},
    "a hidden file": {"version": 1, "filesystem": {"read_only": {"/a/.b/..c": {"why": "x"}}}},
    "the root as working directory": {"version": 1, "working_directory": "/"},
}

REFUSED = {
    "no version": {},
    "another version": {"version": 2},
    "an unknown key": {"version": 1, "memory": 1},
    "null without extends": {"version": 1, "seccomp": {"rules": {"a": None}}},
    "a rule in part without extends": {"version": 1, "seccomp": {"rules": {"a": {"calls": ["a"]}}}},
    "an allowing default": {"version": 1, "seccomp": {"default": "allow"}},
    "a switch without a reason": {"version": 1, "seccomp": {"write_execute": True}},
    "an empty reason": rule_with(why=""),
    "a call twice": rule_with(calls=["read", "read"]),
    "a condition without value": condition(arg=0, op="eq"),
    "a mask without masked_eq": condition(arg=0, op="eq", mask=1, value=1),
    "a list without in": condition(arg=0, op="eq", value=1, values=[1]),
    "a seventh argument": condition(arg=6, op="eq", value=1),
    "uid 0": {"version": 1, "identity": {"uid": 0}},
    "the host as a folder": {"version": 1, "filesystem": {"read_only": {"/": {"why": "x"}}}},
    "a path below /proc": {"version": 1, "filesystem": {"read_only": {"/proc/1": {"why": "x"}}}},
    "a path that climbs": {"version": 1, "filesystem": {"read_only": {"/a/../b": {"why": "x"}}}},
    "a path with a slash at its end": {"version": 1, "working_directory": "/tmp/"},
    "a relative path": {"version": 1, "working_directory": "tmp"},
    "a reuse of its own making": {"version": 1, "reuse": {"mode": "sometimes"}},
    "a warning that kills": {"version": 1, "warning": {"signal": "SIGKILL"}},
    "a fraction": {"version": 1, "limits": {"processes_max": 1.5}},
}


def open_objects(schema, where="#"):
    """Every object of known keys must refuse the others."""
    if isinstance(schema, list):
        for index, item in enumerate(schema):
            yield from open_objects(item, f"{where}/{index}")
    elif isinstance(schema, dict):
        typed = schema.get("type") == "object" and "properties" in schema
        if typed and schema.get("additionalProperties") is not False:
            yield where
        for key, value in schema.items():
            yield from open_objects(value, f"{where}/{key}")


def faults_of(schema, accepted, refused):
    """What is wrong with a schema, by documents that it must accept and others that it must refuse."""
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    faults = [f"{where}: additionalProperties must be false" for where in open_objects(schema)]
    for name, document in accepted.items():
        for error in validator.iter_errors(copy.deepcopy(document)):
            faults.append(f"{name}: {error.json_path}: {error.message[:200]}")
    for name, document in refused.items():
        if validator.is_valid(document):
            faults.append(f"{name}: the schema takes it")
    return faults


def verdict(faults, accepted, refused):
    """The exit code, with the faults printed."""
    for fault in faults:
        print(fault)
    print(f"{len(accepted)} to accept, {len(refused)} to refuse, {len(faults)} faults")
    return 1 if faults else 0


def main(folder):
    schema = json.loads((folder / "policy.schema.json").read_text())
    policies = [p for p in sorted(folder.glob("*.json")) if p.name != "policy.schema.json"]
    accepted = dict(ACCEPTED)
    for path in policies:
        accepted[path.name] = json.loads(path.read_text())
    faults = faults_of(schema, accepted, REFUSED)
    if len(policies) < 3:
        faults.append(f"{folder} holds {len(policies)} policies, expected 3 at least")
    return verdict(faults, accepted, REFUSED)


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
