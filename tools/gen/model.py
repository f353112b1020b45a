"""The description of the ABI as objects: reads bindings/api/keel.yml and refuses what is incomplete.

Every complaint names the line of the description, what is wrong and what to write. Nothing below this file looks at the
YAML again: templates get the objects.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml


class DescriptionError(Exception):
    """The description is wrong; the message says where and how."""


class _Map(dict):
    """A mapping that remembers its line."""

    line = 0


class _Loader(yaml.SafeLoader):
    pass


def _construct_map(loader: _Loader, node: yaml.MappingNode) -> _Map:
    result = _Map()
    result.line = node.start_mark.line + 1
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in result:
            raise DescriptionError(f"line {key_node.start_mark.line + 1}: '{key}' is given twice")
        result[key] = loader.construct_object(value_node, deep=True)
    return result


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _construct_map)

CLASSES = ("ok", "usage", "not_found", "conflict", "busy", "io", "corrupt", "resource", "internal")
SCALARS = {
    "uint8_t": 1, "int32_t": 4, "uint32_t": 4, "uint64_t": 8, "size_t": 8, "keel_status": 4, "char": 1,
    "const char *": 8, "const void *": 8, "const uint64_t *": 8, "const uint8_t *": 8,
}
SIZED_KINDS = ("bytes", "bound", "text", "packed-ops")
KINDS = (
    "handle", "out-handle", "bytes", "bound", "text", "cstring", "value", "out-value", "out-bytes", "buffer",
    "packed-keys", "offsets", "packed-ops", "struct-in", "struct-out",
)


def _words(text: Any) -> str:
    return " ".join(str(text).split())


@dataclass
class Status:
    name: str
    value: int
    klass: str
    retryable: bool
    doc: str
    todo: str

    @property
    def symbol(self) -> str:
        return f"KEEL_{self.name}"

    @property
    def internal_symbol(self) -> str:
        return f"KL_{self.name}"

    @property
    def short(self) -> str:
        """The stable lower-case name: "not_found"."""
        return self.name.removeprefix("E_").lower()

    @property
    def camel(self) -> str:
        """"NotFound", for languages that name a type or a variable after it."""
        return "".join({"io": "IO"}.get(part, part.capitalize()) for part in self.short.split("_"))


@dataclass
class Constant:
    name: str
    value: int
    doc: str
    unit: str = ""
    since: str = ""

    @property
    def symbol(self) -> str:
        return f"KEEL_{self.name}"


@dataclass
class Enum:
    name: str
    flags: bool
    doc: str
    since: str
    values: list[Constant]

    @property
    def all_bits(self) -> int:
        bits = 0
        for value in self.values:
            bits |= value.value
        return bits


@dataclass
class Handle:
    name: str
    doc: str
    since: str
    exclusive: bool  # used by one thread at a time
    open: str
    close: str
    ended: bool  # a handle that its own calls ended answers KEEL_E_FINISHED

    @property
    def type(self) -> str:
        return f"keel_{self.name}"


@dataclass
class Field:
    name: str
    type: str
    doc: str
    since: str
    array: str = ""
    unit: str = ""
    enum: Enum | None = None
    minimum: int | None = None
    maximum: int | None = None
    max_error: str = "E_INVALID"
    power_of_two: bool = False

    @property
    def declaration(self) -> str:
        space = "" if self.type.endswith("*") else " "
        suffix = f"[KEEL_{self.array}]" if self.array else ""
        return f"{self.type}{space}{self.name}{suffix}"


@dataclass
class Struct:
    name: str
    direction: str
    doc: str
    since: str
    fields: list[Field]

    @property
    def type(self) -> str:
        return f"keel_{self.name}"

    @property
    def init(self) -> str:
        return f"KEEL_{self.name.upper()}_INIT"

    @property
    def sized(self) -> bool:
        return self.direction != "plain"

    @property
    def first_version_end(self) -> Field:
        """The last field that the first version had."""
        return [f for f in self.fields if f.since == self.since][-1]


@dataclass
class Part:
    """One parameter in C."""

    declaration: str
    name: str
    type: str
    param: "Param | None"


@dataclass
class Param:
    name: str
    kind: str
    doc: str
    line: int
    handle: Handle | None = None
    struct: Struct | None = None
    type: str = ""
    nullable: bool = False
    consumes: bool = False
    same_database: str = ""
    minimum: int = 0
    maximum: Constant | None = None
    max_error: Status | None = None
    size_name: str = ""
    count: str = ""
    unit: str = ""

    @property
    def is_output(self) -> bool:
        return self.kind in ("out-handle", "out-value", "out-bytes", "struct-out", "buffer")

    @property
    def parts(self) -> list[Part]:
        n = self.name
        def part(kind: str, name: str) -> Part:
            return Part(f"{kind}{'' if kind.endswith('*') else ' '}{name}", name, kind, self)
        if self.kind == "handle":
            return [part(self.handle.type, n)]
        if self.kind == "out-handle":
            return [part(f"{self.handle.type} *", n)]
        if self.kind in ("bytes", "bound", "packed-ops"):
            return [part("const void *", n), part("size_t", f"{n}_size")]
        if self.kind == "text":
            return [part("const char *", n), part("size_t", f"{n}_size")]
        if self.kind == "cstring":
            return [part("const char *", n)]
        if self.kind == "value":
            return [part(self.type, n)]
        if self.kind == "out-value":
            return [part(f"{self.type} *", n)]
        if self.kind == "out-bytes":
            return [part("const void **", n), part("size_t *", self.size_name or f"{n}_size")]
        if self.kind == "buffer":
            return [part("void *", n), part("size_t", "capacity")]
        if self.kind == "packed-keys":
            return [part("const void *", n)]
        if self.kind == "offsets":
            return [part("const uint64_t *", n)]
        if self.kind == "struct-in":
            return [part(f"const {self.struct.type} *", n)]
        return [part(f"{self.struct.type} *", n)]


@dataclass
class Function:
    name: str
    doc: str
    since: str
    group: str
    params: list[Param]
    returns_type: str
    returns_doc: str
    errors: list[tuple[Status, str]]
    line: int
    example: Status | None = None  # what the arguments of the abuse test get; None: success

    @property
    def fallible(self) -> bool:
        return self.returns_type == "keel_status" and not self.returns_doc

    @property
    def parts(self) -> list[Part]:
        parts = [p for param in self.params for p in param.parts]
        if self.fallible:
            parts.append(Part("keel_error *err", "err", "keel_error *", None))
        return parts

    @property
    def handles(self) -> list[Param]:
        return [p for p in self.params if p.kind == "handle"]

    @property
    def prototype(self) -> str:
        space = "" if self.returns_type.endswith("*") else " "
        arguments = ", ".join(p.declaration for p in self.parts) or "void"
        return f"{self.returns_type}{space}{self.name}({arguments})"


@dataclass
class Group:
    name: str
    doc: str
    functions: list[Function] = field(default_factory=list)


@dataclass
class Api:
    version: str
    soversion: int
    classes: list[tuple[str, str]]
    statuses: list[Status]
    limits: list[Constant]
    enums: list[Enum]
    features: list[Constant]
    handles: list[Handle]
    structs: list[Struct]
    groups: list[Group]

    @property
    def functions(self) -> list[Function]:
        return [f for g in self.groups for f in g.functions]

    @property
    def version_parts(self) -> list[int]:
        return [int(p) for p in self.version.split(".")]

    @property
    def version_number(self) -> int:
        major, minor, patch = self.version_parts
        return major * 1000000 + minor * 1000 + patch

    def status(self, name: str) -> Status:
        return next(s for s in self.statuses if s.name == name)


class _Reader:
    """Walks over the YAML and builds the objects."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fail(self, where: Any, message: str) -> DescriptionError:
        line = getattr(where, "line", where if isinstance(where, int) else 0)
        return DescriptionError(f"{self.path.name}:{line}: {message}")

    def take(self, m: _Map, what: str, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> None:
        if not isinstance(m, _Map):
            raise self.fail(0, f"{what}: expected a mapping, got {m!r}")
        name = m.get("name", "?")
        for key in required:
            if key not in m:
                raise self.fail(m, f"{what} '{name}' lacks '{key}'")
        for key in m:
            if key not in required and key not in optional:
                known = ", ".join(required + optional)
                raise self.fail(m, f"{what} '{name}' has an unknown key '{key}' (known: {known})")
        for key in ("doc", "todo"):
            if key in m and not _words(m[key]):
                raise self.fail(m, f"{what} '{name}': '{key}' is empty")
        if "since" in m and not re.fullmatch(r"\d+\.\d+", str(m["since"])):
            raise self.fail(m, f"{what} '{name}': since is '{m['since']}', expected for example \"0.1\" (quoted)")

    def unique(self, items: list[Any], what: str, where: Any) -> None:
        seen = set()
        for item in items:
            if item.name in seen:
                raise self.fail(where, f"{what} '{item.name}' is described twice")
            seen.add(item.name)

    # -- parts -------------------------------------------------------------------------------------------------------
    def statuses(self, top: _Map) -> list[Status]:
        result = []
        for m in top["statuses"]:
            self.take(m, "status", ("name", "value", "class", "doc", "todo"), ("retryable",))
            if m["class"] not in CLASSES:
                raise self.fail(m, f"status '{m['name']}': unknown class '{m['class']}' (known: {', '.join(CLASSES)})")
            if (m["value"] == 0) != (m["name"] == "OK") or m["value"] > 0:
                raise self.fail(m, f"status '{m['name']}': OK is 0 and all others are negative")
            result.append(Status(m["name"], m["value"], m["class"], bool(m.get("retryable", False)), _words(m["doc"]),
                                 _words(m["todo"])))
        self.unique(result, "status", top)
        if len({s.value for s in result}) != len(result):
            raise self.fail(top, "two statuses share a value")
        if [s.value for s in result] != sorted((s.value for s in result), reverse=True):
            raise self.fail(top, "statuses must be listed from 0 downwards")
        return result

    def enums(self, top: _Map) -> list[Enum]:
        result = []
        for m in top["enums"]:
            self.take(m, "enum", ("name", "doc", "since", "values"), ("flags",))
            values = []
            for v in m["values"]:
                self.take(v, "value", ("name", "value", "doc"), ("since",))
                if m.get("flags") and (v["value"] <= 0 or v["value"] & (v["value"] - 1)):
                    raise self.fail(v, f"flag '{v['name']}' is {v['value']}, not a single bit")
                values.append(Constant(v["name"], v["value"], _words(v["doc"]), since=v.get("since", m["since"])))
            result.append(Enum(m["name"], bool(m.get("flags", False)), _words(m["doc"]), m["since"], values))
        self.unique(result, "enum", top)
        return result

    def handles(self, top: _Map) -> list[Handle]:
        result = []
        for m in top["handles"]:
            self.take(m, "handle", ("name", "doc", "since", "use", "open", "close"), ("ended",))
            if m["use"] not in ("shared", "exclusive"):
                raise self.fail(m, f"handle '{m['name']}': use is 'shared' or 'exclusive'")
            result.append(Handle(m["name"], _words(m["doc"]), m["since"], m["use"] == "exclusive", m["open"], m["close"],
                                 bool(m.get("ended", False))))
        self.unique(result, "handle", top)
        return result

    def structs(self, top: _Map, enums: list[Enum]) -> list[Struct]:
        result = []
        for m in top["structs"]:
            self.take(m, "struct", ("name", "direction", "doc", "since", "fields"))
            if m["direction"] not in ("in", "out", "plain"):
                raise self.fail(m, f"struct '{m['name']}': direction is 'in', 'out' or 'plain'")
            fields = []
            if m["direction"] != "plain":
                fields.append(Field("struct_size", "uint32_t", f"`sizeof(keel_{m['name']})`, as the initialiser sets it.",
                                    m["since"]))
            for f in m["fields"]:
                self.take(f, "field", ("name", "type", "doc"), ("array", "unit", "enum", "since", "min", "max",
                                                                       "max_error", "power_of_two", "unbounded"))
                if f["type"] not in SCALARS:
                    raise self.fail(f, f"field '{f['name']}': unknown type '{f['type']}' (known: {', '.join(SCALARS)})")
                enum = next((e for e in enums if e.name == f.get("enum")), None)
                if "enum" in f and enum is None:
                    raise self.fail(f, f"field '{f['name']}': unknown enum '{f['enum']}'")
                fields.append(Field(f["name"], f["type"], _words(f["doc"]), f.get("since", m["since"]), f.get("array", ""),
                                    f.get("unit", ""), enum, f.get("min"), self.bound(f, top), f.get("max_error", "E_INVALID"),
                                    bool(f.get("power_of_two", False))))
                if fields[-1].power_of_two and (fields[-1].minimum is None or fields[-1].maximum is None):
                    raise self.fail(f, f"field '{f['name']}': a power of two needs 'min' and 'max'")
                if m["direction"] == "in" and enum is None and fields[-1].maximum is None and not self.unbounded(f):
                    raise self.fail(f, f"field '{f['name']}' of an option struct needs 'enum', 'max', or 'unbounded: true'")
            result.append(Struct(m["name"], m["direction"], _words(m["doc"]), m["since"], fields))
            self.no_padding(m, result[-1])
        self.unique(result, "struct", top)
        return result

    def bound(self, f: _Map, top: _Map) -> int | None:
        """The highest value of a field: a number, or the name of a limit."""
        if isinstance(f.get("max"), str):
            limit = next((m for m in top["limits"] if m["name"] == f["max"]), None)
            if limit is None:
                raise self.fail(f, f"field '{f['name']}': 'max' is no limit: {f['max']}")
            return int(limit["value"])
        return f.get("max")

    @staticmethod
    def unbounded(f: _Map) -> bool:
        """Whether every value is allowed: said so, or a pointer whose size is a field of its own."""
        return bool(f.get("unbounded", False)) or f["type"] == "const void *"

    def no_padding(self, m: _Map, struct: Struct) -> None:
        """Holes between fields would be bytes that no rule about struct_size covers."""
        offset = 0
        for f in struct.fields:
            size = SCALARS[f.type]
            if offset % size:
                raise self.fail(m, f"struct '{struct.name}': field '{f.name}' lies at offset {offset}, which is no multiple of "
                                   f"its size {size}; reorder the fields or add a reserved one")
            offset += size if not f.array else 0
        if offset % 8 and struct.sized:
            raise self.fail(m, f"struct '{struct.name}': size {offset} is no multiple of 8; add a reserved uint32_t field")

    def param(self, m: _Map, api: Api, function: str) -> Param:
        self.take(m, f"{function}: parameter", ("name", "kind", "doc"),
                  ("handle", "struct", "type", "nullable", "consumes", "same_database", "min", "max", "max_error",
                   "size_name", "of", "count", "unit"))
        p = Param(m["name"], m["kind"], _words(m["doc"]), m.line, nullable=bool(m.get("nullable", False)),
                  consumes=bool(m.get("consumes", False)), same_database=m.get("same_database", ""),
                  minimum=m.get("min", 0), size_name=m.get("size_name", ""), count=m.get("count", ""),
                  unit=m.get("unit", ""), type=m.get("type", ""))
        where = f"{function}: parameter '{p.name}'"
        if p.kind not in KINDS:
            raise self.fail(m, f"{where}: unknown kind '{p.kind}' (known: {', '.join(KINDS)})")
        if p.is_output != p.name.startswith("out_") and p.kind != "buffer":
            raise self.fail(m, f"{where}: outputs, and only outputs, are named out_*")
        if p.kind in ("handle", "out-handle"):
            p.handle = next((h for h in api.handles if h.name == m.get("handle")), None)
            if p.handle is None:
                raise self.fail(m, f"{where}: 'handle' must name a kind of handle, got {m.get('handle')!r}")
        if p.kind in ("struct-in", "struct-out"):
            p.struct = next((s for s in api.structs if s.name == m.get("struct")), None)
            if p.struct is None or p.struct.direction != p.kind.removeprefix("struct-"):
                raise self.fail(m, f"{where}: 'struct' must name a struct of direction '{p.kind.removeprefix('struct-')}'")
        if p.kind in ("value", "out-value") and p.type not in SCALARS:
            raise self.fail(m, f"{where}: 'type' must be one of {', '.join(SCALARS)}")
        if p.kind == "offsets" and not p.count:
            raise self.fail(m, f"{where}: 'count' must name the parameter with the number of elements")
        if p.kind in SIZED_KINDS + ("cstring",) and "max" not in m:
            raise self.fail(m, f"{where}: 'max' must name the limit on its size")
        if "max" in m:
            p.maximum = next((c for c in api.limits if c.name == m["max"]), None)
            p.max_error = next((s for s in api.statuses if s.name == m.get("max_error")), None)
            if p.maximum is None or p.max_error is None:
                raise self.fail(m, f"{where}: 'max' must name a limit and 'max_error' the status beyond it")
        return p

    def function(self, m: _Map, api: Api, group: str) -> Function:
        self.take(m, "function", ("name", "since", "doc", "params"), ("returns", "errors", "example"))
        if not re.fullmatch(r"keel_[a-z_]+", str(m["name"])):
            raise self.fail(m, f"function '{m['name']}': names are keel_ and lower-case words")
        params = [self.param(p, api, m["name"]) for p in m["params"]]
        returns_type, returns_doc = "keel_status", ""
        if "returns" in m:
            self.take(m["returns"], f"{m['name']}: returns", ("type", "doc"))
            returns_type, returns_doc = m["returns"]["type"], _words(m["returns"]["doc"])
            if "errors" in m or any(p.kind != "value" for p in params):
                raise self.fail(m, f"{m['name']}: a function with 'returns' cannot fail: only values, no 'errors'")
        errors: dict[str, str] = {}
        if not returns_doc:
            errors = self.implied_errors(params)
            for name, doc in m.get("errors", {}).items():
                if name not in {s.name for s in api.statuses}:
                    raise self.fail(m["errors"], f"{m['name']}: unknown status '{name}'")
                errors[name] = f"{errors[name]} {_words(doc)}" if name in errors else _words(doc)
            for p in params:
                if p.max_error is not None and p.max_error.name not in errors:
                    errors[p.max_error.name] = f"`{p.name}` is larger than `{p.maximum.symbol}`."
        listed = [(s, errors[s.name]) for s in api.statuses if s.name in errors]
        names = {p.name for p in params}
        for p in params:
            if p.same_database and p.same_database not in names or p.count and p.count not in names:
                raise self.fail(p.line, f"{m['name']}: parameter '{p.name}' refers to a parameter that does not exist")
        example = None
        if "example" in m:
            example = next((s for s in listed if s[0].name == m["example"]), (None, ""))[0]
            if example is None:
                raise self.fail(m, f"{m['name']}: example '{m['example']}' is none of its errors")
        return Function(m["name"], str(m["doc"]).strip(), m["since"], group, params, returns_type, returns_doc, listed, m.line,
                        example)

    @staticmethod
    def implied_errors(params: list[Param]) -> dict[str, str]:
        errors: dict[str, str] = {}
        handles = [p for p in params if p.kind == "handle"]
        invalid = []
        if any(not p.nullable and p.kind in ("cstring", "struct-in", "struct-out", "out-handle", "out-value", "out-bytes",
                                             "text") for p in params):
            invalid.append("A pointer that must not be NULL is.")
        if any(p.kind in ("bytes", "bound", "buffer", "packed-ops", "packed-keys", "offsets") for p in params):
            invalid.append("A pointer is NULL although its size is not 0.")
        if any(p.kind == "text" for p in params):
            invalid.append("The text is empty, too long, not UTF-8, or has a zero byte.")
        if any(p.kind == "cstring" for p in params):
            invalid.append("The text is empty or too long.")
        if any(p.kind in ("struct-in", "struct-out") for p in params):
            invalid.append("`struct_size` or a field is not valid.")
        if invalid:
            errors["E_INVALID"] = " ".join(invalid)
        if any(p.kind == "struct-in" for p in params):
            errors["E_UNSUPPORTED"] = "A field that this library does not know is set."
        if handles:
            errors["E_HANDLE"] = "A handle is not open, of the wrong kind" + (
                ", or of another database." if any(p.same_database for p in params) else ".")
            errors["E_FORKED"] = "The handle was made before a fork."
        if any(p.handle.name in ("txn", "cursor") and not (p.consumes and p.handle.name == "cursor") for p in handles):
            errors["E_FINISHED"] = "The transaction has ended."
        if any(p.handle.exclusive for p in handles):
            errors["E_CONCURRENT_USE"] = "Another thread is inside a call with the same handle."
        return errors

    def read(self) -> Api:
        try:
            top = yaml.load(self.path.read_text(encoding="utf-8"), Loader=_Loader)
        except yaml.YAMLError as error:
            raise DescriptionError(f"{self.path.name}: {error}") from error
        self.take(top, "description", ("version", "soversion", "classes", "statuses", "limits", "enums", "features",
                                       "handles", "structs", "groups"))
        if not re.fullmatch(r"\d+\.\d+\.\d+", str(top["version"])):
            raise self.fail(top, f"version '{top['version']}' is not major.minor.patch")
        for c in top["classes"]:
            self.take(c, "class", ("name", "doc"))
        if tuple(c["name"] for c in top["classes"]) != CLASSES:
            raise self.fail(top, f"classes must be, in order: {', '.join(CLASSES)}")
        api = Api(top["version"], top["soversion"], [(c["name"], _words(c["doc"])) for c in top["classes"]],
                  self.statuses(top), [], self.enums(top), [], self.handles(top), [], [])
        for m in top["limits"]:
            self.take(m, "limit", ("name", "value", "unit", "since", "doc"))
            api.limits.append(Constant(m["name"], m["value"], _words(m["doc"]), m["unit"], m["since"]))
        for m in top["features"]:
            self.take(m, "feature", ("name", "since", "doc"))
            api.features.append(Constant(m["name"], 0, _words(m["doc"]), since=m["since"]))
        api.structs = self.structs(top, api.enums)
        for s in api.structs:
            for f in s.fields:
                if f.array and f.array not in {c.name for c in api.limits}:
                    raise self.fail(top, f"struct '{s.name}': array size '{f.array}' is no limit")
        for g in top["groups"]:
            self.take(g, "group", ("name", "doc", "functions"))
            group = Group(g["name"], str(g["doc"]).strip())
            group.functions = [self.function(f, api, g["name"]) for f in g["functions"]]
            api.groups.append(group)
        self.unique(api.functions, "function", top)
        self.check_handles(api, top)
        return api

    def check_handles(self, api: Api, top: _Map) -> None:
        functions = {f.name: f for f in api.functions}
        for h in api.handles:
            opener, closer = functions.get(h.open), functions.get(h.close)
            if opener is None or not any(p.kind == "out-handle" and p.handle is h for p in opener.params):
                raise self.fail(top, f"handle '{h.name}': '{h.open}' is no function that gives it out")
            if closer is None or not any(p.consumes and p.handle is h for p in closer.params):
                raise self.fail(top, f"handle '{h.name}': '{h.close}' is no function that consumes it")


def load(path: Path) -> Api:
    """Reads and checks the description."""
    return _Reader(path).read()
