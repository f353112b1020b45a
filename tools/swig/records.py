"""The fields of the ABI's out structs, as macros that the typemap files expand: bindings/swig/records.gen.i; and for
what is written by hand in C++ or C: node/src/records.gen.h.

A struct that the library fills (stats, checkpoint) becomes a record of the language. Its fields are unsigned
integers, so a typemap needs their names only, in order.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "gen"))

import model  # noqa: E402

UNSIGNED = ("uint8_t", "uint32_t", "uint64_t")


def records(api: model.Api) -> list[model.Struct]:
    """The out structs whose fields are all numbers; one that carries pointers needs a typemap of its own."""
    return [
        s for s in api.structs if s.direction == "out" and all(f.type in UNSIGNED and not f.array for f in s.fields)
    ]


def names(struct: model.Struct) -> list[str]:
    return [field.name for field in struct.fields if field.name != "struct_size"]


NOTICE = [
    "/* Generated from bindings/api/keel.yml by tools/swig. Do not edit: change it and run `./dev gen`.",
    " *",
    " * KEEL_<STRUCT>_FIELDS(X, record) is X(record, field) for each field but struct_size, in the order of the",
    " * description. */",
]


def macros(api: model.Api) -> list[str]:
    lines = ["#define KEEL_FIELD_VALUE(record, field) (uint64_t)(record)->field"]
    for struct in records(api):
        lines.append(f"#define {struct.type.upper()}_FIELDS(X, record) \\")
        fields = [f"  X(record, {name})" for name in names(struct)]
        lines.append(", \\\n".join(fields))
    return lines


def interface(api: model.Api) -> str:
    return "\n".join([*NOTICE, "%{", *macros(api), "%}"]) + "\n"


def header(api: model.Api) -> str:
    guard = "KEEL_NODE_RECORDS_GEN_H"
    return "\n".join([*NOTICE, f"#ifndef {guard}", f"#define {guard}", "", *macros(api), "", "#endif"]) + "\n"


def load() -> model.Api:
    return model.load(ROOT / "bindings" / "api" / "keel.yml")
