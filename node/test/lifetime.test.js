import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';

import { open } from 'keel';

import { collect, file, memory, openHandles, text, worker } from './support.js';

test('what is forgotten is closed by the collector', async (t) => {
  const db = memory(t);
  const rows = db.keyspace('rows');
  db.transactSync((txn) =>
    txn.writeMany(
      rows,
      Array.from({ length: 100 }, (_, i) => [String(i), 'v']),
    ),
  );
  const before = openHandles();
  (function forget() {
    for (let i = 0; i < 20; i++) {
      const txn = db.begin();
      txn.put(rows, 'k', 'v');
      txn.view(rows, 'k');
      txn.cursor(rows).first();
      txn.range(rows)[Symbol.iterator]().next();
      rows.range()[Symbol.iterator]().next();
      db.keyspace('rows');
    }
  })();
  assert.ok(openHandles() > before + 100);
  assert.ok(await collect(() => openHandles() === before), `${openHandles() - before} handles are left`);
  const { transactionsLive, viewsLive } = db.stats();
  assert.deepEqual({ transactionsLive, viewsLive }, { transactionsLive: 0, viewsLive: 0 });
});

test('a forgotten database is closed with all that is open on it', async () => {
  const before = openHandles();
  (function forget() {
    for (let i = 0; i < 10; i++) {
      const db = open(':memory:');
      const rows = db.keyspace('rows');
      const txn = db.begin();
      txn.put(rows, 'k', 'v');
      txn.range(rows).keys().next();
    }
  })();
  assert.ok(await collect(() => openHandles() === before), `${openHandles() - before} handles are left`);
});

test('a view keeps its bytes after everything else was collected', async () => {
  const before = openHandles();
  const view = (function show() {
    const db = open(':memory:');
    const rows = db.keyspace('rows');
    rows.putSync('k', Buffer.alloc(100_000, 'x'));
    return db.begin().view(rows, 'k');
  })();
  assert.ok(await collect(() => openHandles() === before + 1));
  assert.deepEqual(view.toBuffer(), Buffer.alloc(100_000, 'x'));
  view.release();
});

test('closing a database closes what is open on it, except views', (t) => {
  const before = openHandles();
  const db = open(':memory:');
  const rows = db.keyspace('rows');
  rows.putSync('k', 'v');
  const txn = db.begin();
  const view = txn.view(rows, 'k');
  txn.cursor(rows).first();
  const walk = txn.range(rows).keys();
  walk.next();
  const own = rows.range().keys();
  own.next();
  db.closeSync();
  assert.equal(openHandles(), before + 1);
  walk.return();
  own.return();
  assert.equal(text(view.toBuffer()), 'v');
  view.release();
  assert.equal(openHandles(), before);
});

/** What remains of a worker's work once it is gone. */
function remains(db) {
  const { transactionsLive, snapshotsLive, viewsLive } = db.stats();
  return { transactionsLive, snapshotsLive, viewsLive };
}
const nothing = { transactionsLive: 0, snapshotsLive: 0, viewsLive: 0 };

for (const way of ['sync', 'async', 'walk', 'load', 'verify', 'idle']) {
  test(`a worker that is terminated (${way}) leaves nothing open`, async (t) => {
    const db = file(t, { durability: way === 'async' ? 'full' : 'none' });
    const rows = db.keyspace('rows');
    for (let round = 0; round < 5; round++) {
      const one = worker('endless', { path: db.path, way });
      await once(one, 'message');
      await one.terminate();
      assert.deepEqual(remains(db), nothing);
    }
    assert.deepEqual(db.keyspaces(), ['rows']);
    assert.ok(rows.range().toArray().length > 0);
    rows.putSync('still', 'works');
    assert.equal(text(rows.get('still')), 'works');
  });
}

test('a worker that returns with everything open leaves nothing open', async (t) => {
  const db = file(t);
  const one = worker('careless', { path: db.path });
  const [status] = await once(one, 'exit');
  assert.equal(status, 0);
  assert.deepEqual(remains(db), nothing);
});

test('many workers load the addon at once, and some are terminated while they do', async (t) => {
  const db = file(t, { durability: 'none' });
  const workers = Array.from({ length: 8 }, () => worker('careless', { path: db.path }));
  const exits = workers.map((one) => once(one, 'exit'));
  for (const one of workers.slice(0, 4)) void one.terminate();
  await Promise.all(exits);
  assert.deepEqual(remains(db), nothing);
});

test('only workers load the addon, one after the other', async () => {
  // The addon is unloaded with its last environment, unless its binary forbids that; threads of Node's pool still know
  // it.
  const script = `
    const { Worker } = require('node:worker_threads');
    const { once } = require('node:events');
    (async () => {
      for (let i = 0; i < 3; i++) {
        await once(new Worker(new URL('${new URL('./fixtures/brief.js', import.meta.url)}')), 'exit');
      }
      process.stdout.write('done');
    })();`;
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, ['-e', script], { encoding: 'utf8' });
  assert.deepEqual({ status, signal, stdout, stderr }, { status: 0, signal: null, stdout: 'done', stderr: '' });
});

for (const [way, expected] of [
  ['return', 0],
  ['exit', 7],
  ['listener', 0],
  ['throw', 1],
]) {
  test(`a process that ends (${way}) with everything open`, (t) => {
    const db = file(t);
    db.closeSync();
    const script = fileURLToPath(new URL('./fixtures/ends.js', import.meta.url));
    const ended = spawnSync(process.execPath, [script, db.path, way], { encoding: 'utf8' });
    assert.equal(ended.signal, null);
    assert.equal(ended.status, expected, ended.stderr);
    if (way !== 'throw') assert.equal(ended.stderr, '');
    const again = open(db.path);
    assert.equal(text(again.keyspace('rows').get('committed')), 'yes');
    assert.equal(again.keyspace('rows').get('open'), undefined);
    again.closeSync();
  });
}

test('a worker that ends right after it began an asynchronous open', async (t) => {
  const db = file(t);
  for (let round = 0; round < 5; round++) {
    const one = new Worker(
      `import('${new URL('../index.js', import.meta.url)}').then(({ openAsync }) => {
        void openAsync(${JSON.stringify(db.path)});
        process.exit(0);
      });`,
      { eval: true },
    );
    await once(one, 'exit');
  }
  assert.deepEqual(remains(db), nothing);
  assert.equal(openHandles() >= 1, true);
});
