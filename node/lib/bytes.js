'use strict';
// Bytes that JavaScript has to look at itself. Everything else goes to the addon as it is.

const { constants, limits } = require('./constants.gen.js');
const { invalid } = require('./options.js');

/** A string (as UTF-8) or anything that holds bytes, as a Uint8Array; views share their memory. */
function bytesOf(value, name) {
  if (typeof value === 'string') return Buffer.from(value, 'utf8');
  if (value instanceof Uint8Array) return value;
  if (ArrayBuffer.isView(value)) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  if (value instanceof ArrayBuffer) return Buffer.from(value);
  throw invalid(`${name}: expected a string, Buffer, TypedArray, DataView or ArrayBuffer`);
}

/**
 * The least key after `key`, as the bound that turns "after" into "from" and "up to and with" into "before"; undefined
 * when there is none. For most keys that is the key and a zero byte; after a key of the greatest size it is the next
 * one that is not longer.
 */
function successor(key, name) {
  const bytes = bytesOf(key, name);
  if (bytes.length < limits.MAX_KEY_SIZE) return Buffer.concat([bytes, Buffer.alloc(1)]);
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0xff) end--;
  if (end === 0) return undefined;
  const next = Buffer.from(bytes.subarray(0, end));
  next[end - 1]++;
  return next;
}

const HEADER = 12;

/** [key, value] pairs in the form of keel_write_batch; a value of undefined or null removes the key. */
function packOperations(entries) {
  let packed = Buffer.allocUnsafe(4096);
  let at = 0;
  for (const [key, value] of entries) {
    const keyBytes = bytesOf(key, 'key');
    const valueBytes = value === undefined || value === null ? null : bytesOf(value, 'value');
    const valueSize = valueBytes === null ? 0 : valueBytes.length;
    const end = at + HEADER + keyBytes.length + valueSize;
    if (end > packed.length) {
      const grown = Buffer.allocUnsafe(Math.max(packed.length * 2, end));
      packed.copy(grown, 0, 0, at);
      packed = grown;
    }
    packed.writeUInt32LE(valueBytes === null ? constants.BATCH_DELETE : constants.BATCH_PUT, at);
    packed.writeUInt32LE(keyBytes.length, at + 4);
    packed.writeUInt32LE(valueSize, at + 8);
    packed.set(keyBytes, at + HEADER);
    if (valueBytes !== null) packed.set(valueBytes, at + HEADER + keyBytes.length);
    at = end;
  }
  return packed.subarray(0, at);
}

module.exports = { bytesOf, packOperations, successor };
