"""The database against a dictionary, by random programs of operations."""

from __future__ import annotations

import os
import shutil
import tempfile

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import keel

# Few and short keys, so that operations meet; some that stress prefixes and byte order.
keys = st.one_of(
    st.binary(max_size=2),
    st.sampled_from([b"", b"a", b"a\x00", b"a\xff", b"a\xff\xff", b"b", b"\xff", b"\xff\xff", b"k" * 1024]),
)
# Some lie in pages, some in extents of their own.
sizes = st.integers(0, 9000) | st.just(150_000)
values = st.binary(max_size=20) | sizes.map(lambda n: b"x" * n)
bounds = st.none() | keys

settings.register_profile("default", max_examples=60, stateful_step_count=40, deadline=None)
settings.register_profile("thorough", max_examples=2000, stateful_step_count=100, deadline=None)
settings.load_profile(os.environ.get("KEEL_HYPOTHESIS", "default"))


class Model(RuleBasedStateMachine):
    """`committed` is what the database holds, `pending` what the open transaction sees."""

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.mkdtemp()
        self.path = os.path.join(self.folder, "data.keel")
        self.db = keel.open(self.path, durability="none")
        self.rows = self.db["rows"]
        self.committed: dict[bytes, bytes] = {}
        self.pending: dict[bytes, bytes] | None = None
        self.txn: keel.Transaction | None = None
        self.views: list[tuple[keel.View, bytes]] = []

    def teardown(self) -> None:
        if hasattr(self, "db"):
            self.end_transaction()
            self.db.close()
            for view, value in self.views:
                assert bytes(view) == value
            shutil.rmtree(self.folder)

    def end_transaction(self) -> None:
        if self.txn is not None:
            self.txn.rollback()
            self.txn = self.pending = None

    @property
    def now(self) -> keel.Keyspace | keel.TransactionKeyspace:
        return self.rows if self.txn is None else self.txn[self.rows]

    @property
    def model(self) -> dict[bytes, bytes]:
        return self.committed if self.pending is None else self.pending

    @rule(key=keys, value=values)
    def put(self, key: bytes, value: bytes) -> None:
        self.now[key] = value
        self.model[key] = value

    @rule(key=keys)
    def delete(self, key: bytes) -> None:
        self.now.delete(key)
        self.model.pop(key, None)

    @rule(operations=st.lists(st.tuples(keys, st.none() | values), max_size=8))
    def write_many(self, operations: list[tuple[bytes, bytes | None]]) -> None:
        self.now.write_many(operations)
        for key, value in operations:
            if value is None:
                self.model.pop(key, None)
            else:
                self.model[key] = value

    @rule(start=bounds, stop=bounds)
    def delete_range(self, start: bytes | None, stop: bytes | None) -> None:
        gone = [k for k in self.model if (start is None or k >= start) and (stop is None or k < stop)]
        deleted = self.now.clear() if start is stop is None else self.now.delete_range(start, stop)
        assert deleted == len(gone)
        for key in gone:
            del self.model[key]

    @rule(key=keys)
    def get(self, key: bytes) -> None:
        assert self.now.get(key) == self.model.get(key)
        assert (key in self.now) == (key in self.model)

    @rule(wanted=st.lists(keys, max_size=10))
    def get_many(self, wanted: list[bytes]) -> None:
        assert self.now.get_many(wanted) == [self.model.get(key) for key in wanted]

    @rule(key=keys)
    def view(self, key: bytes) -> None:
        if key in self.model:
            self.views.append((self.now.view(key), self.model[key]))

    @rule(start=bounds, stop=bounds, prefix=bounds, reverse=st.booleans(), consumed=st.integers(0, 400))
    def range(
        self, start: bytes | None, stop: bytes | None, prefix: bytes | None, reverse: bool, consumed: int
    ) -> None:
        expected = sorted(
            (k, v)
            for k, v in self.model.items()
            if (start is None or k >= start)
            and (stop is None or k < stop)
            and (prefix is None or k.startswith(prefix))
        )
        if reverse:
            expected.reverse()
        found = self.now.items(start, stop, prefix=prefix, reverse=reverse)
        assert [row for row, _ in zip(found, range(consumed))] == expected[:consumed]

    @precondition(lambda self: self.txn is None)
    @rule()
    def begin(self) -> None:
        self.txn = self.db.begin()
        self.pending = dict(self.committed)

    @precondition(lambda self: self.txn is not None)
    @rule()
    def commit(self) -> None:
        assert self.txn is not None and self.pending is not None
        self.txn.commit()
        self.committed = self.pending
        self.txn = self.pending = None

    @precondition(lambda self: self.txn is not None)
    @rule()
    def rollback(self) -> None:
        self.end_transaction()

    @precondition(lambda self: self.txn is not None)
    @rule(key=keys)
    def others_do_not_see_pending_writes(self, key: bytes) -> None:
        assert self.rows.get(key) == self.committed.get(key)

    @rule()
    def reopen(self) -> None:
        self.end_transaction()
        self.db.close()
        self.db = keel.open(self.path, create=False, durability="none")
        self.rows = self.db["rows"]

    @rule()
    def checkpoint(self) -> None:
        self.db.make_checkpoint()

    @rule()
    def crash(self) -> None:
        """File and log as they are now, taken elsewhere and opened there, are what is committed."""
        with tempfile.TemporaryDirectory() as elsewhere:
            for name in os.listdir(self.folder):
                shutil.copy(os.path.join(self.folder, name), elsewhere)
            with keel.open(os.path.join(elsewhere, "data.keel"), create=False) as copy:
                assert list(copy["rows"].items()) == sorted(self.committed.items())
            assert os.listdir(elsewhere) == ["data.keel"]

    @rule()
    def forget_views(self) -> None:
        for view, value in self.views:
            assert bytes(view) == value
            view.release()
        self.views.clear()

    @invariant()
    def whole_content(self) -> None:
        if hasattr(self, "db"):
            assert list(self.now.items()) == sorted(self.model.items())
            assert self.db.stats().views_live == len(self.views)


TestModel = Model.TestCase
TestModel.settings = settings(suppress_health_check=[HealthCheck.too_slow])
