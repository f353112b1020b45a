'use strict';
// Values in parts: streams over them, and writing them from streams.

const { Readable } = require('node:stream');
const { bytesOf } = require('./bytes.js');
const { codes } = require('./constants.gen.js');
const { KeelError } = require('./errors.js');
const native = require('./native.js');
const { invalid } = require('./options.js');

// What a stream reads at once: a part of a large value, which is verified as a whole.
const PART = 64 << 10;

function number(value, name, fallback) {
  if (value === undefined && fallback !== undefined) return fallback;
  if (!Number.isSafeInteger(value) || value < 0) throw invalid(`${name}: expected an integer that is not negative`);
  return value;
}

/** A value as a stream. `use` gives the raw transaction, and throws when it is over; `done` is called once, at the end. */
class ValueReadStream extends Readable {
  #use;
  #done;
  #keyspace;
  #key;
  #at;
  #end;

  constructor(use, done, keyspace, key, options = {}) {
    const start = number(options.start, 'start', 0);
    const end = number(options.end, 'end', Number.MAX_SAFE_INTEGER - 1);
    super({ highWaterMark: number(options.highWaterMark, 'highWaterMark', PART) });
    // The caller may go on writing into what it gave.
    const copy = typeof key === 'string' ? key : Buffer.from(bytesOf(key, 'key'));
    const size = native.value_size(use(), keyspace, copy);
    if (size === undefined) throw new KeelError('the key has no value', codes.E_NOT_FOUND);
    this.#use = use;
    this.#done = done;
    this.#keyspace = keyspace;
    this.#key = copy;
    this.#at = start;
    this.#end = Math.min(end + 1, size); // as in node:fs, `end` is the last byte
    this.size = size;
  }

  _read(wanted) {
    try {
      const most = Math.min(wanted, this.#end - this.#at);
      const part = most > 0 ? native.get_part(this.#use(), this.#keyspace, this.#key, this.#at, most) : undefined;
      this.#at += part?.length ?? 0;
      this.push(part?.length > 0 ? part : null);
    } catch (error) {
      this.destroy(error);
    }
  }

  _destroy(error, callback) {
    this.#done();
    callback(error);
  }
}

/** Writes what the source gives; the value is the transaction's when the promise is fulfilled. */
async function putStream(use, keyspace, key, size, source) {
  const value = native.value_begin(use(), keyspace, key, number(size, 'size'));
  try {
    if (typeof source === 'string' || ArrayBuffer.isView(source) || source instanceof ArrayBuffer) {
      throw invalid('source: expected an iterable or async iterable of pieces; put takes a value that is there already');
    }
    if (typeof source?.[Symbol.asyncIterator] !== 'function' && typeof source?.[Symbol.iterator] !== 'function') {
      throw invalid('source: expected an iterable or async iterable of pieces');
    }
    for await (const piece of source) {
      use(); // a transaction that is being committed takes nothing any more
      native.value_write(value, piece);
    }
    use();
    native.value_finish(value);
  } finally {
    native.value_end(value);
  }
}

function getPart(txn, keyspace, key, offset, size) {
  return native.get_part(txn, keyspace, key, number(offset, 'offset'), number(size, 'size'));
}

module.exports = { ValueReadStream, getPart, putStream };
