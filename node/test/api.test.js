import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';

import { codes, feature, features, limits, open, openAsync, version } from 'keel';

import { code, file, folder, memory, openHandles, text } from './support.js';

test('a value comes back as it was put', (t) => {
  const db = memory(t);
  const users = db.keyspace('users');
  const txn = db.begin();
  txn.put(users, 'ada', 'Lovelace');
  assert.equal(text(txn.get(users, 'ada')), 'Lovelace');
  assert.equal(txn.get(users, 'bob'), undefined);
  assert.equal(txn.has(users, 'ada'), true);
  assert.equal(txn.has(users, 'bob'), false);
  assert.ok(txn.commitSync() > 0);
  assert.ok(txn.timestamp > 0);
  assert.equal(text(users.get('ada')), 'Lovelace');
  assert.equal(users.get('bob'), undefined);
  assert.equal(users.has('ada'), true);
});

test('keys and values may be given in every form that holds bytes', (t) => {
  const db = memory(t);
  const rows = db.keyspace('rows');
  const bytes = Buffer.from('\u00fcber');
  const padded = Buffer.concat([Buffer.from('xx'), bytes, Buffer.from('yy')]);
  const forms = [
    '\u00fcber',
    bytes,
    new Uint8Array(bytes),
    new Uint8Array(bytes).buffer,
    new DataView(padded.buffer, padded.byteOffset + 2, bytes.length),
    padded.subarray(2, 2 + bytes.length),
  ];
  for (const form of forms) {
    const txn = db.begin();
    txn.put(rows, form, form);
    for (const same of forms) assert.deepEqual(txn.get(rows, same), bytes);
    txn.rollback();
  }
  const txn = db.begin();
  txn.put(rows, new Uint16Array([0x0201]), new Float64Array(0));
  assert.deepEqual(txn.range(rows).toArray(), [[Buffer.from([1, 2]), Buffer.alloc(0)]]);
  txn.rollback();
});

test('empty keys and values, zero bytes and the greatest sizes', (t) => {
  const db = memory(t);
  const rows = db.keyspace('rows');
  const long = Buffer.alloc(limits.MAX_KEY_SIZE, 0xff);
  const large = Buffer.alloc(3_000_000, 7);
  const zeros = Buffer.from([0, 0]);
  db.transactSync((txn) => {
    txn.put(rows, '', 'empty key');
    txn.put(rows, 'empty value', '');
    txn.put(rows, long, large);
    txn.put(rows, zeros, zeros);
  });
  assert.equal(text(rows.get('')), 'empty key');
  assert.deepEqual(rows.get('empty value'), Buffer.alloc(0));
  assert.deepEqual(rows.get(long), large);
  assert.deepEqual(rows.get(zeros), zeros);
  assert.deepEqual(rows.range().keys().next().value, Buffer.alloc(0));
  for (const size of [1000, 1023, 1024, 1025, 4095, 4096, 4097, 65536]) {
    const value = '\u20ac'.repeat(Math.floor(size / 3)) + 'x'.repeat(size % 3);
    rows.putSync('size', value);
    assert.equal(text(rows.get('size')), value);
  }
  assert.equal(
    code(() => rows.putSync('x'.repeat(limits.MAX_KEY_SIZE + 1), '')),
    'KEEL_E_KEY_SIZE',
  );
});

test('a value that was returned is a copy', (t) => {
  const db = memory(t);
  const rows = db.keyspace('rows');
  rows.putSync('k', 'value');
  const first = rows.get('k');
  first.fill(0);
  assert.equal(text(rows.get('k')), 'value');
  const source = Buffer.from('before');
  const txn = db.begin();
  txn.put(rows, 'k', source);
  source.write('after!');
  assert.equal(text(txn.get(rows, 'k')), 'before');
  txn.rollback();
});

test('del, delRange, writeMany, getMany', (t) => {
  const db = memory(t);
  const rows = db.keyspace('rows');
  const txn = db.begin();
  assert.equal(
    txn.writeMany(
      rows,
      new Map([
        ['a', '1'],
        ['b', '2'],
        ['c', '3'],
        ['d', '4'],
        ['e', '5'],
      ]),
    ),
    5,
  );
  assert.equal(txn.writeMany(rows, []), 0);
  assert.equal(
    txn.writeMany(rows, [
      ['a', null],
      ['e', undefined],
      ['f', '6'],
    ]),
    3,
  );
  assert.deepEqual(txn.getMany(rows, ['a', 'b', Buffer.from('f'), 'e']).map(text), [undefined, '2', '6', undefined]);
  assert.deepEqual(txn.getMany(rows, new Set(['c'])).map(text), ['3']);
  assert.deepEqual(txn.getMany(rows, []), []);
  txn.del(rows, 'absent');
  txn.del(rows, 'b');
  assert.equal(txn.delRange(rows, 'c', 'd'), 1);
  assert.equal(txn.delRange(rows, 'e'), 1);
  assert.equal(txn.delRange(rows, null, 'd'), 0);
  assert.equal(txn.delRange(rows), 1);
  assert.deepEqual(txn.range(rows).toArray(), []);
  txn.rollback();
  assert.deepEqual(rows.getMany(['a']), [undefined]);
});

test('many operations in one call: more than one page of each kind', (t) => {
  const db = memory(t);
  const rows = db.keyspace('rows');
  const entries = Array.from({ length: 5000 }, (_, i) => [`key ${i}`.padStart(12), `value ${i}`.repeat(1 + (i % 9))]);
  assert.equal(
    db.transactSync((txn) => txn.writeMany(rows, entries)),
    5000,
  );
  const keys = entries.map(([key]) => key);
  assert.deepEqual(
    rows.getMany(keys).map(text),
    entries.map(([, value]) => value),
  );
});

test('keyspaces: made, listed, dropped, opened again', (t) => {
  const db = memory(t);
  assert.deepEqual(db.keyspaces(), []);
  assert.equal(
    code(() => db.keyspace('b', { create: false })),
    'KEEL_E_KEYSPACE_NOT_FOUND',
  );
  const b = db.keyspace('b');
  const a = db.keyspace('\u00e4');
  assert.equal(a.name, '\u00e4');
  assert.deepEqual(db.keyspaces(), ['b', '\u00e4']);
  b.putSync('k', 'b');
  a.putSync('k', 'a');
  assert.equal(text(db.keyspace('b', { create: false }).get('k')), 'b');
  b.close();
  b.close();
  assert.equal(
    code(() => b.get('k')),
    'KEEL_E_HANDLE',
  );
  db.dropKeyspace('b');
  assert.deepEqual(db.keyspaces(), ['\u00e4']);
  assert.equal(
    code(() => db.dropKeyspace('b')),
    'KEEL_E_KEYSPACE_NOT_FOUND',
  );
  db.dropKeyspace('\u00e4');
  assert.equal(
    code(() => a.get('k')),
    'KEEL_E_KEYSPACE_NOT_FOUND',
  );
  for (const wrong of ['', 'x'.repeat(256), 'a\0b'])
    assert.equal(
      code(() => db.keyspace(wrong)),
      'KEEL_E_INVALID',
    );
});

test('a commit is atomic across keyspaces, and a snapshot does not move', (t) => {
  const db = memory(t);
  const [a, b] = [db.keyspace('a'), db.keyspace('b')];
  const before = db.begin({ readOnly: true });
  const txn = db.begin();
  txn.put(a, 'k', '1');
  txn.put(b, 'k', '2');
  assert.equal(a.get('k'), undefined);
  txn.commitSync();
  assert.deepEqual([a.get('k'), b.get('k')].map(text), ['1', '2']);
  assert.deepEqual([before.get(a, 'k'), before.get(b, 'k')], [undefined, undefined]);
  before.rollback();
});

test('a database in a file is there again, whatever form its path had', async (t) => {
  const place = path.join(folder(t), 'a b \u00fc.keel');
  {
    const db = open(place, { mustCreate: true, fileMode: 0o640 });
    db.keyspace('rows').putSync('k', 'v');
    db.closeSync();
    assert.equal(fs.statSync(place).mode & 0o777, 0o640);
  }
  for (const same of [place, Buffer.from(place), pathToFileURL(place)]) {
    const db = await openAsync(same, { create: false });
    assert.equal(db.path, place);
    assert.equal(text(db.keyspace('rows').get('k')), 'v');
    await db.close();
    assert.equal(db.closed, true);
  }
  const readOnly = open(place, { readOnly: true });
  assert.equal(readOnly.readOnly, true);
  assert.equal(
    code(() => readOnly.keyspace('rows').putSync('k', 'w')),
    'KEEL_E_READ_ONLY',
  );
  readOnly.closeSync();
});

test('one path opened twice is one engine', (t) => {
  const db = file(t);
  const again = open(db.path);
  db.keyspace('rows').putSync('k', 'v');
  assert.equal(text(again.keyspace('rows').get('k')), 'v');
  db.closeSync();
  assert.equal(text(again.keyspace('rows').get('k')), 'v');
  again.closeSync();
});

test('stats and the last checkpoint', (t) => {
  const db = file(t);
  const rows = db.keyspace('rows');
  const before = db.stats();
  rows.putSync('k', 'v');
  db.flushSync();
  const after = db.stats();
  assert.equal(after.commits - before.commits, 1);
  assert.equal(after.puts - before.puts, 1);
  assert.equal(after.poisoned, false);
  assert.equal(typeof after.logUsesDsync, 'boolean');
  assert.ok(after.memoryLimit > 0);
  const checkpoint = db.lastCheckpoint();
  assert.equal(typeof checkpoint.logNeeded, 'boolean');
  assert.ok(checkpoint.sequence >= 1);
  assert.ok(checkpoint.wallTimeNs > 1_500_000_000_000_000_000n);
  assert.equal(memory(t).lastCheckpoint().wallTimeNs, 0n);
});

test('version and features', () => {
  assert.match(version(), /^\d+\.\d+\.\d+$/);
  for (const name of features) assert.equal(typeof feature(name), 'boolean');
  assert.equal(feature('memory_database'), true);
  assert.equal(
    code(() => feature('telepathy')),
    'KEEL_E_INVALID',
  );
  assert.equal(codes.OK, 0);
});

test('using: objects dispose of themselves', { skip: !Symbol.dispose }, async () => {
  const before = openHandles();
  const db = open(':memory:');
  const rows = db.keyspace('rows');
  const txn = db.begin();
  txn.put(rows, 'k', 'v');
  const view = txn.view(rows, 'k');
  const cursor = txn.cursor(rows);
  const walk = txn.range(rows).keys();
  walk.next();
  for (const object of [walk, cursor, view, txn, rows, db]) {
    object[Symbol.dispose]();
    object[Symbol.dispose]();
  }
  assert.equal(openHandles(), before);
  const other = open(':memory:');
  await other[Symbol.asyncDispose]();
  assert.equal(other.closed, true);
  assert.equal(openHandles(), before);
});
