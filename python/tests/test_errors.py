"""Exceptions: complete, catchable by class, picklable, with a line that helps."""

from __future__ import annotations

import errno
import pickle
from collections.abc import Callable

import pytest

import keel
from keel import _errors, _gen, _raw


@pytest.mark.parametrize("code", sorted(code for code in _gen.STATUSES if code != 0))
def test_every_status_has_its_exception(code: int) -> None:
    info = _gen.STATUSES[code]
    error = _errors.from_status(code, "what went wrong", errno.ENOSPC)
    assert type(error) is not keel.Error
    assert getattr(keel, type(error).__name__) is type(error)
    assert (error.code, error.name, str(error)) == (code, info.name, "what went wrong")
    assert error.system_errno == errno.ENOSPC
    assert error.retryable == info.retryable == bool(_raw.status_is_retryable(code))
    assert _raw.status_name(code) == info.name
    assert _raw.status_class(code) == info.class_name
    assert repr(error) == f"{type(error).__name__}('what went wrong')"
    if isinstance(error, OSError):
        assert (error.errno, error.strerror) == (errno.ENOSPC, "what went wrong")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (again.code, str(again), again.system_errno) == (error.code, str(error), error.system_errno)


def test_statuses_of_one_class_share_a_base() -> None:
    bases: dict[str, set[type]] = {}
    for code, info in _gen.STATUSES.items():
        if code != 0:
            bases.setdefault(info.class_name, set()).add(type(_errors.from_status(code, "")).__mro__[1])
    assert all(len(of_class) == 1 for of_class in bases.values()), bases
    assert bases["io"] == {keel.StorageError}
    assert issubclass(keel.StorageError, OSError)


def test_an_unknown_status_is_an_error_all_the_same() -> None:
    error = _errors.from_status(-12345, "from a newer library")
    assert (type(error), error.code, error.name) == (keel.Error, -12345, "unknown")


def test_builtin_relatives() -> None:
    assert issubclass(keel.NotFoundError, KeyError)
    assert issubclass(keel.NoFileError, FileNotFoundError)
    assert issubclass(keel.TimeoutError, TimeoutError)
    assert issubclass(keel.PermissionError, PermissionError)
    assert issubclass(keel.NoMemoryError, MemoryError)
    assert issubclass(keel.InvalidError, ValueError)


def test_messages_are_one_line(db: keel.Database) -> None:
    with pytest.raises(keel.KeySizeError) as error:
        db["rows"].get(b"k" * 5000)
    assert "1024" in str(error.value)
    assert "\n" not in str(error.value)


HANDLES = [0, 1, 2**21, 2**40, 2**53 - 1, 2**53, 2**64 - 1]


@pytest.mark.parametrize("handle", HANDLES)
def test_raw_functions_refuse_bad_handles(db: keel.Database, rows: keel.Keyspace, handle: int) -> None:
    txn = db.begin()
    good_txn, good_rows = txn._handle, rows._handle
    calls: list[Callable[[], object]] = [
        lambda: _raw.close(handle),
        lambda: _raw.flush(handle),
        lambda: _raw.get_stats(handle),
        lambda: _raw.keyspace_list(handle),
        lambda: _raw.keyspace_open(handle, b"x", 0),
        lambda: _raw.keyspace_close(handle),
        lambda: _raw.begin(handle, 0, 0, 0, None),
        lambda: _raw.commit(handle),
        lambda: _raw.rollback(handle),
        lambda: _raw.get(handle, good_rows, b"k"),
        lambda: _raw.get(good_txn, handle, b"k"),
        lambda: _raw.put(good_txn, handle, b"k", b"v"),
        lambda: _raw.put(handle, good_rows, b"k", b"v"),
        lambda: _raw.contains(handle, good_rows, b"k"),
        lambda: _raw.get_view(handle, good_rows, b"k"),
        lambda: _raw.get_many(handle, good_rows, []),
        lambda: _raw.get_many(good_txn, handle, [b"k"]),
        lambda: _raw.write_many(handle, good_rows, []),
        lambda: _raw.write_many(good_txn, handle, [(b"k", b"v")]),
        lambda: _raw.cursor_open(handle, good_rows, None, None, None),
        lambda: _raw.cursor_rows(handle, 1, 0, 0, 0),
        lambda: _raw.cursor_next(handle),
        lambda: _raw.cursor_close(handle),
    ]
    for call in calls:
        with pytest.raises(keel.HandleError):
            call()
    # A handle of the wrong kind.
    with pytest.raises(keel.HandleError):
        _raw.commit(good_rows)
    with pytest.raises(keel.HandleError):
        _raw.keyspace_close(good_txn)
    assert _raw.get(good_txn, good_rows, b"k") is None
    txn.rollback()


@pytest.mark.parametrize("handle", [-1, 2**64, 2**200])
def test_numbers_that_are_no_handles(handle: int) -> None:
    with pytest.raises(OverflowError):
        _raw.commit(handle)


@pytest.mark.parametrize("handle", [None, "1", 1.5, b"1"])
def test_things_that_are_no_numbers(handle: int) -> None:
    with pytest.raises(TypeError):
        _raw.commit(handle)


def test_wrong_number_of_arguments(rows: keel.Keyspace) -> None:
    with pytest.raises(TypeError):
        _raw.get()  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        _raw.put(1, 2, b"k")  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        _raw.commit(1, 2)  # type: ignore[call-arg]
