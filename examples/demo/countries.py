"""countries.py DATABASE COUNTRY...: the question that Python answers: which are a country's largest places?

The keyspace by_country is ordered by country, then by population downwards, so the answer is the beginning of a range.
"""

import itertools
import sys
import time

import keel
from rich.console import Console
from rich.table import Table

LARGEST = 3


def main(path: str, countries: list[str]) -> None:
    table = Table(title="Largest places (read by Python)")
    for column, justify in (("country", "left"), ("places", "right"), ("largest", "left"), ("people", "right")):
        table.add_column(column, justify=justify)
    rows = 0
    with keel.open(path, read_only=True) as db, db.transaction(read_only=True) as txn:
        begin = time.perf_counter()
        by_country = txn[db.keyspace("by_country", create=False)]
        for country in countries:
            prefix = country.encode()
            top = itertools.islice(by_country.items(prefix=prefix), LARGEST)
            largest = [(name.decode(), 0xFFFFFFFF - int.from_bytes(key[2:6], "big")) for key, name in top]
            places = sum(1 for _ in by_country.keys(prefix=prefix))
            rows += places
            for i, (name, people) in enumerate(largest):
                table.add_row(country if i == 0 else "", f"{places:,}" if i == 0 else "", name, f"{people:,}")
    took = time.perf_counter() - begin
    console = Console()
    console.print(table)
    console.print(f"read {rows:,} index rows in {took * 1e3:.1f} ms ({rows / took:,.0f} rows/s)")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: countries.py DATABASE COUNTRY...")
    main(sys.argv[1], sys.argv[2:])
