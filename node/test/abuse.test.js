// Every raw function, called with every kind of nonsense: it answers, or throws an error. Never a crash.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { KeelError, open } from 'keel';

import native from '../lib/native.js';
import { openArguments } from '../lib/options.js';
import { collect, openHandles } from './support.js';

/** Real handles of each kind, and closed ones. */
function handles() {
  const db = native.open(...openArguments(':memory:'));
  const keyspace = native.keyspace_open(db, 'rows', 0);
  const txn = native.begin(db, 0, 0, 0, undefined);
  native.put(txn, keyspace, 'k', 'v');
  const cursor = native.cursor_open(txn, keyspace, undefined, undefined, undefined);
  const view = native.get_view(txn, keyspace, 'k');
  const finished = native.begin(db, 0, 0, 0, undefined);
  native.rollback(finished);
  const gone = native.open(...openArguments(':memory:'));
  native.close(gone);
  return { live: { db, keyspace, txn, cursor, view }, stale: [finished, gone] };
}

// No string that a file could be made by: `open` is among the functions.
const nonsense = (stale) => [
  undefined,
  null,
  true,
  0,
  1,
  -1,
  0.5,
  NaN,
  Infinity,
  2 ** 32,
  2 ** 53 - 1,
  2 ** 64,
  10n,
  Symbol('s'),
  {},
  { length: 3 },
  [],
  [1, 2],
  ['a', Buffer.from('b')],
  () => {},
  '',
  Buffer.alloc(0),
  Buffer.alloc(2000),
  new Uint8Array([1, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0]),
  new ArrayBuffer(8),
  new DataView(new ArrayBuffer(3)),
  new Proxy([], {}),
  ...stale,
];

const functions = Object.keys(native).filter((name) => !name.startsWith('set') && name !== 'openHandles');
const promises = [];

function call(name, args) {
  try {
    const result = native[name](...args);
    if (result instanceof Promise) promises.push(result.catch((error) => assert.ok(error instanceof KeelError, name)));
  } catch (error) {
    assert.ok(error instanceof Error, `${name}(${args.map(String)}) threw ${String(error)}`);
  }
}

test('nonsense in every place of every raw function', async () => {
  const before = openHandles();
  const { live, stale } = handles();
  const junk = nonsense(stale);
  const kinds = Object.values(live);
  let calls = 0;
  for (const name of functions) {
    for (let count = 0; count <= 8; count++) {
      for (const first of junk) {
        calls++;
        call(name, [
          first,
          ...Array.from({ length: Math.max(0, count - 1) }, (_, i) => junk[(i * 7 + calls) % junk.length]),
        ]);
      }
    }
  }
  assert.ok(calls > 5000);
  await Promise.all(promises);
  // Real handles in every place, of the right kind or not; what closes them comes last.
  const ends = /close|release|rollback|commit|drop/;
  for (const name of functions.filter((own) => !ends.test(own) && !/^open/.test(own))) {
    for (const one of kinds) {
      for (const two of [...kinds, ...junk]) {
        for (let count = 1; count <= 5; count++) {
          call(
            name,
            [one, two, junk[calls++ % junk.length], junk[calls++ % junk.length], junk[calls++ % junk.length]].slice(
              0,
              count,
            ),
          );
        }
      }
    }
  }
  await Promise.all(promises);
  assert.equal(String(native.get_view(live.txn, live.keyspace, 'absent')), 'undefined');
  native.rollback(live.txn);
  native.keyspace_close(live.keyspace);
  native.close(live.db);
  native.cursor_close(live.cursor);
  native.view_release(live.view);
  // Handles that the nonsense opened by chance have no object; they are the environment's to close.
  assert.ok(openHandles() >= before);
});

test('handles of the wrong kind, closed and foreign ones, say "handle" or "finished"', () => {
  const { live, stale } = handles();
  const wants = {
    db: 'get_stats',
    keyspace: 'keyspace_close',
    txn: 'rollback',
    cursor: 'cursor_close',
    view: 'view_size',
  };
  for (const [kind, name] of Object.entries(wants)) {
    for (const [own, handle] of Object.entries(live)) {
      if (own === kind) continue;
      assert.throws(() => native[name](handle), { code: 'KEEL_E_HANDLE' }, `${name} of a ${own}`);
    }
    for (const handle of [0, -1, NaN, 2 ** 53, 123456789, undefined, null, 'x', {}]) {
      assert.throws(() => native[name](handle), { code: 'KEEL_E_HANDLE' }, `${name}(${String(handle)})`);
    }
    for (const handle of stale) assert.throws(() => native[name](handle), /./);
  }
  assert.throws(() => native.rollback(stale[0]), { code: 'KEEL_E_FINISHED' });
  assert.throws(() => native.close(stale[1]), { code: 'KEEL_E_HANDLE' });
  for (const [kind, name] of [
    ['view', 'view_release'],
    ['cursor', 'cursor_close'],
    ['txn', 'rollback'],
    ['keyspace', 'keyspace_close'],
    ['db', 'close'],
  ]) {
    native[name](live[kind]);
    assert.throws(() => native[name](live[kind]), { code: kind === 'txn' ? 'KEEL_E_FINISHED' : 'KEEL_E_HANDLE' });
  }
});

test('getters and proxies in an array of keys cannot pull memory away', () => {
  const db = open(':memory:');
  const rows = db.keyspace('rows');
  const keys = ['a', 'b', 'c'];
  Object.defineProperty(keys, 1, {
    get() {
      keys.length = 2;
      return 'b';
    },
  });
  assert.throws(() => rows.getMany(keys), { code: 'KEEL_E_INVALID' });
  const throwing = ['a'];
  Object.defineProperty(throwing, 0, {
    get() {
      throw new Error('from the getter');
    },
  });
  assert.throws(() => rows.getMany(throwing), /from the getter/);
  const closing = ['a', 'b'];
  Object.defineProperty(closing, 1, {
    get() {
      db.closeSync();
      return 'b';
    },
  });
  assert.throws(() => rows.getMany(closing), KeelError);
});

test('the collector finds nothing left of all this', async () => {
  const before = openHandles();
  assert.ok(await collect(() => openHandles() <= before));
});
