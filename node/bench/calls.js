// What a call costs: nanoseconds of CPU time per operation of the common calls, on a database without files. CPU time
// of the whole process, so that work of the collector's threads counts, and other programs on the machine count
// little.
//
//   npm run bench              the best of 7 rounds of each
//   npm run bench -- 1000000   with so many rows (default 100000)

import { open } from 'keel';

const rowsWanted = Number(process.argv[2] ?? 100_000);
const few = rowsWanted / 10;
const ROUNDS = 7;

const db = open(':memory:');
const rows = db.keyspace('rows');
const key = (i) => `key ${String(i).padStart(12, '0')}`;
const keys = Array.from({ length: rowsWanted }, (_, i) => Buffer.from(key((i * 7919) % rowsWanted)));
const names = keys.map(String);
const value = Buffer.alloc(100, 'v');

function measure(name, operations, run) {
  let best = Infinity;
  for (let round = 0; round < ROUNDS; round++) {
    globalThis.gc?.();
    const start = process.cpuUsage();
    run();
    const { user, system } = process.cpuUsage(start);
    best = Math.min(best, (user + system) * 1000);
  }
  console.log(`${name.padEnd(44)} ${(best / operations).toFixed(0).padStart(8)} ns`);
}

// With one row the engine has next to nothing to do: what remains is the way there and back.
const one = db.keyspace('one');
one.putSync('k', value);
const k = Buffer.from('k');
const alone = db.begin();
let bytes = 0;
measure('one row: has, Buffer key', rowsWanted, () => {
  for (let i = 0; i < rowsWanted; i++) bytes += alone.has(one, k) ? 1 : 0;
});
measure('one row: has, string key', rowsWanted, () => {
  for (let i = 0; i < rowsWanted; i++) bytes += alone.has(one, 'k') ? 1 : 0;
});
measure('one row: get, 100-byte value', rowsWanted, () => {
  for (let i = 0; i < rowsWanted; i++) bytes += alone.get(one, k).length;
});
measure('one row: put, 100-byte value', rowsWanted, () => {
  for (let i = 0; i < rowsWanted; i++) alone.put(one, k, value);
});
const pinned = alone.view(one, 'k');
measure('one row: view.slice of 100 bytes', rowsWanted, () => {
  for (let i = 0; i < rowsWanted; i++) bytes += pinned.slice(0, 100).length;
});
pinned.release();
alone.rollback();

measure('put, commit of all', rowsWanted, () => {
  const txn = db.begin();
  for (const one of keys) txn.put(rows, one, value);
  txn.commitSync();
});
measure('writeMany, commit of all', rowsWanted, () => {
  db.transactSync((txn) =>
    txn.writeMany(
      rows,
      keys.map((one) => [one, value]),
    ),
  );
});

const txn = db.begin({ readOnly: true });
measure('get, 100-byte value, Buffer key', rowsWanted, () => {
  for (const one of keys) bytes += txn.get(rows, one).length;
});
measure('get, 100-byte value, string key', rowsWanted, () => {
  for (const one of names) bytes += txn.get(rows, one).length;
});
measure('get, absent key', rowsWanted, () => {
  for (let i = 0; i < rowsWanted; i++) bytes += txn.get(rows, 'absent') === undefined ? 0 : 1;
});
measure('has', rowsWanted, () => {
  for (const one of keys) bytes += txn.has(rows, one) ? 1 : 0;
});
measure('getMany, 1000 keys a call', rowsWanted, () => {
  for (let i = 0; i < rowsWanted; i += 1000) bytes += txn.getMany(rows, keys.slice(i, i + 1000)).length;
});
measure('range, rows', rowsWanted, () => {
  for (const [k, v] of txn.range(rows)) bytes += k.length + v.length;
});
measure('range, keys', rowsWanted, () => {
  for (const k of txn.range(rows).keys()) bytes += k.length;
});
measure('view, slice of 10 bytes, release', few, () => {
  for (let i = 0; i < few; i++) {
    const view = txn.view(rows, keys[i]);
    bytes += view.slice(0, 10).length;
    view.release();
  }
});
txn.rollback();

measure('begin, rollback', few, () => {
  for (let i = 0; i < few; i++) db.begin().rollback();
});
measure('keyspace.get (a transaction each)', few, () => {
  for (let i = 0; i < few; i++) bytes += rows.get(keys[i]).length;
});
measure('keyspace.putSync (a transaction each)', few, () => {
  for (let i = 0; i < few; i++) rows.putSync(keys[i], value);
});

if (bytes === 0) throw new Error('nothing was read');
db.closeSync();
