// A database that is many times larger than what is committed between two drains, and than the page cache.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { open } from 'keel';

import { asyncCode, code, file, folder, memory, text } from './support.js';

const ROWS = 200_000;
const COMMIT = 2_000;
const OPTIONS = { deltaSize: 64 * 1024, cacheSize: 8 * 1024 * 1024 }; // the rows alone are three times the cache

const key = (number) => `row ${String(number).padStart(8, '0')}`;
const value = (number) => `value of ${number} `.repeat(12).slice(0, 100);

/** All numbers below `count`, in an order that looks random; `stride` and `count` have no common factor. */
function* scattered(count, stride) {
  for (let i = 0, at = 0; i < count; i++, at = (at + stride) % count) yield at;
}

let loaded;

before(async () => {
  loaded = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'keel-node-')), 'rows.keel');
  const db = open(loaded, { ...OPTIONS, durability: 'none' });
  const rows = db.keyspace('rows');
  const order = Array.from(scattered(ROWS, 77_773));
  for (let i = 0; i < ROWS; i += COMMIT) {
    await db.transact((txn) => txn.writeMany(rows, order.slice(i, i + COMMIT).map((n) => [key(n), value(n)])));
  }
  const stats = db.stats();
  assert.ok(stats.checkpoints > 3, `${stats.checkpoints} checkpoints`);
  assert.equal(stats.drainFailures, 0);
  assert.equal(stats.cacheLimit, OPTIONS.cacheSize);
  await db.close();
  assert.deepEqual(fs.readdirSync(path.dirname(loaded)), ['rows.keel'], 'a clean close leaves one file');
  assert.ok(fs.statSync(loaded).size > ROWS * 100);
});

after(() => fs.rmSync(path.dirname(loaded), { recursive: true }));

/** The file alone, under another name. */
function copied(t) {
  const name = path.join(folder(t), 'copy.keel');
  fs.copyFileSync(loaded, name);
  return name;
}

function reopen(t, name) {
  const db = open(name, { ...OPTIONS, create: false });
  t.after(() => db.closeSync());
  return db;
}

/** Both directions; `gone` says which rows are not there. */
function check(rows, gone) {
  const left = Array.from({ length: ROWS }, (_, n) => n).filter((n) => !gone(n));
  for (const reverse of [false, true]) {
    let at = 0;
    for (const [foundKey, foundValue] of rows.range({ reverse })) {
      const n = reverse ? left[left.length - 1 - at] : left[at];
      if (text(foundKey) !== key(n) || text(foundValue) !== value(n)) assert.fail(`row ${at} is ${foundKey}, not ${n}`);
      at++;
    }
    assert.equal(at, left.length);
  }
}

test('scans in both directions, from the file alone', (t) => {
  const name = copied(t);
  const db = open(name, { ...OPTIONS, readOnly: true });
  t.after(() => db.closeSync());
  assert.equal(db.lastCheckpoint().logNeeded, false);
  assert.ok(db.lastCheckpoint().sequence > 3);
  check(db.keyspace('rows', { create: false }), () => false);
  const stats = db.stats();
  assert.ok(stats.cacheLoads > 0);
  assert.ok(stats.cacheEvictions > 0, 'the scans did not fit into the cache');
  assert.equal(stats.recoveryBytes, 0);
  assert.deepEqual(fs.readdirSync(path.dirname(name)), ['copy.keel']);
});

test('lookups in random order', (t) => {
  const db = reopen(t, copied(t));
  const rows = db.keyspace('rows');
  const wanted = Array.from(scattered(2 * ROWS, 77_773)).slice(0, 50_000);
  const expected = wanted.map((n) => (n < ROWS ? value(n) : undefined));
  const txn = db.begin({ readOnly: true });
  assert.deepEqual(txn.getMany(rows, wanted.map(key)).map(text), expected);
  const kept = wanted.slice(0, 5_000).map((n) => txn.get(rows, key(n)));
  assert.deepEqual(kept.map(text), expected.slice(0, 5_000), 'a value that was returned is a copy');
  for (const n of wanted.slice(0, 1_000)) assert.equal(txn.has(rows, key(n)), n < ROWS);
  txn.rollback();
});

test('views outlive eviction and close, snapshots outlive checkpoints', async (t) => {
  const name = copied(t);
  const db = reopen(t, name);
  const rows = db.keyspace('rows');
  const big = Buffer.alloc(3_000_000, 'large value ');
  await rows.put('z big', big);
  await db.makeCheckpoint();
  const snapshot = db.begin({ readOnly: true });
  const numbers = Array.from({ length: ROWS / 5_000 }, (_, i) => i * 5_000);
  const views = numbers.map((n) => snapshot.view(rows, key(n)));
  const bigView = snapshot.view(rows, 'z big');
  for (let round = 0; round < 3; round++) {
    await db.transact((txn) => {
      for (let n = 0; n < ROWS; n += 50) txn.put(rows, key(n), `round ${round}`);
      txn.del(rows, 'z big');
    });
    await db.makeCheckpoint();
  }
  for (let n = 0; n < ROWS; n += 1_000) assert.equal(text(snapshot.get(rows, key(n))), value(n));
  snapshot.rollback();
  for (let scan = 0; scan < 2; scan++) for (const [found] of rows.range()) assert.ok(found.length > 0);
  assert.ok(db.stats().cacheEvictions > 0);
  assert.equal(db.stats().viewsLive, views.length + 1);
  await db.close();
  assert.deepEqual(views.map((view) => text(view.toBuffer())), numbers.map(value));
  assert.deepEqual(bigView.toBuffer(), big);
  for (const view of [...views, bigView]) view.release();
  assert.deepEqual(fs.readdirSync(path.dirname(name)), ['copy.keel']);
  const again = reopen(t, name).keyspace('rows');
  assert.equal(text(again.get(key(50))), 'round 2');
  assert.equal(again.get('z big'), undefined);
});

test('deletes', async (t) => {
  const name = copied(t);
  const db = reopen(t, name);
  const rows = db.keyspace('rows');
  const seventh = Array.from({ length: Math.ceil(ROWS / 7) }, (_, i) => [key(i * 7), null]);
  await db.transact((txn) => txn.writeMany(rows, seventh));
  const removed = await db.transact((txn) => txn.delRange(rows, key(30_000), key(130_000)));
  assert.equal(removed, 100_000 - (Math.floor(129_999 / 7) - Math.floor(29_999 / 7)));
  const gone = (n) => n % 7 === 0 || (n >= 30_000 && n < 130_000);
  check(rows, gone);
  db.makeCheckpointSync();
  check(rows, gone);
  await db.close();
  check(reopen(t, name).keyspace('rows'), gone);
});

test('compacting makes the file short', async (t) => {
  const name = copied(t);
  const before = fs.statSync(name).size;
  const db = reopen(t, name);
  const rows = db.keyspace('rows');
  await db.transact((txn) => txn.delRange(rows, key(0), key(ROWS - 1_000)));
  await db.compact();
  assert.ok(fs.statSync(name).size < before / 20);
  assert.equal(text(rows.get(key(ROWS - 1_000))), value(ROWS - 1_000));
  assert.equal(rows.get(key(0)), undefined);
  db.compactSync();
  await db.close();
  assert.equal(await asyncCode(db.compact()), 'KEEL_E_CLOSED');
});

test('the cache grows and shrinks when told', (t) => {
  const db = reopen(t, copied(t));
  db.setCacheSize(64 << 20);
  assert.equal(Number(db.stats().cacheLimit), 64 << 20);
  db.setCacheSize(1);
  assert.equal(Number(db.stats().cacheLimit), 8 << 20);
  assert.ok(Number(db.stats().cacheResident) <= 8 << 20);
  assert.equal(code(() => db.setCacheSize(2n ** 60n)), 'KEEL_E_INVALID');
  db.closeSync();
  assert.equal(code(() => db.setCacheSize(8 << 20)), 'KEEL_E_CLOSED');
});

test('a checkpoint empties the log, and its promise has the right errors', async (t) => {
  const db = file(t);
  await db.keyspace('rows').put('k', 'v');
  const first = db.lastCheckpoint();
  await db.makeCheckpoint();
  const second = db.lastCheckpoint();
  assert.ok(second.sequence > first.sequence);
  assert.equal(second.timestamp, db.stats().visibleTimestamp);
  assert.equal(db.stats().deltaKeys, 0);
  await db.close();
  assert.equal(await asyncCode(db.makeCheckpoint()), 'KEEL_E_CLOSED');
  assert.equal(
    code(() => db.makeCheckpointSync()),
    'KEEL_E_CLOSED',
  );
  const reader = open(db.path, { readOnly: true });
  assert.equal(await asyncCode(reader.makeCheckpoint()), 'KEEL_E_READ_ONLY');
  reader.closeSync();
  memory(t).makeCheckpointSync();
});

test('options of a second opening must agree', (t) => {
  const db = file(t, OPTIONS);
  open(db.path).closeSync();
  open(db.path, OPTIONS).closeSync();
  for (const name of Object.keys(OPTIONS)) {
    assert.throws(() => open(db.path, { [name]: 2 * OPTIONS[name] }), { code: 'KEEL_E_INVALID' });
  }
});
