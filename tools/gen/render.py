"""Turns the objects of model.py into files: the list of outputs, and the filters that templates use."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path

import jinja2

import model

NOTICE = "Generated from bindings/api/keel.yml by tools/gen. Do not edit: change the description and run `./dev gen`."


@dataclass(frozen=True)
class Output:
    path: str
    template: str


OUTPUTS = (
    Output("capi/include/keel/keel.h", "keel.h.j2"),
    Output("capi/keel.map", "keel.map.j2"),
    Output("capi/layout.gen.h", "layout.gen.h.j2"),
    Output("core/base/status_codes.h", "status_codes.h.j2"),
    Output("core/base/status_names.c", "status_names.c.j2"),
    Output("bindings/swig/api.gen.i", "api.gen.i.j2"),
    Output("python/src/keel/_gen.py", "gen.py.j2"),
    Output("go/constants_gen.go", "constants_gen.go.j2"),
    Output("node/lib/constants.gen.js", "constants.gen.js.j2"),
    Output("node/lib/constants.gen.d.ts", "constants.gen.d.ts.j2"),
    Output("tests/abi/abuse.gen.c", "abuse.gen.c.j2"),
    Output("docs/reference/c.md", "c.md.j2"),
    Output("docs/reference/errors.md", "errors.md.j2"),
)


def plain(text: str) -> str:
    """Text for a comment: without the Markdown back-quotes."""
    return text.replace("`", "")


def paragraphs(text: str) -> list[str]:
    return [" ".join(p.split()) for p in text.strip().split("\n\n")]


def wrap(text: str, first: str = "", rest: str = "", width: int = 117) -> str:
    """Wraps plain text; `first` begins the first line, `rest` all others."""
    lines = textwrap.wrap(text, width, initial_indent=first, subsequent_indent=rest, break_long_words=False,
                          break_on_hyphens=False)
    return "\n".join(line.rstrip() for line in lines) or first.rstrip()


def block_comment(text: str, indent: str = "") -> str:
    """A C comment over one or several lines."""
    one = f"{indent}/* {plain(' '.join(text.split()))} */"
    if len(one) <= 120 and len(paragraphs(text)) == 1:
        return one
    body = "\n *\n".join(wrap(plain(p), f"{indent} * ", f"{indent} * ") for p in paragraphs(text))
    body = body.replace("\n *\n", f"\n{indent} *\n")
    return f"{indent}/*{body[len(indent) + 2:]} */"


def table(rows: list[tuple[str, str]], indent: str = " *   ", width: int = 117) -> str:
    """Two columns: a name, and text that is wrapped beside it."""
    if not rows:
        return ""
    column = max(len(name) for name, _ in rows) + 2
    return "\n".join(wrap(plain(text), f"{indent}{name:<{column}}", indent + " " * column, width) for name, text in rows)


def prototype(function: model.Function, prefix: str = "KEEL_API ", width: int = 120) -> str:
    """A declaration wrapped as clang-format does it: filled, aligned after the bracket."""
    head, arguments = (prefix + function.prototype).split("(", 1)
    head += "("
    items = [a if a.endswith(")") else a + "," for a in arguments.split(", ")]
    lines, line = [], head
    for i, item in enumerate(items):
        item += ";" if i == len(items) - 1 else ""
        glue = "" if line.endswith("(") or line.strip() == "" else " "
        if len(line) + len(glue) + len(item) > width:
            lines.append(line)
            line, glue = " " * len(head), ""
        line += glue + item
    return "\n".join(lines + [line])


def param_rows(function: model.Function) -> list[tuple[str, str]]:
    """What the manual says about each parameter: direction, NULL, limits, then the description."""
    rows = []
    for p in function.params:
        names = ", ".join(part.name for part in p.parts)
        notes = []
        if p.is_output:
            notes.append("out")
        if p.nullable:
            notes.append("may be NULL")
        if p.kind == "bytes":
            notes.append(f"at most {p.maximum.symbol} bytes, NULL only with size 0")
        if p.kind == "bound":
            notes.append(f"at most {p.maximum.symbol} bytes")
        if p.unit:
            notes.append(p.unit)
        rows.append((names, (f"({'; '.join(notes)}) " if notes else "") + p.doc))
    return rows


def thread_rule(function: model.Function) -> str:
    exclusive = [p.handle.name for p in function.handles if p.handle.exclusive]
    if exclusive:
        names = {"txn": "transaction", "cursor": "cursor", "batch": "batch", "check": "check", "load": "load",
                 "value": "value"}
        whose = " and ".join(f"per {names[e]}" for e in exclusive)
        return f"Any thread, one at a time {whose}."
    return "Any thread, also several at once."


def error_rows(function: model.Function) -> list[tuple[str, str]]:
    return [(status.symbol, doc) for status, doc in function.errors]


def function_comment(function: model.Function) -> str:
    parts = ["\n *\n".join(wrap(plain(p), " * ", " * ") for p in paragraphs(function.doc))]
    if function.params:
        parts.append(table(param_rows(function)))
    tail = [wrap(f"Threads: {thread_rule(function)} Since {function.since}.", " * ", " * ")]
    if function.fallible:
        tail.append(" * Returns KEEL_OK" + (" or" if function.errors else "."))
        if function.errors:
            tail.append(table(error_rows(function)))
    else:
        tail.append(wrap(f"Returns: {plain(function.returns_doc)}", " * ", " * "))
    parts.append("\n".join(tail))
    body = "\n *\n".join(parts)
    return f"/*{body[2:]} */"


def init_macro(struct: model.Struct) -> str:
    values = []
    for f in struct.fields:
        if f.name == "struct_size":
            values.append(f"(uint32_t)sizeof({struct.type})")
        else:
            values.append("NULL" if f.type.endswith("*") else "0")
    one = "  { " + ", ".join(values) + " }"
    if len(one) <= 118:
        return f"#define {struct.init} \\\n{one}"
    lines = textwrap.wrap(", ".join(values), 114, subsequent_indent="    ")
    out = [f"#define {struct.init}", "  {"] + [f"    {line}" for line in lines] + ["  }"]
    column = max(len(line) for line in out) + 1
    return "\n".join(f"{line:<{column}}\\" for line in out[:-1]) + f"\n{out[-1]}"


def python_string(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def go_name(name: str) -> str:
    """MAX_KEY_SIZE -> MaxKeySize, wall_time_ns -> WallTimeNs: an exported name of Go."""
    return "".join(part.capitalize() for part in name.split("_"))


def arguments(function: model.Function, err: str) -> str:
    """What a call passes when each variable is named as its parameter."""
    return ", ".join([part.name for part in function.parts[:-1]] + [err])


def environment() -> jinja2.Environment:
    env = jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"), trim_blocks=True,
                             lstrip_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined,
                             autoescape=False)
    env.filters.update(plain=plain, wrap=wrap, block_comment=block_comment, prototype=prototype, init_macro=init_macro,
                       function_comment=function_comment, quoted=python_string, go_name=go_name, paragraphs=paragraphs,
                       thread_rule=thread_rule, arguments=arguments, param_rows=param_rows, error_rows=error_rows)
    return env


def render(api: model.Api, output: Output) -> str:
    return environment().get_template(output.template).render(api=api, notice=NOTICE)
