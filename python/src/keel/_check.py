"""Verification and salvage: steps in C, reports between them."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from typing import TypeAlias

from . import _raw
from ._gen import CHECK_PROBLEMS
from ._records import CheckReport

Progress: TypeAlias = Callable[[CheckReport], object]

# How much is read between two reports: some milliseconds.
STEP_BYTES = 1 << 20


def run_check(
    check: int, progress: Progress | None, step_bytes: int, before_step: Callable[[], object] | None = None
) -> CheckReport:
    """Run a verification or a salvage to its end, and close it, whatever happens."""
    texts: list[str] = []
    try:
        while True:
            if before_step is not None:
                before_step()
            report = CheckReport._make((*_raw.check_step(check, step_bytes), ()))
            while len(texts) < min(report.problems, CHECK_PROBLEMS):
                texts.append(_raw.check_problem(check, len(texts)))
            report = report._replace(problem_texts=tuple(texts))
            if progress is not None:
                progress(report)
            if report.finished:
                return report
    finally:
        _raw.check_close(check)


def salvage(
    path: str | bytes | PathLike[str] | PathLike[bytes],
    new_path: str | bytes | PathLike[str] | PathLike[bytes],
    *,
    progress: Progress | None = None,
    step_bytes: int = STEP_BYTES,
) -> CheckReport:
    """Copy what is sound of the database at `path` into a new one at `new_path`.

    The old one may be damaged so much that it cannot be opened; it must not be open, and is not written to. Keyspaces
    keep their names; one whose name is lost is called `lost-keyspace-` and its number. Damage is no exception: the
    report counts what was copied (`rows`, `log_commits`) and what was lost (`problems`, `lost_rows`, ...), and
    `problem_texts` tells the first problems.

    A report is given to `progress`, too, after each `step_bytes` or so; when that raises, the salvage is over, and what
    has been copied is in the new database.
    """
    return run_check(_raw.salvage_begin(path, new_path), progress, step_bytes)
