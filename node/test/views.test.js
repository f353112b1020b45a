import assert from 'node:assert/strict';
import { test } from 'node:test';

import { code, file, memory, openHandles, text } from './support.js';

test('a view shows parts and the whole', (t) => {
  const db = memory(t);
  const rows = db.keyspace('rows');
  const txn = db.begin();
  txn.put(rows, 'k', 'hello world');
  assert.equal(txn.view(rows, 'absent'), undefined);
  const view = txn.view(rows, 'k');
  assert.equal(view.length, 11);
  assert.equal(text(view.toBuffer()), 'hello world');
  assert.equal(text(view.slice()), 'hello world');
  assert.equal(text(view.slice(6)), 'world');
  assert.equal(text(view.slice(0, 5)), 'hello');
  assert.equal(text(view.slice(-5, -1)), 'worl');
  assert.equal(text(view.slice(9, 3)), '');
  assert.equal(text(view.slice(-100, 100)), 'hello world');
  assert.equal(text(view.slice(NaN, 2)), 'he');
  const target = Buffer.alloc(8, '.');
  assert.equal(view.copy(target, 2, 6, 8), 2);
  assert.equal(text(target), '..wo....');
  assert.equal(view.copy(target, 5), 3);
  assert.equal(text(target), '..wo.hel');
  assert.equal(view.copy(target, 8), 0);
  assert.equal(
    code(() => view.copy(target, 9)),
    'KEEL_E_INVALID',
  );
  assert.equal(
    code(() => view.copy(target, -1)),
    'KEEL_E_INVALID',
  );
  assert.equal(
    code(() => view.copy('text')),
    'KEEL_E_INVALID',
  );
  const words = new Uint16Array(2);
  assert.equal(view.copy(words), 4);
  view.slice().fill(0);
  assert.equal(text(view.toBuffer()), 'hello world');
  view.release();
  txn.rollback();
});

test('a view outlives write, commit, transaction, keyspace and database', async (t) => {
  const large = Buffer.alloc(1_000_000, 'x');
  for (const open of [memory, file]) {
    const db = open(t);
    const rows = db.keyspace('rows');
    rows.putSync('k', large);
    const txn = db.begin();
    const committed = txn.view(rows, 'k');
    txn.put(rows, 'own', 'own write');
    const own = txn.view(rows, 'own');
    txn.put(rows, 'own', 'changed');
    txn.del(rows, 'k');
    await txn.commit();
    rows.close();
    db.dropKeyspace('rows');
    await db.close();
    assert.equal(text(own.toBuffer()), 'own write');
    assert.deepEqual(committed.slice(999_990), large.subarray(999_990));
    assert.deepEqual(committed.toBuffer(), large);
    own.release();
    committed.release();
  }
});

test('a released view is an error, and releasing twice is none', (t) => {
  const db = memory(t);
  const rows = db.keyspace('rows');
  rows.putSync('k', '');
  const before = openHandles();
  const txn = db.begin();
  const view = txn.view(rows, 'k');
  assert.equal(view.length, 0);
  assert.deepEqual(view.toBuffer(), Buffer.alloc(0));
  assert.equal(view.released, false);
  view.release();
  view.release();
  assert.equal(view.released, true);
  for (const call of [() => view.toBuffer(), () => view.slice(), () => view.copy(Buffer.alloc(1))]) {
    assert.equal(code(call), 'KEEL_E_HANDLE');
  }
  txn.rollback();
  assert.equal(openHandles(), before);
});
