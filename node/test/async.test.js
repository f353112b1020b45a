import assert from 'node:assert/strict';
import { test } from 'node:test';

import { KeelError, openAsync } from 'keel';

import native from '../lib/native.js';
import { openArguments } from '../lib/options.js';
import { asyncCode, code, file, openHandles, text } from './support.js';

/** Counts the turns of the event loop until `stop()`. */
function turns() {
  let counted = 0;
  let running = true;
  const count = () => {
    counted++;
    if (running) setImmediate(count);
  };
  setImmediate(count);
  return {
    get counted() {
      return counted;
    },
    stop() {
      running = false;
    },
  };
}

test('the event loop turns between durable commits that are awaited one by one', async (t) => {
  const db = file(t);
  const rows = db.keyspace('rows');
  const loop = turns();
  const commits = 200;
  for (let i = 0; i < commits; i++) await rows.put(String(i), 'value');
  const counted = loop.counted;
  loop.stop();
  // A commit ends in the polling phase of a turn, so that two commits one after the other are at least a turn apart.
  assert.ok(counted >= commits - 1, `${counted} turns in ${commits} commits`);
  assert.equal(rows.range().toArray().length, commits);
});

test('the event loop turns while many durable commits are under way at once', async (t) => {
  const db = file(t);
  const rows = db.keyspace('rows');
  const loop = turns();
  const order = [];
  const lanes = 16;
  const commits = 20;
  const lane = async (name) => {
    for (let i = 0; i < commits; i++) {
      const txn = db.begin();
      txn.put(rows, `${name} ${i}`, 'value');
      const committing = txn.commit();
      order.push('start');
      assert.ok((await committing) > 0);
      order.push('end');
    }
  };
  const all = Array.from({ length: lanes }, (_, name) => lane(name));
  assert.deepEqual(order, new Array(lanes).fill('start'), 'no commit ends before all lanes have begun theirs');
  await Promise.all(all);
  const counted = loop.counted;
  loop.stop();
  // The commits of one lane follow one another, so that they are at least a turn apart.
  assert.ok(counted >= commits - 1, `${counted} turns`);
  assert.equal(rows.range().toArray().length, lanes * commits);
  assert.equal(db.stats().transactionsLive, 0);
});

test('timestamps of commits that were awaited ascend', async (t) => {
  const db = file(t);
  const rows = db.keyspace('rows');
  let last = 0;
  for (let i = 0; i < 20; i++) {
    const txn = db.begin();
    txn.put(rows, 'k', String(i));
    const timestamp = await txn.commit();
    assert.ok(timestamp > last);
    assert.equal(txn.timestamp, timestamp);
    last = timestamp;
  }
});

test('a transaction that is being committed answers with an error, and the commit goes on', async (t) => {
  const db = file(t);
  const rows = db.keyspace('rows');
  const before = openHandles();
  const txn = db.begin();
  txn.put(rows, 'k', 'v');
  const cursor = txn.cursor(rows);
  const walk = txn.range(rows).keys();
  walk.next();
  const committing = txn.commit();
  assert.equal(txn.isOpen, false);
  const calls = [
    () => txn.get(rows, 'k'),
    () => txn.put(rows, 'k', 'w'),
    () => txn.rollback(),
    () => txn.commitSync(),
    () => cursor.first(),
    () => txn.range(rows).toArray(),
  ];
  for (const call of calls) assert.equal(code(call), 'KEEL_E_CONCURRENT_USE', String(call));
  assert.equal(await asyncCode(txn.commit()), 'KEEL_E_CONCURRENT_USE');
  if (Symbol.dispose) txn[Symbol.dispose]();
  assert.ok((await committing) > 0);
  assert.equal(text(rows.get('k')), 'v');
  cursor.close();
  walk.return();
  assert.equal(openHandles(), before);
});

test('conflicts come out of asynchronous commits', async (t) => {
  const db = file(t);
  const rows = db.keyspace('rows');
  const [one, two] = [db.begin(), db.begin()];
  one.put(rows, 'k', '1');
  two.put(rows, 'k', '2');
  const results = await Promise.allSettled([one.commit(), two.commit()]);
  assert.deepEqual(results.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
  assert.equal(results.find(({ reason }) => reason).reason.code, 'KEEL_E_CONFLICT');
});

test('a database that closes under commits, flushes and opens', async (t) => {
  const db = file(t);
  const rows = db.keyspace('rows');
  const commits = Array.from({ length: 20 }, (_, i) => {
    const txn = db.begin();
    txn.put(rows, String(i), 'v');
    return txn.commit();
  });
  const flushing = db.flush();
  const others = [openAsync(db.path), openAsync(db.path)];
  const closing = db.close();
  await Promise.all([...commits, flushing, closing]);
  for (const other of await Promise.all(others)) {
    assert.equal(other.keyspace('rows').range().toArray().length, 20);
    await other.close();
  }
});

test('read-only transactions commit without a turn through the pool', async (t) => {
  const db = file(t);
  const txn = db.begin({ readOnly: true });
  let settled = false;
  void txn.commit().then(() => (settled = true));
  await null;
  await null;
  assert.equal(settled, true);
});

test('keyspaces are made, opened and dropped without blocking', async (t) => {
  const db = file(t);
  const before = openHandles();
  const names = ['a', 'b', 'c'];
  const made = await Promise.all(names.map((name) => db.keyspaceAsync(name)));
  await made[0].put('k', 'v');
  assert.equal(text((await db.keyspaceAsync('a', { create: false })).get('k')), 'v');
  assert.equal(await asyncCode(db.keyspaceAsync('d', { create: false })), 'KEEL_E_KEYSPACE_NOT_FOUND');
  assert.equal(await asyncCode(db.keyspaceAsync(5)), 'KEEL_E_INVALID');
  await db.dropKeyspaceAsync('b');
  assert.equal(await asyncCode(db.dropKeyspaceAsync('b')), 'KEEL_E_KEYSPACE_NOT_FOUND');
  assert.deepEqual(db.keyspaces(), ['a', 'c']);
  const late = asyncCode(db.keyspaceAsync('late'));
  await db.close();
  assert.ok(['KEEL_E_CLOSED', 'KEEL_E_HANDLE'].includes(await late));
  assert.equal(openHandles(), before - 1);
});

test('the raw layer stands calls on a transaction while it is being committed', async () => {
  const raw = native.open(...openArguments(':memory:'));
  const keyspace = native.keyspace_open(raw, 'rows', 0);
  const value = Buffer.alloc(20_000, 'v');
  const allowed = new Set(['KEEL_E_CONCURRENT_USE', 'KEEL_E_FINISHED', 'KEEL_E_HANDLE']);
  for (let round = 0; round < 200; round++) {
    const txn = native.begin(raw, 0, 0, 0, undefined);
    native.put(txn, keyspace, 'k', value);
    const cursor = native.cursor_open(txn, keyspace, undefined, undefined, undefined);
    const committed = native.commit_async(txn);
    const calls = [
      () => assert.deepEqual(native.get(txn, keyspace, 'k'), value),
      () => assert.deepEqual(native.cursor_next_batch(cursor, 1, 0).count <= 1, true),
      () => native.cursor_row(cursor),
      () => native.get_many(txn, keyspace, ['k', 'l']),
      () => native.view_release(native.get_view(txn, keyspace, 'k')),
    ];
    for (let i = 0; i < 50; i++) {
      try {
        calls[i % calls.length]();
      } catch (error) {
        assert.ok(error instanceof KeelError && allowed.has(error.code), error.stack);
      }
    }
    // The commit itself may meet one of those calls; then it did not happen, and the transaction is still open.
    const outcome = await committed.then(
      () => 'committed',
      (error) => error.code,
    );
    assert.ok(outcome === 'committed' || outcome === 'KEEL_E_CONCURRENT_USE', outcome);
    if (outcome !== 'committed') native.rollback(txn);
    native.cursor_close(cursor);
  }
  native.keyspace_close(keyspace);
  native.close(raw);
});
