"""demo.py: the whole of Keel in about a minute.

Real data (the GeoNames list of cities) goes in from Node and comes out in Python, Go and C. Then a writer is killed with
SIGKILL at a random moment, again and again, and the database is asked whether it kept its word.

./dev demo installs and builds what this needs and runs it.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import keel
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

import travel

HERE = Path(__file__).resolve().parent
console = Console()


def run(*command: str | Path) -> None:
    console.print(f"[dim]$ {' '.join(str(word) for word in command)}[/dim]", soft_wrap=True, highlight=False)
    sys.stdout.flush()
    done = subprocess.run([str(word) for word in command], check=False)
    if done.returncode != 0:
        sys.exit(f"demo: {command[0]} ended with {done.returncode}")
    console.print()


def heading(text: str) -> None:
    console.rule(f"[bold]{text}", align="left")


def kill_once(path: Path, threads: int) -> dict[int, int]:
    """Runs the writer, kills it at a random moment; how many journeys of each thread it had acknowledged."""
    writer = subprocess.Popen([sys.executable, str(HERE / "travel.py"), str(path), str(threads)], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    writer.stdout.readline()  # it has begun to write
    time.sleep(random.uniform(0.02, 0.4))
    writer.send_signal(signal.SIGKILL)
    acknowledged: dict[int, int] = {}
    for line in writer.stdout.read().splitlines():
        thread, number = line.split()
        acknowledged[int(thread)] = int(number) + 1
    writer.wait()
    return acknowledged


def verify(path: Path, acknowledged: dict[int, int]) -> tuple[int, int]:
    """Every acknowledged journey is there, nothing is half-done. Returns journeys found, and those that nobody had been told of."""
    expected = dict.fromkeys(range(travel.CITIES), travel.TRAVELLERS)
    counts: dict[int, int] = {}
    with keel.open(path) as db, db.transaction(read_only=True) as txn:
        for key, value in txn[db.keyspace("journeys")].items():
            thread, number = key[0], int.from_bytes(key[1:], "big")
            if number != counts.get(thread, 0):
                sys.exit(f"demo: journey {counts.get(thread, 0)} of thread {thread} is missing")
            counts[thread] = number + 1
            expected[int.from_bytes(value[:4], "big")] -= 1
            expected[int.from_bytes(value[4:], "big")] += 1
        found = {int.from_bytes(k, "big"): int.from_bytes(v, "big") for k, v in txn[db.keyspace("visitors")].items()}
    for thread, number in acknowledged.items():
        if counts.get(thread, 0) < number:
            sys.exit(f"demo: thread {thread} was told that {number} journeys are stored, {counts.get(thread, 0)} are there")
    if found != expected:
        sys.exit("demo: the travellers are not where the journeys say: a transaction is half-done")
    return sum(counts.values()), sum(n - acknowledged.get(t, 0) for t, n in counts.items())


def sizes(folder: Path) -> str:
    return ", ".join(f"{file.name} {file.stat().st_size / 1e6:.1f} MB" for file in sorted(folder.iterdir()))


def kill_loop(path: Path, rounds: int) -> None:
    total: dict[int, int] = {}
    killed = ""
    columns = (TextColumn("killing "), BarColumn(30), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=rounds)
        for round_number in range(rounds):
            # Acknowledged in this round continues from what the database had, so the maximum is what it has promised.
            for thread, number in kill_once(path, 1 + round_number % 4).items():
                total[thread] = max(total.get(thread, 0), number)
            killed = sizes(path.parent)
            journeys, untold = verify(path, total)
            progress.update(task, advance=1, description=f"{journeys:,} journeys kept, {untold} more than were acknowledged")
    console.print(
        f"{rounds} times SIGKILL: {sum(total.values()):,} acknowledged commits, all there; the travellers still add up to "
        f"{travel.CITIES * travel.TRAVELLERS:,}: nothing is half-done."
    )
    console.print(f"after the last SIGKILL: {killed}", soft_wrap=True, highlight=False)
    console.print(f"opened and closed:      {sizes(path.parent)}", soft_wrap=True, highlight=False)
    console.print("NAME-wal is the log: what is not in NAME's trees yet. Opening replays it, closing removes it.", soft_wrap=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, required=True, help="folder with the built programs near and names")
    parser.add_argument("--keep", type=Path, help="keep the databases in this folder (default: a temporary one)")
    parser.add_argument("--rounds", type=int, default=12, help="how often the writer is killed (default 12)")
    arguments = parser.parse_args()
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="keel-demo-") as scratch:
        folder = arguments.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        database = folder / "cities.keel"
        heading("Node loads the GeoNames list of cities")
        run("node", HERE / "load" / "load.mjs", database)
        heading("Python: the largest places of a country")
        run(sys.executable, HERE / "countries.py", database, "AT", "BR", "IN", "NG")
        heading("Go: places by the beginning of their name")
        run(arguments.build / "names", database, "San", "Wien", "Neu")
        heading("C: what is near?")
        run(arguments.build / "near", database, "48.2082", "16.3738", "30")
        heading("SIGKILL, again and again")
        kill_loop(folder / "travel.keel", arguments.rounds)
    console.print(f"[green]done[/green] in {time.monotonic() - begin:.0f} s")


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main()
