// Values in parts: reading some of them, streams over them, writing them from streams.
import assert from 'node:assert/strict';
import { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { test } from 'node:test';

import { limits } from 'keel';

import { asyncCode, code, collect, file, memory, openHandles } from './support.js';

const SIZE = (3 << 20) + 12_345;

function body(size = SIZE, seed = 1) {
  const bytes = Buffer.alloc(size);
  let word = seed;
  for (let i = 0; i < size; i++) {
    word = (Math.imul(word, 1103515245) + 12345) >>> 0;
    bytes[i] = word >>> 16;
  }
  return bytes;
}

const whole = body();
const gather = async (stream) => Buffer.concat(await stream.toArray());

/** A test of a value in memory, and in the pages of a file. */
function each(name, run) {
  for (const place of ['memory', 'file']) {
    test(`${name} (${place})`, async (t) => {
      const db = place === 'memory' ? memory(t) : file(t);
      const values = db.keyspace('values');
      await values.put('large', whole);
      await values.put('small', '0123456789');
      if (place === 'file') await db.makeCheckpoint();
      await run(db, values);
    });
  }
}

each('getPart gives some of a value', (db, values) => {
  const wanted = [[0, 0], [0, 1], [65535, 2], [65536, 65536], [100, 1 << 20], [SIZE - 5, 100], [SIZE, 1], [2 ** 50, 9]];
  for (const [offset, size] of wanted) {
    assert.deepEqual(values.getPart('large', offset, size), whole.subarray(offset, offset + size));
  }
  assert.equal(values.getPart('small', 8, Number.MAX_SAFE_INTEGER).toString(), '89');
  assert.equal(values.getPart('absent', 0, 1), undefined);
  for (const [offset, size] of [[-1, 1], [1.5, 1], [0, NaN], [0], [undefined, 1]]) {
    assert.equal(code(() => values.getPart('small', offset, size)), 'KEEL_E_INVALID');
  }
  db.transactSync((txn) => {
    txn.put(values, 'large', 'abc');
    assert.equal(txn.getPart(values, 'large', 1, 9).toString(), 'bc');
    assert.equal(values.getPart('large', 1, 9).toString('hex'), whole.subarray(1, 10).toString('hex'));
  });
});

each('a value is a stream', async (db, values) => {
  const stream = values.createReadStream('large');
  assert.equal(stream.size, SIZE);
  assert.ok(stream instanceof Readable);
  assert.deepEqual(await gather(stream), whole);
  assert.deepEqual(await gather(values.createReadStream('large', { start: 70_000 })), whole.subarray(70_000));
  const some = values.createReadStream('large', { start: 65_530, end: 140_000, highWaterMark: 1000 });
  assert.deepEqual(await gather(some), whole.subarray(65_530, 140_001));
  assert.equal((await gather(values.createReadStream('small', { start: 20 }))).length, 0);
  assert.equal(code(() => values.createReadStream('absent')), 'KEEL_E_NOT_FOUND');
  assert.equal(code(() => values.createReadStream('small', { start: -1 })), 'KEEL_E_INVALID');
  let got = 0;
  const sink = new Writable({ write: (chunk, _, done) => void ((got += chunk.length), setImmediate(done)) });
  await pipeline(values.createReadStream('large'), sink);
  assert.equal(got, SIZE);
  assert.equal(db.stats().snapshotsLive, 0);
});

each('a stream reads one snapshot, and lets it go', async (db, values) => {
  const handles = openHandles();
  const stream = values.createReadStream('large')[Symbol.asyncIterator]();
  const first = (await stream.next()).value;
  await values.put('large', 'other');
  if (db.path !== ':memory:') await db.makeCheckpoint();
  const parts = [first];
  for (let next = await stream.next(); !next.done; next = await stream.next()) parts.push(next.value);
  assert.deepEqual(Buffer.concat(parts), whole);
  const left = values.createReadStream('large');
  left.destroy();
  await new Promise((resolve) => left.once('close', resolve));
  assert.equal(openHandles(), handles);
  (() => void values.createReadStream('large'))();
  assert.ok(await collect(() => openHandles() === handles));
});

each('a stream ends with its transaction', async (db, values) => {
  const txn = db.begin({ readOnly: true });
  assert.deepEqual(await gather(txn.createReadStream(values, 'large')), whole);
  const stream = txn.createReadStream(values, 'large');
  txn.rollback();
  assert.equal(await asyncCode(gather(stream)), 'KEEL_E_FINISHED');
});

each('putStream takes anything that gives pieces', async (db, values) => {
  const other = body(SIZE, 3);
  const pieces = [];
  for (let i = 0; i < SIZE; i += 100_001) pieces.push(other.subarray(i, i + 100_001));
  await values.putStream('iterable', SIZE, pieces);
  await values.putStream('stream', SIZE, Readable.from(pieces));
  await values.putStream('text', 6, ['grö', 'ß']);
  await values.putStream('empty', 0, []);
  const copied = values.createReadStream('large');
  await values.putStream('copy', copied.size, copied);
  assert.deepEqual(values.get('iterable'), other);
  assert.deepEqual(values.get('stream'), other);
  assert.equal(values.get('text').toString(), 'größ');
  assert.equal(values.get('empty').length, 0);
  assert.deepEqual(values.get('copy'), whole);
  await db.transact(async (txn) => {
    await txn.putStream(values, 'a', 3, ['a', 'bc']);
    await txn.putStream(values, 'b', 2, ['de']);
    assert.equal(txn.getPart(values, 'a', 1, 2).toString(), 'bc');
  });
  assert.equal(values.get('b').toString(), 'de');
});

each('a source that does not fit leaves nothing', async (db, values) => {
  const handles = openHandles();
  async function* fails() {
    yield 'abc';
    throw new RangeError('the source is gone');
  }
  assert.equal(await asyncCode(values.putStream('new', 5, ['abc', 'def'])), 'KEEL_E_INVALID');
  assert.equal(await asyncCode(values.putStream('new', 7, ['abc', 'def'])), 'KEEL_E_INVALID');
  assert.equal(await asyncCode(values.putStream('new', 2 ** 48 + 1, [])), 'KEEL_E_VALUE_SIZE');
  for (const size of [-1, undefined, 0.5, '7']) {
    assert.equal(await asyncCode(values.putStream('new', size, [])), 'KEEL_E_INVALID');
  }
  for (const source of ['text', Buffer.from('bytes'), 5, undefined]) {
    assert.equal(await asyncCode(values.putStream('new', 5, source)), 'KEEL_E_INVALID');
  }
  await assert.rejects(values.putStream('new', 5, fails()), RangeError);
  const txn = db.begin();
  await assert.rejects(txn.putStream(values, 'new', 5, fails()), RangeError);
  const late = txn.putStream(values, 'new', 6, Readable.from(['abc', 'def']));
  txn.commitSync();
  assert.equal(await asyncCode(late), 'KEEL_E_FINISHED');
  assert.equal(values.has('new'), false);
  assert.equal(openHandles(), handles);
  assert.equal(limits.MAX_LARGE_VALUE_SIZE, 2 ** 48);
});
