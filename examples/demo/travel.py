"""travel.py DATABASE THREADS: the writer that the demo kills.

Each of its threads moves travellers between cities for ever. One move is one transaction over two keyspaces:

    visitors   city id -> how many travellers are there     (one fewer here, one more there)
    journeys   thread, number -> from, to                   (the move itself)

so that at any moment the travellers add up to what they were, and visitors is what the journeys make of it. After each
acknowledged commit it prints "thread number"; what was printed must be there whatever happens next.
"""

import os
import random
import sys
import threading

import keel

CITIES = 500
TRAVELLERS = 100


def journey_key(thread: int, number: int) -> bytes:
    return thread.to_bytes(1, "big") + number.to_bytes(4, "big")


def city_key(city: int) -> bytes:
    return city.to_bytes(4, "big")


def prepare(db: keel.Database) -> None:
    with db.transaction() as txn:
        visitors = txn[db.keyspace("visitors")]
        if visitors.get(city_key(0)) is None:
            visitors.put_many((city_key(city), TRAVELLERS.to_bytes(4, "big")) for city in range(CITIES))


def travel(db: keel.Database, thread: int) -> None:
    visitors, journeys = db.keyspace("visitors"), db.keyspace("journeys")
    number = sum(1 for _ in journeys.keys(prefix=bytes([thread])))
    rng = random.Random()

    def move(txn: keel.Transaction) -> None:
        source, target = rng.sample(range(CITIES), 2)
        here = int.from_bytes(txn[visitors][city_key(source)], "big")
        there = int.from_bytes(txn[visitors][city_key(target)], "big")
        if here == 0:
            source, target, here, there = target, source, there, here
        txn[visitors].put(city_key(source), (here - 1).to_bytes(4, "big"))
        txn[visitors].put(city_key(target), (there + 1).to_bytes(4, "big"))
        txn[journeys].put(journey_key(thread, number), city_key(source) + city_key(target))

    while True:
        db.transact(move)
        os.write(1, f"{thread} {number}\n".encode())
        number += 1


def main(path: str, threads: int) -> None:
    # So little at a time that the background is always draining the log into the file: that is killed, too.
    db = keel.open(path, delta_size=64 << 10)
    prepare(db)
    for thread in range(threads):
        threading.Thread(target=travel, args=(db, thread), daemon=True).start()
    threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
