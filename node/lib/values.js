'use strict';
// Values out of the addon.

const native = require('./native.js');

// The addon leaves small values here, and they are copied into Buffers from Node's pool: that takes a third of the
// time in which an addon makes a Buffer (README.md). Larger ones it returns itself.
const scratch = Buffer.allocUnsafeSlow(4096);
native.setScratch(scratch);

function getValue(txn, keyspace, key) {
  const got = native.get(txn, keyspace, key);
  if (typeof got !== 'number') return got;
  const value = Buffer.allocUnsafe(got);
  scratch.copy(value, 0, 0, got);
  return value;
}

/** One value a key, undefined where there is none. */
function getMany(txn, keyspace, keys) {
  const list = Array.isArray(keys) ? keys : Array.from(keys);
  const { count, found, values, valueOffsets } = native.get_many(txn, keyspace, list);
  const result = new Array(count);
  for (let i = 0; i < count; i++) {
    result[i] = found[i] === 1 ? values.subarray(valueOffsets[i], valueOffsets[i + 1]) : undefined;
  }
  return result;
}

module.exports = { getMany, getValue };
