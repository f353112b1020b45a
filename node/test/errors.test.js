import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import { codes, KeelError, open, openAsync } from 'keel';

import { asyncCode, code, file, folder, memory } from './support.js';

test('an error says what it is', (t) => {
  const db = memory(t);
  const txn = db.begin();
  txn.rollback();
  try {
    txn.commitSync();
    assert.fail('a finished transaction was committed');
  } catch (error) {
    assert.ok(error instanceof KeelError);
    assert.ok(error instanceof Error);
    assert.equal(error.name, 'KeelError');
    assert.equal(error.code, 'KEEL_E_FINISHED');
    assert.equal(error.status, codes.E_FINISHED);
    assert.equal(error.statusClass, 'usage');
    assert.equal(error.retryable, false);
    assert.equal(error.systemErrno, 0);
    assert.ok(error.message.length > 0 && !error.message.includes('\n'));
    assert.match(error.stack, /errors\.test\.js/);
  }
});

test('a rejected promise has the stack of who awaits it', async (t) => {
  async function theAsker() {
    await openAsync(path.join(folder(t), 'no', 'such', 'folder'));
  }
  await assert.rejects(theAsker, (error) => {
    assert.ok(error instanceof KeelError);
    assert.equal(error.code, 'KEEL_E_NO_FILE');
    assert.match(error.stack, /theAsker/);
    return true;
  });
});

test('files that are no database', async (t) => {
  const here = folder(t);
  const garbage = path.join(here, 'garbage');
  fs.writeFileSync(garbage, Buffer.alloc(20_000, 0x5a));
  const cases = [
    [here, undefined, 'KEEL_E_NOT_A_FILE'],
    [path.join(here, 'absent'), { create: false }, 'KEEL_E_NO_FILE'],
    [path.join(here, 'absent'), { readOnly: true }, 'KEEL_E_NO_FILE'],
    [garbage, undefined, 'KEEL_E_FORMAT'],
  ];
  for (const [place, options, expected] of cases) {
    assert.equal(
      code(() => open(place, options)),
      expected,
      `${place} sync`,
    );
    assert.equal(await asyncCode(openAsync(place, options)), expected, `${place} async`);
  }
  assert.deepEqual(fs.readFileSync(garbage), Buffer.alloc(20_000, 0x5a));
  const db = file(t);
  assert.equal(
    code(() => open(db.path, { mustCreate: true })),
    'KEEL_E_EXISTS',
  );
});

test('a system error carries its errno', (t) => {
  const here = folder(t);
  assert.throws(
    () => open(path.join(here, 'no', 'such.keel')),
    (error) => error.code === 'KEEL_E_NO_FILE' && error.systemErrno === 2,
  );
});

test('another process gets "locked"', (t) => {
  const db = file(t);
  const script = `import('${new URL('../index.js', import.meta.url)}').then(({ open }) => {
    try { open(${JSON.stringify(db.path)}); } catch (error) { console.log(error.code + ' ' + error.message); }
  })`;
  const output = execFileSync(process.execPath, ['-e', script], { encoding: 'utf8' });
  assert.match(output, /^KEEL_E_LOCKED /);
  assert.match(output, new RegExp(`\\b${process.pid}\\b`));
});

test('wrong arguments are errors, never crashes', (t) => {
  const db = memory(t);
  const rows = db.keyspace('rows');
  const txn = db.begin();
  const invalid = [
    () => open(),
    () => open(5),
    () => open(''),
    () => open('a\0b'),
    () => open(':memory:', { durabilty: 'full' }),
    () => open(':memory:', { durability: 'maybe' }),
    () => open(':memory:', { durability: 'toString' }),
    () => open(':memory:', { create: 'no' }),
    () => open(':memory:', { pageSize: 4097 }),
    () => open(':memory:', { pageSize: -1 }),
    () => open(':memory:', { memoryLimit: 1.5 }),
    () => open(':memory:', { memoryLimit: 2 ** 70 }),
    () => open(':memory:', 7),
    () => db.keyspace(),
    () => db.keyspace('rows', { noCreate: true }),
    () => db.dropKeyspace(Symbol.iterator),
    () => db.begin({ isolation: 'none' }),
    () => db.begin({ label: 5 }),
    () => txn.get(rows),
    () => txn.get(rows, 5),
    () => txn.get(rows, null),
    () => txn.get(rows, {}),
    () => txn.get(rows, ['a']),
    () => txn.put(rows, 'a'),
    () => txn.put(rows, 'a', 5n),
    () => txn.put(rows, Symbol('a'), 'b'),
    () => txn.getMany(rows, ['a', 5]),
    () => txn.getMany(rows, [undefined]),
    () => txn.writeMany(rows, [['a', 5]]),
    () => txn.delRange(rows, 5),
    () => txn.range(rows, { from: 'a' }),
    () => txn.range(rows, { gt: 'a', gte: 'b' }),
    () => txn.range(rows, { lt: 'a', lte: 'b' }),
    () => txn.range(rows, { limit: -1 }),
    () => txn.range(rows, { limit: 1.5 }),
    () => txn.range(rows, { reverse: 1 }),
    () => txn.range(rows, { gte: 5 }).toArray(),
    () => txn.cursor(rows, { reverse: true }),
  ];
  for (const call of invalid) assert.equal(code(call), 'KEEL_E_INVALID', String(call));
  const handle = [
    () => txn.get(undefined, 'a'),
    () => txn.get(null, 'a'),
    () => txn.get('rows', 'a'),
    () => txn.get(txn, 'a'),
    () => txn.get(db, 'a'),
    () => txn.put({}, 'a', 'b'),
    () => txn.range().toArray(),
    () => txn.cursor(5),
  ];
  for (const call of handle) assert.equal(code(call), 'KEEL_E_HANDLE', String(call));
  txn.rollback();
});

test('a keyspace of another database is foreign', (t) => {
  const [one, other] = [memory(t), memory(t)];
  const rows = other.keyspace('rows');
  const txn = one.begin();
  assert.equal(
    code(() => txn.get(rows, 'a')),
    'KEEL_E_HANDLE',
  );
  assert.equal(
    code(() => txn.put(rows, 'a', 'b')),
    'KEEL_E_HANDLE',
  );
  assert.equal(
    code(() => txn.range(rows).toArray()),
    'KEEL_E_HANDLE',
  );
  txn.rollback();
});

test('a finished transaction answers "finished" to everything', async (t) => {
  const db = memory(t);
  const rows = db.keyspace('rows');
  rows.putSync('a', '1');
  const ends = [(txn) => txn.commitSync(), (txn) => txn.commit(), (txn) => txn.rollback()];
  for (const end of ends) {
    const txn = db.begin();
    const cursor = txn.cursor(rows);
    const walk = txn.range(rows)[Symbol.iterator]();
    walk.next();
    await end(txn);
    assert.equal(txn.isOpen, false);
    const calls = [
      () => txn.get(rows, 'a'),
      () => txn.has(rows, 'a'),
      () => txn.getMany(rows, ['a']),
      () => txn.view(rows, 'a'),
      () => txn.put(rows, 'a', '2'),
      () => txn.del(rows, 'a'),
      () => txn.delRange(rows),
      () => txn.writeMany(rows, [['a', '2']]),
      () => txn.range(rows).toArray(),
      () => txn.cursor(rows),
      () => cursor.first(),
      () => cursor.next(),
      () => cursor.seek('a'),
      () => txn.commitSync(),
      () => txn.rollback(),
    ];
    for (const call of calls) assert.equal(code(call), 'KEEL_E_FINISHED', String(call));
    assert.equal(await asyncCode(txn.commit()), 'KEEL_E_FINISHED');
    cursor.close();
  }
});

test('a closed database answers "closed", and so do its parts in their way', async (t) => {
  const db = memory(t);
  const rows = db.keyspace('rows');
  rows.putSync('a', '1');
  const txn = db.begin();
  const cursor = txn.cursor(rows);
  await db.close();
  await db.close();
  db.closeSync();
  assert.equal(txn.isOpen, false);
  for (const call of [
    () => db.begin(),
    () => db.keyspaces(),
    () => db.stats(),
    () => db.flushSync(),
    () => rows.get('a'),
  ]) {
    assert.equal(code(call), 'KEEL_E_CLOSED', String(call));
  }
  assert.equal(await asyncCode(db.flush()), 'KEEL_E_CLOSED');
  assert.equal(await asyncCode(db.transact(() => {})), 'KEEL_E_CLOSED');
  assert.equal(
    code(() => txn.commitSync()),
    'KEEL_E_FINISHED',
  );
  assert.equal(
    code(() => cursor.first()),
    'KEEL_E_HANDLE',
  );
});

test('the classes cannot be made by hand into something that works', () => {
  assert.equal(
    code(() => new KeelError('m', -1).retryable && 0),
    'no error',
  );
  assert.equal(new KeelError('m', codes.E_CONFLICT).retryable, true);
  assert.equal(new KeelError('m', 12345).code, 'KEEL_E_INTERNAL');
});
