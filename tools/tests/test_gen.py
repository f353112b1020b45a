"""tools/gen: refuses a description that is incomplete, with the line; writes only what differs; its output is deterministic."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools/gen"))

import model  # noqa: E402
import render  # noqa: E402

DESCRIPTION = (ROOT / "bindings/api/keel.yml").read_text(encoding="utf-8")


def load(tmp_path: Path, text: str) -> model.Api:
    path = tmp_path / "keel.yml"
    path.write_text(text, encoding="utf-8")
    return model.load(path)


def line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


def test_the_description_is_complete(tmp_path: Path) -> None:
    api = load(tmp_path, DESCRIPTION)
    assert len(api.functions) >= 42
    for output in render.OUTPUTS:
        assert render.render(api, output) == render.render(api, output)


# What is changed in the description, and what the complaint must say.
BROKEN = [
    ("name: keel_flush\n        since: \"0.1\"", "name: keel_flush", "function 'keel_flush' lacks 'since'"),
    ("name: keel_flush", "name: flush", "names are keel_ and lower-case words"),
    ("{name: db, kind: handle, handle: db, doc: \"The database.\"}\n        errors:\n          E_IO: The sync failed",
     "{name: db, kind: handle, doc: \"The database.\"}\n        errors:\n          E_IO: The sync failed",
     "'handle' must name a kind of handle"),
    ("kind: packed-ops, max: MAX_WRITE_BATCH, max_error: E_LIMIT,", "kind: packed-ops,", "'max' must name the limit"),
    ("kind: bytes, max: MAX_KEY_SIZE, max_error: E_KEY_SIZE, doc: \"The key.\"",
     "kind: bytes, max: MAX_SPEED, max_error: E_KEY_SIZE, doc: \"The key.\"", "'max' must name a limit"),
    ("name: out_timestamp,", "name: timestamp,", "outputs, and only outputs, are named out_*"),
    ("E_POISONED: An earlier write or sync failed.", "E_POISON: An earlier write or sync failed.", "unknown status 'E_POISON'"),
    ("    value: -102\n", "    value: -101\n", "two statuses share a value"),
    ("    value: -101\n    class: usage", "    value: -101\n    class: misuse", "unknown class 'misuse'"),
    ("same_database: txn", "same_database: transaction", "refers to a parameter that does not exist"),
    ("{name: memory_limit, type: uint64_t, unit: bytes, unbounded: true,", "{name: memory_limit, type: uint64_t, unit: bytes,",
     "of an option struct needs 'enum', 'max', or 'unbounded: true'"),
    ("{name: log_needed, type: uint32_t,", "{name: log_needed, type: uint8_t,", "no multiple of"),
    ("    todo: Begin a new transaction.\n", "    todo: \"\"\n", "'todo' is empty"),
    ("since: \"0.1\", doc: \"Longest", "since: 0.1.0, doc: \"Longest", "since is '0.1.0'"),
    ("close: keel_batch_free", "close: keel_batch_new", "is no function that consumes it"),
    ("    doc: Success.\n", "    doc: Success.\n    doc: Success.\n", "'doc' is given twice"),
]


@pytest.mark.parametrize(("good", "bad", "complaint"), BROKEN, ids=[b[2][:30] for b in BROKEN])
def test_what_is_wrong_is_named(tmp_path: Path, good: str, bad: str, complaint: str) -> None:
    assert good in DESCRIPTION, "the description has changed: adapt this test"
    with pytest.raises(model.DescriptionError) as error:
        load(tmp_path, DESCRIPTION.replace(good, bad, 1))
    assert complaint in str(error.value)


def test_a_comma_in_unquoted_text_is_found(tmp_path: Path) -> None:
    text = DESCRIPTION.replace('doc: "Rows."', "doc: Rows, many of them")
    with pytest.raises(model.DescriptionError) as error:
        load(tmp_path, text)
    assert f"keel.yml:{line_of(text, 'Rows, many')}:" in str(error.value)
    assert "unknown key 'many of them'" in str(error.value)


def test_a_new_function_is_covered_by_being_described(tmp_path: Path) -> None:
    new = """
      - name: keel_touch
        since: "0.1"
        doc: Does something to a key.
        params:
          - {name: txn, kind: handle, handle: txn, doc: "The transaction."}
          - {name: key, kind: bytes, max: MAX_KEY_SIZE, max_error: E_KEY_SIZE, doc: "The key."}
        errors:
          E_NOT_FOUND: The key has no value.
"""
    api = load(tmp_path, DESCRIPTION.rstrip() + new)
    texts = {output.path: render.render(api, output) for output in render.OUTPUTS}
    assert "keel_status keel_touch(keel_txn txn, const void *key, size_t key_size, keel_error *err);" in \
        texts["capi/include/keel/keel.h"]
    assert "keel_touch;" in texts["capi/keel.map"]
    assert "keel_touch(" in texts["bindings/swig/api.gen.i"]
    assert "### keel_touch" in texts["docs/reference/c.md"]
    assert "static void test_keel_touch(void **state)" in texts["tests/abi/abuse.gen.c"]


def test_check_finds_a_difference(capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("gen_main", ROOT / "tools/gen/main.py")
    assert spec is not None and spec.loader is not None
    main = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(main)
    path = ROOT / "capi/keel.map"
    text = path.read_text(encoding="utf-8")
    assert not main.check(path, text)
    assert main.check(path, text.replace("keel_flush", "keel_flash"))
    shown = capsys.readouterr().out
    assert "-    keel_flush;" in shown and "+    keel_flash;" in shown
