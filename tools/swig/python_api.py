"""Python's share of the API description: exception classes, records, and the stub of the raw module.

    python/src/keel/_errors.py    one exception class per status, under one per class of statuses
    python/src/keel/_records.py   the out structs as named tuples
    python/src/keel/_raw.pyi      types of the functions that SWIG and python/ext put into keel._raw

Constants are not here: tools/gen writes them to _gen.py.
"""

from __future__ import annotations

import textwrap

import model
import records

NOTICE = (
    "Generated from bindings/api/keel.yml by tools/swig. Do not edit: change the description and run `./dev gen`."
)

# The exception above those of a class of statuses. A class with one status that bears its name needs none.
CLASS_NAMES = {
    "usage": "UsageError",
    "not_found": "PresenceError",
    "conflict": "TransactionError",
    "busy": "BusyError",
    "io": "StorageError",
    "corrupt": "BadFileError",
    "resource": "ResourceError",
}

# Builtin exceptions that a program would catch for the same thing.
CLASS_BUILTINS = {"io": "OSError"}
STATUS_BUILTINS = {
    "E_INVALID": "ValueError",
    "E_KEY_SIZE": "ValueError",
    "E_VALUE_SIZE": "ValueError",
    "E_NOT_FOUND": "KeyError",
    "E_KEYSPACE_NOT_FOUND": "KeyError",
    "E_NO_FILE": "FileNotFoundError",
    "E_EXISTS": "FileExistsError",
    "E_TIMEOUT": "TimeoutError",
    "E_PERMISSION": "PermissionError",
    "E_NO_MEMORY": "MemoryError",
}

ERROR_BASE = '''
def _fill_os_error(error: BaseException, message: str, system_errno: int) -> None:
    if isinstance(error, OSError):
        error.errno = system_errno or None
        error.strerror = message


class Error(Exception):
    """Every error of Keel. `str(error)` is one line: what was wrong and what to do."""

    code: int
    """The status, one of `keel.E_*`: a negative number that never changes its meaning."""
    name: str
    """The stable lower-case name of the status, for example "conflict"."""
    message: str
    system_errno: int
    """`errno` of the system call that failed, or 0."""
    attempts: int
    """How many times the transaction ran, when `Database.transact` gave up; otherwise 0."""
    retryable: ClassVar[bool] = False
    """Whether running the whole transaction again, on a new snapshot, is the right answer."""

    def __init__(self, code: int, message: str, system_errno: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.name = STATUSES[code].name if code in STATUSES else "unknown"
        self.message = message
        self.system_errno = system_errno
        self.attempts = 0
        _fill_os_error(self, message, system_errno)

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.code, self.message, self.system_errno))
'''

FROM_STATUS = '''

def from_status(code: int, message: str, system_errno: int = 0) -> Error:
    """The exception of a status; called by the raw layer."""
    return CLASSES.get(code, Error)(code, message, system_errno)
'''


def docstring(text: str, indent: str = "    ") -> str:
    text = text.replace("`KEEL_", "`").replace("\\", "\\\\")
    if len(text) <= 100:
        return f'{indent}"""{text}"""'
    lines = textwrap.wrap(text, 104, initial_indent=f'{indent}"""', subsequent_indent=indent)
    return "\n".join(lines) + f'\n{indent}"""'


def error_name(status: model.Status) -> str:
    return f"{status.camel}Error" if not status.camel.endswith("Error") else status.camel


def errors(api: model.Api) -> str:
    out = [f'"""Exceptions of Keel: `Error`, one class per class of statuses, one per status.\n\n{NOTICE}\n"""', ""]
    out += ["from __future__ import annotations", "", "import builtins", "from typing import Any, ClassVar", ""]
    out += ["from ._gen import STATUSES", ""]
    out.append(ERROR_BASE.rstrip("\n"))
    names = ["Error"]
    for klass, doc in api.classes:
        if klass in CLASS_NAMES:
            builtin = f", {CLASS_BUILTINS[klass]}" if klass in CLASS_BUILTINS else ""
            out += ["", "", f"class {CLASS_NAMES[klass]}(Error{builtin}):", docstring(doc)]
            names.append(CLASS_NAMES[klass])
    failures = [status for status in api.statuses if status.value != 0]
    for status in failures:
        base = CLASS_NAMES.get(status.klass, "Error")
        builtin = f", builtins.{STATUS_BUILTINS[status.name]}" if status.name in STATUS_BUILTINS else ""
        out += ["", "", f"class {error_name(status)}({base}{builtin}):", docstring(f"{status.doc} {status.todo}")]
        if status.retryable:
            out += ["", "    retryable = True"]
        names.append(error_name(status))
    out += ["", "", "CLASSES: dict[int, type[Error]] = {"]
    out += [f"    {status.value}: {error_name(status)}," for status in failures]
    out += ["}", FROM_STATUS.rstrip("\n"), "", "", "__all__ = ["]
    out += [f'    "{name}",' for name in sorted(names)] + ["]"]
    return "\n".join(out) + "\n"


def record_name(struct: model.Struct) -> str:
    return "".join(part.capitalize() for part in struct.name.split("_"))


def extra_fields(api: model.Api, struct: model.Struct) -> list[str]:
    """What a record has besides the numbers that C fills in."""
    if struct.name != "check_report":
        return []
    kept = next(limit.value for limit in api.limits if limit.name == "CHECK_PROBLEMS")
    text = f"The first {kept} of the problems, one line each: file, block, keyspace and keys where they are known."
    return ["    problem_texts: tuple[str, ...] = ()", docstring(text)]


def named_tuples(api: model.Api) -> str:
    out = [f'"""What the library fills in, as named tuples.\n\n{NOTICE}\n"""', ""]
    out += ["from __future__ import annotations", "", "from typing import NamedTuple"]
    structs = records.records(api)
    for struct in structs:
        out += ["", "", f"class {record_name(struct)}(NamedTuple):", docstring(struct.doc), ""]
        docs = {field.name: field for field in struct.fields}
        for name in records.names(struct):
            unit = f" In {docs[name].unit}." if docs[name].unit else ""
            out += [f"    {name}: int", docstring(docs[name].doc + unit)]
        out += extra_fields(api, struct)
    out += ["", "", "__all__ = [" + ", ".join(f'"{record_name(struct)}"' for struct in structs) + "]"]
    return "\n".join(out) + "\n"


# What python.i renames, and what it replaces by a function of python/ext (or leaves out: batches are made and freed
# inside).
RENAMED = {"del": "delete", "del_range": "delete_range"}
REPLACED = (
    "get",
    "get_copy",
    "get_view",
    "get_part",
    "view_data",
    "view_release",
    "get_many",
    "put",
    "write_batch",
    "load_batch",
    "cursor_get",
    "cursor_next_batch",
    "cursor_prev_batch",
    "keyspace_list",
    "batch_new",
    "batch_free",
    "batch_data",
    "check_problem",
)
FLAT = ("open", "keyspace_open", "begin", "cursor_open")
EXTENSION = '''
def get(txn: int, keyspace: int, key: ReadableBuffer, /) -> bytes | None: ...
def get_view(txn: int, keyspace: int, key: ReadableBuffer, /) -> View | None: ...
def get_part(txn: int, keyspace: int, key: ReadableBuffer, offset: int, size: int, /) -> bytes: ...
def get_part_into(
    txn: int, keyspace: int, key: ReadableBuffer, offset: int, buffer: WriteableBuffer, /
) -> tuple[int, int]: ...
def contains(txn: int, keyspace: int, key: ReadableBuffer, /) -> bool: ...
def put(txn: int, keyspace: int, key: ReadableBuffer, value: ReadableBuffer, /) -> None: ...
def get_many(txn: int, keyspace: int, keys: Iterable[ReadableBuffer], /) -> list[bytes | None]: ...
def write_many(
    txn: int, keyspace: int, operations: Iterable[tuple[ReadableBuffer, ReadableBuffer | None]], /
) -> None: ...
def load_many(load: int, rows: Iterable[tuple[ReadableBuffer, ReadableBuffer]], /) -> None: ...
@overload
def cursor_rows(
    cursor: int, max_rows: int, max_bytes: int, reverse: int, columns: Literal[0], /
) -> list[tuple[bytes, bytes]]: ...
@overload
def cursor_rows(cursor: int, max_rows: int, max_bytes: int, reverse: int, columns: Literal[1, 2], /) -> list[bytes]: ...
def keyspace_list(db: int, /) -> list[bytes]: ...
def check_problem(check: int, index: int, /) -> str: ...

@final
class View:
    """A pinned value: valid until released, whatever becomes of its transaction."""

    def release(self) -> None:
        """Let the value go. BufferError while a memoryview of it is alive; twice is harmless."""

    @property
    def released(self) -> bool:
        """Whether the value has been let go."""

    @property
    def nbytes(self) -> int:
        """Size of the value in bytes."""

    def __len__(self) -> int: ...
    def __bytes__(self) -> bytes: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *exc_info: object) -> None: ...
'''
NUMBERS = ("int32_t", "uint32_t", "uint64_t", "size_t", "keel_status")
RESULTS = {"const char *": "str", "uint32_t": "int", "int32_t": "int"}


def option_arguments(struct: model.Struct) -> list[str]:
    """The flat form of an option struct, as flat.i has it: sizes belong to their pointers."""
    out = []
    for field in struct.fields:
        if field.name == "struct_size" or field.name.endswith("_size") and field.type == "size_t":
            continue
        if field.type == "const void *":
            out.append(f"{field.name}: ReadableBuffer | None")
        elif field.type == "const char *":
            out.append(f"{field.name}: str | None")
        elif not (struct.name == "cursor_options" and field.name == "flags"):
            out.append(f"{field.name}: int")
    return out


def raw_function(function: model.Function) -> str:
    arguments: list[str] = []
    result = RESULTS.get(function.returns_type, "None")
    for param in function.params:
        if param.kind == "handle" or (param.kind == "value" and param.type in NUMBERS):
            arguments.append(f"{param.name}: int")
        elif param.kind in ("bytes", "text"):
            arguments.append(f"{param.name}: ReadableBuffer")
        elif param.kind == "bound":
            arguments.append(f"{param.name}_: ReadableBuffer | None")
        elif param.kind == "cstring":
            path = param.name in ("path", "new_path")
            arguments.append(f"{param.name}: " + ("str | bytes | PathLike[str] | PathLike[bytes]" if path else "str"))
        elif param.kind == "struct-in":
            arguments += option_arguments(param.struct)
        elif param.kind == "struct-out":
            result = "tuple[int, ...]"
        elif param.kind == "out-value":
            result = "bool" if param.type == "int32_t" else "int"
        elif param.kind == "out-handle":
            result = "int"
        else:
            raise SystemExit(
                f"tools/swig: {function.name}: {param.kind} has no Python form: add a typemap and a type"
            )
    name = function.name.removeprefix("keel_")
    line = f"def {RENAMED.get(name, name)}({', '.join(arguments + ['/'] if arguments else [])}) -> {result}: ..."
    if len(line) > 120:
        wrapped = textwrap.fill(", ".join(arguments + ["/"]), 116, initial_indent="    ", subsequent_indent="    ")
        line = line.replace(f"({', '.join(arguments + ['/'])})", f"(\n{wrapped}\n)")
    return line


def raw_stub(api: model.Api) -> str:
    out = [f"# {NOTICE}", "from collections.abc import Iterable", "from os import PathLike"]
    out += ["from typing import Literal, Self, final, overload", "", "from _typeshed import ReadableBuffer, WriteableBuffer", ""]
    out += [raw_function(f) for f in api.functions if f.name.removeprefix("keel_") not in REPLACED]
    out.append(EXTENSION.strip("\n"))
    return "\n".join(out) + "\n"


def files(api: model.Api) -> dict[str, str]:
    return {
        "python/src/keel/_errors.py": errors(api),
        "python/src/keel/_records.py": named_tuples(api),
        "python/src/keel/_raw.pyi": raw_stub(api),
    }
