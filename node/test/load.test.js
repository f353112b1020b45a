// Bulk loads: any order, large values, all or nothing.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { Readable } from 'node:stream';
import { test } from 'node:test';

import { limits, open } from 'keel';

import { asyncCode, code, collect, file, memory, openHandles, texts } from './support.js';

const ROWS = 30_000;
const key = (number) => `row ${String(number).padStart(8, '0')}`;
const value = (number) => `value of ${number} `.repeat(12).slice(0, 100);

function* rows(order) {
  for (const n of order) yield [key(n), value(n)];
}

async function* slowly(order) {
  for (const n of order) {
    if (n % 1000 === 0) await null;
    yield [key(n), value(n)];
  }
}

const ordered = Array.from({ length: ROWS }, (_, n) => n);
const scattered = ordered.map((n) => (n * 7919) % ROWS);
const expected = ordered.map((n) => `${key(n)}=${value(n)}`);

for (const [name, load] of [
  ['load', (db, ...args) => db.load(...args)],
  ['loadSync', (db, ...args) => db.loadSync(...args)],
]) {
  test(`${name} takes rows in and out of order`, async (t) => {
    const db = file(t);
    const before = openHandles();
    const sorted = await load(db, 'sorted', rows(ordered));
    assert.deepEqual(sorted, { finished: true, rows: ROWS, bytes: ROWS * 112, runs: 1 });
    const unsorted = await load(db, 'unsorted', rows(scattered), { bufferSize: 1 << 20 });
    assert.equal(unsorted.rows, ROWS);
    assert.ok(unsorted.runs > 1, `${unsorted.runs} runs`);
    assert.equal(openHandles(), before);
    db.closeSync();
    const again = open(db.path);
    t.after(() => again.closeSync());
    assert.deepEqual(again.keyspaces(), ['sorted', 'unsorted']);
    for (const keyspace of again.keyspaces()) {
      assert.deepEqual(texts(again.keyspace(keyspace).range()), expected, keyspace);
    }
    assert.equal((await again.verify()).problems, 0);
  });

  test(`${name}: of several rows with one key the last one stays`, async (t) => {
    const db = memory(t);
    const pairs = [['b', '1'], ['a', '2'], [Buffer.from('b'), '3'], ['', 'empty'], ['c', new Uint8Array(0)]];
    assert.equal((await load(db, 'rows', pairs)).rows, 5);
    assert.deepEqual(texts(db.keyspace('rows').range()), ['=empty', 'a=2', 'b=3', 'c=']);
    await load(db, 'map', new Map([['a', '1']]));
    assert.deepEqual(texts(db.keyspace('map').range()), ['a=1']);
  });

  test(`${name} takes values larger than a batch`, async (t) => {
    const db = file(t);
    const mebi = 1 << 20;
    const sizes = [0, 1, mebi - 20, mebi - 12, mebi, mebi + 1, 5 * mebi];
    const content = (size) => Buffer.alloc(size, String(size));
    const pairs = sizes.map((size, i) => [`key ${i}`, content(size)]);
    pairs.push(['x'.repeat(limits.MAX_KEY_SIZE), 'longest key']);
    await load(db, 'rows', pairs);
    const found = db.keyspace('rows').range().toArray();
    assert.equal(found.length, pairs.length);
    sizes.forEach((size, i) => assert.ok(found[i][1].equals(content(size)), String(size)));
  });

  test(`${name} of no rows makes an empty keyspace`, async (t) => {
    const db = file(t);
    assert.deepEqual(await load(db, 'rows', []), { finished: true, rows: 0, bytes: 0, runs: 0 });
    assert.deepEqual(db.keyspaces(), ['rows']);
    assert.equal(db.keyspace('rows').range().toArray().length, 0);
  });

  test(`${name} replaces what exists only when asked`, async (t) => {
    const db = file(t);
    const old = db.keyspace('rows');
    await old.put('old', '1');
    assert.equal(await asyncCode((async () => load(db, 'rows', [['new', '2']]))()), 'KEEL_E_EXISTS');
    assert.deepEqual(texts(old.range()), ['old=1']);
    await load(db, 'rows', [['new', '2']], { replace: true });
    assert.deepEqual(texts(db.keyspace('rows').range()), ['new=2']);
    assert.equal(
      code(() => old.get('old')),
      'KEEL_E_KEYSPACE_NOT_FOUND',
    );
  });

  test(`${name} leaves nothing when it fails`, async (t) => {
    const db = file(t);
    const before = openHandles();
    const attempt = async (what, options) => load(db, 'rows', what, options);
    const broken = new Error('in the middle');
    const failing = function* () {
      yield* rows(ordered); // more than one batch
      throw broken;
    };
    await assert.rejects(attempt(failing()), broken);
    const long = 'k'.repeat(limits.MAX_KEY_SIZE + 1);
    assert.equal(await asyncCode(attempt([['a', '1'], [long, '2']])), 'KEEL_E_KEY_SIZE');
    assert.equal(await asyncCode(attempt([['a', '1'], ['b', null]])), 'KEEL_E_INVALID');
    assert.equal(await asyncCode(attempt([['a', '1'], ['b']])), 'KEEL_E_INVALID');
    await assert.rejects(attempt([5]), TypeError);
    assert.equal(await asyncCode(attempt(5)), 'KEEL_E_INVALID');
    assert.equal(await asyncCode(attempt([], { bufferSize: 1 })), 'KEEL_E_INVALID');
    assert.equal(await asyncCode(attempt([], { replaces: true })), 'KEEL_E_INVALID');
    assert.deepEqual(db.keyspaces(), []);
    assert.equal(openHandles(), before);
    await attempt([['a', '1']]);
    assert.deepEqual(texts(db.keyspace('rows').range()), ['a=1']);
  });
}

test('load takes async iterables and streams', async (t) => {
  const db = file(t);
  assert.equal((await db.load('generator', slowly(scattered))).rows, ROWS);
  assert.deepEqual(texts(db.keyspace('generator').range()), expected);
  await db.load('stream', Readable.from(rows(ordered)));
  assert.deepEqual(texts(db.keyspace('stream').range()), expected);
  await db.load('copy', db.keyspace('stream').range());
  assert.deepEqual(texts(db.keyspace('copy').range()), expected);
  const failing = async function* () {
    yield* slowly(ordered);
    throw new Error('in the middle');
  };
  await assert.rejects(db.load('failing', failing()), /in the middle/);
  assert.equal(
    code(() => db.loadSync('sync', slowly(ordered))),
    'KEEL_E_INVALID',
  );
  assert.deepEqual(db.keyspaces(), ['copy', 'generator', 'stream']);
});

test('the event loop turns while a load goes on', async (t) => {
  const db = file(t);
  let turns = 0;
  let loading = true;
  const count = () => {
    turns++;
    if (loading) setImmediate(count);
  };
  setImmediate(count);
  await db.load('rows', rows(ordered));
  loading = false;
  assert.ok(turns >= 4, `${turns} turns in more than three batches and the end`);
});

test('a loader takes rows bit by bit', async (t) => {
  const db = file(t);
  const before = openHandles();
  const loader = db.loader('rows');
  assert.equal(loader.name, 'rows');
  loader.put('b', '2');
  assert.equal(await loader.putMany([['c', '3'], ['a', '0']]), 2);
  assert.equal(loader.putManySync(new Map([['a', '1']])), 1);
  assert.deepEqual(db.keyspaces(), []);
  assert.equal(loader.isOpen, true);
  assert.equal((await loader.finish()).rows, 4);
  assert.equal(loader.isOpen, false);
  assert.deepEqual(texts(db.keyspace('rows').range()), ['a=1', 'b=2', 'c=3']);
  await loader.close();
  loader.closeSync();
  assert.equal(
    code(() => loader.put('d', '4')),
    'KEEL_E_HANDLE',
  );
  assert.equal(await asyncCode(loader.finish()), 'KEEL_E_HANDLE');
  assert.equal(await asyncCode(loader.putMany([])), 'KEEL_E_HANDLE');
  db.dropKeyspace('rows');
  const second = db.loader('rows');
  second.put('a', '1');
  assert.equal(second.finishSync().rows, 1);
  assert.equal(openHandles(), before + 1); // the keyspace object above
});

test('a loader that is closed or disposed of leaves nothing', async (t) => {
  const db = file(t);
  const before = openHandles();
  const one = db.loader('rows');
  await one.putMany(rows(ordered));
  await one.close();
  await one.close();
  const two = db.loader('rows');
  two.putManySync(rows(ordered));
  two.closeSync();
  const symbol = Symbol.dispose ?? Symbol.asyncDispose;
  if (symbol) {
    const three = db.loader('rows');
    three.put('a', '1');
    await three[symbol]();
    assert.equal(three.isOpen, false);
  }
  assert.deepEqual(db.keyspaces(), []);
  assert.equal(openHandles(), before);
});

test('a loader answers with an error while it is busy', async (t) => {
  const db = file(t);
  const loader = db.loader('rows');
  loader.put('a', '1');
  const calls = [() => loader.put('b', '2'), () => loader.finishSync(), () => loader.closeSync()];
  const putting = loader.putMany(rows(ordered));
  for (const call of calls) assert.equal(code(call), 'KEEL_E_CONCURRENT_USE');
  assert.equal(await asyncCode(loader.close()), 'KEEL_E_CONCURRENT_USE');
  assert.equal(await putting, ROWS);
  const finishing = loader.finish();
  for (const call of calls) assert.equal(code(call), 'KEEL_E_CONCURRENT_USE');
  assert.equal((await finishing).rows, ROWS + 1);
});

test('finish may be called again', async (t) => {
  const db = file(t);
  const loader = db.loader('rows');
  loader.put('a', 'mine');
  await db.keyspace('rows').put('a', 'theirs');
  assert.equal(await asyncCode(loader.finish()), 'KEEL_E_EXISTS');
  assert.equal(
    code(() => loader.finishSync()),
    'KEEL_E_EXISTS',
  );
  db.dropKeyspace('rows');
  loader.put('b', 'too');
  await loader.finish();
  assert.deepEqual(texts(db.keyspace('rows').range()), ['a=mine', 'b=too']);
});

test('closing the database ends its loads', async (t) => {
  const db = file(t);
  const before = openHandles();
  const idle = db.loader('idle');
  idle.put('a', '1');
  const busy = db.load('busy', slowly(ordered));
  const outcome = asyncCode(busy);
  await db.close();
  assert.ok(['KEEL_E_CLOSED', 'KEEL_E_HANDLE'].includes(await outcome));
  assert.equal(idle.isOpen, false);
  assert.equal(
    code(() => idle.put('b', '2')),
    'KEEL_E_HANDLE',
  );
  await idle.close();
  assert.equal(
    code(() => db.loader('late')),
    'KEEL_E_CLOSED',
  );
  assert.equal(openHandles(), before - 1);
  assert.equal(fs.existsSync(`${db.path}-wal`), false);
  const again = open(db.path, { readOnly: true });
  t.after(() => again.closeSync());
  assert.deepEqual(again.keyspaces(), []);
  assert.equal(
    code(() => again.loader('rows')),
    'KEEL_E_READ_ONLY',
  );
});

test('a forgotten loader is closed', async (t) => {
  const db = file(t);
  const before = openHandles();
  (() => db.loader('rows').put('a', '1'))();
  assert.equal(openHandles(), before + 1);
  assert.ok(await collect(() => openHandles() === before));
  assert.deepEqual(db.keyspaces(), []);
});
