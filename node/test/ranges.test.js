import assert from 'node:assert/strict';
import { test } from 'node:test';

import { limits } from 'keel';

import { code, memory, openHandles, texts } from './support.js';

function fill(t, keys) {
  const db = memory(t);
  const rows = db.keyspace('rows');
  db.transactSync((txn) =>
    txn.writeMany(
      rows,
      keys.map((key) => [key, `v${key}`]),
    ),
  );
  return { db, rows };
}

const keysOf = (range) => Array.from(range.keys(), String);

test('bounds, prefix, direction and limit', (t) => {
  const { db, rows } = fill(t, ['a', 'aa', 'ab', 'b', 'ba', 'c']);
  const txn = db.begin({ readOnly: true });
  const cases = [
    [{}, 'a aa ab b ba c'],
    [{ gte: 'aa' }, 'aa ab b ba c'],
    [{ gt: 'aa' }, 'ab b ba c'],
    [{ lt: 'b' }, 'a aa ab'],
    [{ lte: 'b' }, 'a aa ab b'],
    [{ gte: 'aa', lt: 'ba' }, 'aa ab b'],
    [{ gt: 'aa', lte: 'ba' }, 'ab b ba'],
    [{ prefix: 'a' }, 'a aa ab'],
    [{ prefix: 'b', gt: 'b' }, 'ba'],
    [{ prefix: '' }, 'a aa ab b ba c'],
    [{ prefix: 'x' }, ''],
    [{ gte: 'c', lt: 'a' }, ''],
    [{ gte: 'b', lt: 'b' }, ''],
    [{ limit: 2 }, 'a aa'],
    [{ limit: 0 }, ''],
    [{ limit: Infinity }, 'a aa ab b ba c'],
    [{ reverse: true }, 'c ba b ab aa a'],
    [{ reverse: true, limit: 2 }, 'c ba'],
    [{ reverse: true, lte: 'b', gt: 'a' }, 'b ab aa'],
    [{ reverse: true, prefix: 'a' }, 'ab aa a'],
  ];
  for (const [options, expected] of cases) {
    assert.equal(keysOf(txn.range(rows, options)).join(' '), expected, JSON.stringify(options));
    assert.equal(keysOf(rows.range(options)).join(' '), expected, JSON.stringify(options));
  }
  txn.rollback();
});

test('"after" and "up to" at keys of the greatest size', (t) => {
  const longest = limits.MAX_KEY_SIZE;
  const low = Buffer.concat([Buffer.from('k'), Buffer.alloc(longest - 1, 0xff)]);
  const high = Buffer.alloc(longest, 0xff);
  const { db, rows } = fill(t, ['k', 'l']);
  db.transactSync((txn) =>
    txn.writeMany(rows, [
      [low, 'low'],
      [high, 'high'],
    ]),
  );
  const lengths = (options) => Array.from(rows.range(options).keys(), (key) => key.length);
  assert.deepEqual(lengths({ gt: low }), [1, longest]);
  assert.deepEqual(lengths({ lte: low }), [1, longest]);
  assert.deepEqual(lengths({ gt: high }), []);
  assert.deepEqual(lengths({ gt: high, reverse: true }), []);
  assert.deepEqual(lengths({ lte: high }), [1, longest, 1, longest]);
  const txn = db.begin();
  const cursor = txn.cursor(rows, { gt: high });
  assert.equal(cursor.first(), undefined);
  assert.equal(cursor.prev(), undefined);
  txn.rollback();
});

test('entries, keys, values, toArray, and walking twice', (t) => {
  const { db, rows } = fill(t, ['a', 'b']);
  const txn = db.begin();
  const range = txn.range(rows);
  assert.deepEqual(texts(range), ['a=va', 'b=vb']);
  assert.deepEqual(texts(range), ['a=va', 'b=vb']);
  assert.deepEqual(texts(range.entries()), ['a=va', 'b=vb']);
  assert.deepEqual(Array.from(range.values(), String), ['va', 'vb']);
  assert.deepEqual(texts(range.toArray()), ['a=va', 'b=vb']);
  txn.put(rows, 'c', 'vc');
  assert.deepEqual(texts(range), ['a=va', 'b=vb', 'c=vc']);
  txn.rollback();
});

test('long ranges cross batches, in both directions, synchronously and not', async (t) => {
  const keys = Array.from({ length: 7001 }, (_, i) => String(i).padStart(6, '0'));
  const { db, rows } = fill(t, keys);
  assert.deepEqual(keysOf(rows.range()), keys);
  assert.deepEqual(keysOf(rows.range({ reverse: true })), keys.toReversed());
  assert.deepEqual(keysOf(rows.range({ limit: 4099 })), keys.slice(0, 4099));
  const txn = db.begin();
  const seen = [];
  for await (const [key] of txn.range(rows)) seen.push(String(key));
  assert.deepEqual(seen, keys);
  const back = [];
  for await (const [key] of rows.range({ reverse: true, limit: 5000 })) back.push(String(key));
  assert.deepEqual(back, keys.toReversed().slice(0, 5000));
  txn.rollback();
});

test('large values arrive whole, one row a batch', (t) => {
  const db = memory(t);
  const rows = db.keyspace('rows');
  const large = Array.from({ length: 5 }, (_, i) => Buffer.alloc(300_000 + i, i));
  db.transactSync((txn) => large.forEach((value, i) => txn.put(rows, String(i), value)));
  assert.deepEqual(Array.from(rows.range().values()), large);
});

test('the event loop turns while an async range is walked', async (t) => {
  const { rows } = fill(
    t,
    Array.from({ length: 5000 }, (_, i) => String(i)),
  );
  let turns = 0;
  let walking = true;
  const count = () => {
    turns++;
    if (walking) setImmediate(count);
  };
  setImmediate(count);
  let seen = 0;
  for await (const row of rows.range()) seen += row.length / 2;
  walking = false;
  assert.equal(seen, 5000);
  assert.ok(turns >= 4, `${turns} turns`);
});

test('a walk that is left early closes its cursor and its transaction', async (t) => {
  const { db, rows } = fill(
    t,
    Array.from({ length: 100 }, (_, i) => String(i)),
  );
  const before = openHandles();
  const live = db.stats().transactionsLive;
  for (const [key] of rows.range()) if (String(key) === '10') break;
  for await (const [key] of rows.range()) if (String(key) === '10') break;
  const walk = rows.range().keys();
  walk.next();
  assert.equal(openHandles(), before + 2);
  assert.deepEqual(walk.return(), { value: undefined, done: true });
  assert.deepEqual(walk.next(), { value: undefined, done: true });
  assert.throws(() => {
    for (const _ of rows.range()) throw new Error('from the loop');
  }, /from the loop/);
  assert.equal(openHandles(), before);
  assert.equal(db.stats().transactionsLive, live);
});

test('a walk ends with an error when its transaction ends under it', async (t) => {
  const { db, rows } = fill(
    t,
    Array.from({ length: 100 }, (_, i) => String(i)),
  );
  const before = openHandles();
  const txn = db.begin();
  const walk = txn.range(rows).keys();
  walk.next();
  txn.rollback();
  assert.equal(
    code(() => Array.from(walk)),
    'KEEL_E_FINISHED',
  );
  assert.deepEqual(walk.next(), { value: undefined, done: true });
  const other = db.begin();
  await assert.rejects(
    async () => {
      for await (const [key] of other.range(rows)) if (String(key) === '10') other.rollback();
    },
    { code: 'KEEL_E_FINISHED' },
  );
  assert.equal(openHandles(), before);
});

test('a cursor moves both ways', (t) => {
  const { db, rows } = fill(t, ['a', 'c', 'e', 'g']);
  const txn = db.begin();
  const cursor = txn.cursor(rows, { gte: 'b', lte: 'g' });
  const at = (row) => (row === undefined ? undefined : `${row[0]}=${row[1]}`);
  assert.equal(at(cursor.next()), 'c=vc');
  assert.equal(at(cursor.next()), 'e=ve');
  assert.equal(at(cursor.prev()), 'c=vc');
  assert.equal(at(cursor.prev()), undefined);
  assert.equal(at(cursor.next()), 'c=vc');
  assert.equal(at(cursor.last()), 'g=vg');
  assert.equal(at(cursor.next()), undefined);
  assert.equal(at(cursor.prev()), 'g=vg');
  assert.equal(at(cursor.first()), 'c=vc');
  assert.equal(at(cursor.next()), 'e=ve');
  assert.equal(at(cursor.seek('d')), 'e=ve');
  assert.equal(at(cursor.seek('e')), 'e=ve');
  assert.equal(at(cursor.prev()), 'c=vc');
  assert.equal(at(cursor.seekLe('f')), 'e=ve');
  assert.equal(at(cursor.seekLe('a')), undefined);
  assert.equal(at(cursor.seek('h')), undefined);
  txn.put(rows, 'd', 'new');
  assert.equal(at(cursor.seek('d')), 'd=new');
  txn.del(rows, 'd');
  assert.equal(at(cursor.first()), 'c=vc');
  assert.equal(at(cursor.next()), 'e=ve');
  cursor.close();
  cursor.close();
  assert.equal(
    code(() => cursor.first()),
    'KEEL_E_HANDLE',
  );
  const fresh = txn.cursor(rows);
  assert.equal(at(fresh.prev()), 'g=vg');
  txn.rollback();
});
