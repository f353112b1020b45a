// Random programs, run on Keel and on a Map, must see the same.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import fc from 'fast-check';
import { open } from 'keel';

const seed = process.env.KEEL_TEST_SEED ? Number(process.env.KEEL_TEST_SEED) : 20_240_601;

// Few and similar keys, so that operations meet: short ones over a small alphabet that has both ends of a byte.
const bytes = fc.array(fc.constantFrom(0, 1, 97, 255), { maxLength: 3 }).map((list) => Buffer.from(list));
const value = fc.oneof(fc.uint8Array({ maxLength: 8 }), fc.constant(new Uint8Array(5000))).map((a) => Buffer.from(a));
const which = fc.constantFrom(0, 1);
const bound = fc.option(bytes, { nil: undefined });
const rangeOptions = fc
  .record({
    lower: bound,
    upper: bound,
    lowerOpen: fc.boolean(),
    upperOpen: fc.boolean(),
    prefix: bound,
    reverse: fc.boolean(),
    limit: fc.option(fc.nat(5), { nil: undefined }),
  })
  .map(({ lower, upper, lowerOpen, upperOpen, prefix, reverse, limit }) => ({
    ...(lower && { [lowerOpen ? 'gt' : 'gte']: lower }),
    ...(upper && { [upperOpen ? 'lt' : 'lte']: upper }),
    ...(prefix && { prefix }),
    reverse,
    ...(limit !== undefined && { limit }),
  }));

const operation = fc.oneof(
  fc.record({ kind: fc.constant('put'), which, key: bytes, value }),
  fc.record({ kind: fc.constant('del'), which, key: bytes }),
  fc.record({ kind: fc.constant('delRange'), which, from: bound, to: bound }),
  fc.record({
    kind: fc.constant('writeMany'),
    which,
    entries: fc.array(fc.tuple(bytes, fc.option(value, { nil: undefined })), { maxLength: 6 }),
  }),
  fc.record({ kind: fc.constant('get'), which, key: bytes }),
  fc.record({ kind: fc.constant('getMany'), which, keys: fc.array(bytes, { maxLength: 5 }) }),
  fc.record({ kind: fc.constant('range'), which, options: rangeOptions }),
  fc.record({
    kind: fc.constant('cursor'),
    which,
    options: rangeOptions,
    moves: fc.array(fc.tuple(fc.nat(5), bytes), { maxLength: 8 }),
  }),
  fc.record({ kind: fc.constant('checkpoint') }),
  fc.record({ kind: fc.constant('end'), how: fc.constantFrom('commit', 'rollback') }),
);

/** A sorted map of bytes: what a keyspace should be. */
class Model {
  constructor(rows = []) {
    this.rows = new Map(rows);
  }
  static name(key) {
    return key.toString('latin1');
  }
  put(key, value) {
    this.rows.set(Model.name(key), value);
  }
  del(key) {
    return this.rows.delete(Model.name(key));
  }
  get(key) {
    return this.rows.get(Model.name(key));
  }
  sorted() {
    return [...this.rows].map(([name, value]) => [Buffer.from(name, 'latin1'), value]).sort(([a], [b]) => a.compare(b));
  }
  range({ gt, gte, lt, lte, prefix, reverse, limit = Infinity }) {
    const rows = this.sorted().filter(
      ([key]) =>
        (!gt || key.compare(gt) > 0) &&
        (!gte || key.compare(gte) >= 0) &&
        (!lt || key.compare(lt) < 0) &&
        (!lte || key.compare(lte) <= 0) &&
        (!prefix || key.subarray(0, prefix.length).equals(prefix)),
    );
    return (reverse ? rows.toReversed() : rows).slice(0, limit);
  }
  delRange(from, to) {
    const gone = this.range({ gte: from, lt: to });
    for (const [key] of gone) this.del(key);
    return gone.length;
  }
}

/** Moves a cursor over rows, as the C API says a cursor moves. */
function moveModel(rows, at, move, key) {
  const standing = (i) => (i < 0 ? -1 : i >= rows.length ? rows.length : i);
  switch (move) {
    case 0:
      return rows.length === 0 ? -1 : 0;
    case 1:
      return rows.length - 1;
    case 2:
      return standing(at === undefined ? 0 : at + 1);
    case 3:
      return standing(at === undefined ? rows.length - 1 : at - 1);
    case 4: {
      const found = rows.findIndex(([own]) => own.compare(key) >= 0);
      return found < 0 ? rows.length : found;
    }
    default: {
      const found = rows.findIndex(([own]) => own.compare(key) > 0);
      return (found < 0 ? rows.length : found) - 1;
    }
  }
}

function runCursor(txn, keyspace, model, { options, moves }) {
  const { reverse, limit, ...bounds } = options;
  const rows = model.range(bounds);
  const cursor = txn.cursor(keyspace, bounds);
  let at;
  for (const [move, key] of moves) {
    const row = [
      () => cursor.first(),
      () => cursor.last(),
      () => cursor.next(),
      () => cursor.prev(),
      () => cursor.seek(key),
      () => cursor.seekLe(key),
    ][move]();
    at = moveModel(rows, at, move, key);
    assert.deepEqual(row, rows[at]);
    // Where a move that finds nothing leaves the cursor differs by the move; the walk goes on from known ground.
    if (row === undefined) {
      assert.deepEqual(cursor.first(), rows[0]);
      if (rows.length === 0) break;
      at = 0;
    }
  }
  cursor.close();
}

function apply(txn, keyspaces, models, step) {
  const [keyspace, model] = [keyspaces[step.which], models[step.which]];
  switch (step.kind) {
    case 'put':
      txn.put(keyspace, step.key, step.value);
      model.put(step.key, step.value);
      break;
    case 'del':
      txn.del(keyspace, step.key);
      model.del(step.key);
      break;
    case 'delRange':
      assert.equal(txn.delRange(keyspace, step.from, step.to), model.delRange(step.from, step.to));
      break;
    case 'writeMany':
      assert.equal(txn.writeMany(keyspace, step.entries), step.entries.length);
      for (const [key, value] of step.entries) value === undefined ? model.del(key) : model.put(key, value);
      break;
    case 'get':
      assert.deepEqual(txn.get(keyspace, step.key), model.get(step.key));
      assert.equal(txn.has(keyspace, step.key), model.get(step.key) !== undefined);
      assert.deepEqual(txn.view(keyspace, step.key)?.toBuffer(), model.get(step.key));
      break;
    case 'getMany':
      assert.deepEqual(
        txn.getMany(keyspace, step.keys),
        step.keys.map((key) => model.get(key)),
      );
      break;
    case 'range':
      assert.deepEqual(txn.range(keyspace, step.options).toArray(), model.range(step.options));
      break;
    case 'cursor':
      runCursor(txn, keyspace, model, step);
      break;
  }
}

test(`random programs see what a Map would (seed ${seed})`, () => {
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 60 }), (program) => {
      const db = open(':memory:');
      try {
        const keyspaces = [db.keyspace('first'), db.keyspace('second')];
        let committed = [new Model(), new Model()];
        let models = committed.map(({ rows }) => new Model(rows));
        let txn = db.begin();
        for (const step of program) {
          if (step.kind === 'checkpoint') {
            db.makeCheckpointSync();
            continue;
          }
          if (step.kind !== 'end') {
            apply(txn, keyspaces, models, step);
            continue;
          }
          txn[`${step.how}${step.how === 'commit' ? 'Sync' : ''}`]();
          if (step.how === 'commit') committed = models;
          models = committed.map(({ rows }) => new Model(rows));
          txn = db.begin();
          keyspaces.forEach((keyspace, i) => assert.deepEqual(keyspace.range().toArray(), committed[i].sorted()));
        }
      } finally {
        db.closeSync();
      }
    }),
    { seed, numRuns: 300 },
  );
});
