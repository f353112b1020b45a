import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';

import { feature, KeelError } from 'keel';

import { asyncCode, code, file, memory, openHandles, text, worker } from './support.js';

test('transact commits and gives the result', async (t) => {
  const db = memory(t);
  const rows = db.keyspace('rows');
  assert.equal(await db.transact((txn) => (txn.put(rows, 'a', '1'), 'done')), 'done');
  assert.equal(await db.transact(async (txn) => (await null, txn.put(rows, 'b', '2'), txn.attempt)), 1);
  assert.equal(
    db.transactSync((txn) => (txn.put(rows, 'c', '3'), 'sync')),
    'sync',
  );
  assert.deepEqual(rows.getMany(['a', 'b', 'c']).map(text), ['1', '2', '3']);
});

test('an error rolls back and comes out as it is', async (t) => {
  const db = memory(t);
  const rows = db.keyspace('rows');
  const before = openHandles();
  const mine = new Error('mine');
  const fail = (txn) => {
    txn.put(rows, 'a', '1');
    throw mine;
  };
  await assert.rejects(db.transact(fail), (error) => error === mine);
  await assert.rejects(
    db.transact(async (txn) => fail(txn)),
    (error) => error === mine,
  );
  assert.throws(
    () => db.transactSync(fail),
    (error) => error === mine,
  );
  await assert.rejects(
    db.transact((txn) => txn.get(undefined, 'a')),
    { code: 'KEEL_E_HANDLE' },
  );
  assert.equal(rows.get('a'), undefined);
  assert.equal(db.stats().transactionsLive, 0);
  assert.equal(openHandles(), before);
});

test('the function may end the transaction itself', async (t) => {
  const db = memory(t);
  const rows = db.keyspace('rows');
  await db.transact((txn) => (txn.put(rows, 'a', '1'), txn.rollback()));
  await db.transact(async (txn) => (txn.put(rows, 'b', '1'), await txn.commit()));
  db.transactSync((txn) => (txn.put(rows, 'c', '1'), txn.commitSync()));
  assert.deepEqual(rows.getMany(['a', 'b', 'c']).map(text), [undefined, '1', '1']);
});

/** A function for transact that loses its first `losses` runs: each time someone else writes the same key first. */
function losing(db, rows, losses) {
  return (txn) => {
    const value = Number(txn.get(rows, 'n') ?? 0);
    if (txn.attempt <= losses) rows.putSync('n', String(value + 100));
    txn.put(rows, 'n', String(value + 1));
    return txn.attempt;
  };
}

test('a conflict runs the function again on a new snapshot', async (t) => {
  const db = memory(t);
  const rows = db.keyspace('rows');
  const told = [];
  const onRetry = ({ attempt, error, delay }) => told.push([attempt, error.code, delay >= 0 && delay <= 100]);
  assert.equal(await db.transact(losing(db, rows, 3), { onRetry }), 4);
  assert.equal(text(rows.get('n')), '301');
  assert.deepEqual(
    told,
    [1, 2, 3].map((attempt) => [attempt, 'KEEL_E_CONFLICT', true]),
  );
  assert.equal(db.transactSync(losing(db, rows, 2)), 3);
  assert.equal(text(rows.get('n')), '502');
});

test('when every run loses, the error tells how many there were', async (t) => {
  const db = memory(t);
  const rows = db.keyspace('rows');
  for (const retries of [0, 3]) {
    const lost = (error) =>
      error instanceof KeelError && error.code === 'KEEL_E_CONFLICT' && error.attempts === retries + 1;
    await assert.rejects(db.transact(losing(db, rows, Infinity), { retries }), lost);
    assert.throws(() => db.transactSync(losing(db, rows, Infinity), { retries }), lost);
  }
  assert.equal(db.stats().transactionsLive, 0);
});

test('a conflict that the function lets through from elsewhere is retried, too', async (t) => {
  const db = memory(t);
  const rows = db.keyspace('rows');
  const conflict = (txn) => {
    if (txn.attempt > 2) return txn.attempt;
    const [one, two] = [db.begin(), db.begin()];
    one.put(rows, 'x', '1');
    two.put(rows, 'x', '2');
    one.commitSync();
    return two.commitSync();
  };
  assert.equal(await db.transact(conflict), 3);
});

test('wrong options and wrong functions', async (t) => {
  const db = memory(t);
  for (const options of [{ retries: -1 }, { retries: 1.5 }, { onRetry: 1 }, { retry: 1 }, { durability: 'x' }]) {
    assert.equal(await asyncCode(db.transact(() => {}, options)), 'KEEL_E_INVALID');
    assert.equal(
      code(() => db.transactSync(() => {}, options)),
      'KEEL_E_INVALID',
    );
  }
  assert.equal(
    code(() => db.transactSync(async () => {})),
    'KEEL_E_INVALID',
  );
  await assert.rejects(db.transact(undefined), TypeError);
  assert.equal(db.stats().transactionsLive, 0);
});

test('a read-only transaction cannot write', async (t) => {
  const db = memory(t);
  const rows = db.keyspace('rows');
  assert.equal(await asyncCode(db.transact((txn) => txn.put(rows, 'a', '1'), { readOnly: true })), 'KEEL_E_READ_ONLY');
  assert.equal(await db.transact((txn) => txn.readOnly, { readOnly: true }), true);
});

test('isolation, durability and labels are accepted by name', async (t) => {
  const db = file(t, { durability: 'group', groupIntervalMs: 1 });
  const rows = db.keyspace('rows');
  for (const isolation of ['snapshot', 'read_committed', 'repeatable_read', 'read_uncommitted']) {
    await db.transact((txn) => txn.put(rows, isolation, ''), { isolation, label: 'a test' });
  }
  for (const durability of ['full', 'group', 'none']) {
    await rows.put(durability, '', { durability });
  }
  await db.flush();
  assert.equal(rows.range().toArray().length, 7);
  // A level that the engine does not give is refused, never replaced by a weaker one.
  const stronger = await asyncCode(rows.put('serializable', '', { isolation: 'serializable' }));
  assert.equal(stronger, feature('serializable') ? 'no error' : 'KEEL_E_UNSUPPORTED');
});

test('workers count up one number: no increment is lost', async (t) => {
  const db = file(t, { durability: 'none' });
  const rows = db.keyspace('rows');
  const workers = [1, 2, 3].map(() => worker('counter', { path: db.path, rounds: 200 }));
  const exits = workers.map((one) => once(one, 'exit'));
  const answers = await Promise.all(workers.map(async (one) => (await once(one, 'message'))[0]));
  await Promise.all(exits);
  assert.equal(text(rows.get('n')), '600');
  for (const { runs, retries } of answers) assert.equal(runs - retries, 200);
  const total = answers.reduce((sum, { retries }) => sum + retries, 0);
  assert.equal(db.stats().conflicts, total);
  assert.equal(db.stats().transactionsLive, 0);
});
