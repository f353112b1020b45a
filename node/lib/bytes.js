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

/** Collects operations in the form of keel_write_batch and keel_load_batch. */
class Packer {
  #room = Buffer.allocUnsafe(4096);
  #size = 0;

  /** Bytes of what was added. */
  get size() {
    return this.#size;
  }

  /** What was added; valid until the next call. */
  get packed() {
    return this.#room.subarray(0, this.#size);
  }

  /** Both as Uint8Array; a value of null removes the key. */
  add(key, value) {
    const valueSize = value === null ? 0 : value.length;
    const at = this.#size;
    const end = at + HEADER + key.length + valueSize;
    if (end > this.#room.length) {
      const grown = Buffer.allocUnsafe(Math.max(this.#room.length * 2, end));
      this.#room.copy(grown, 0, 0, at);
      this.#room = grown;
    }
    this.#room.writeUInt32LE(value === null ? constants.BATCH_DELETE : constants.BATCH_PUT, at);
    this.#room.writeUInt32LE(key.length, at + 4);
    this.#room.writeUInt32LE(valueSize, at + 8);
    this.#room.set(key, at + HEADER);
    if (value !== null) this.#room.set(value, at + HEADER + key.length);
    this.#size = end;
  }

  /** Forgets what was added, and keeps the memory unless it is much more than `usual`. */
  reset(usual) {
    this.#size = 0;
    if (this.#room.length > usual * 4) this.#room = Buffer.allocUnsafe(usual);
  }
}

/** [key, value] pairs in the form of keel_write_batch; a value of undefined or null removes the key. */
function packOperations(entries) {
  const packer = new Packer();
  for (const [key, value] of entries) {
    packer.add(bytesOf(key, 'key'), value === undefined || value === null ? null : bytesOf(value, 'value'));
  }
  return packer.packed;
}

module.exports = { HEADER, Packer, bytesOf, packOperations, successor };
