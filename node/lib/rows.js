'use strict';
// Ranges and cursors.

const { setImmediate: turn } = require('node:timers/promises');
const { successor } = require('./bytes.js');
const { disposable, kHandle, unwatch, watch } = require('./handles.js');
const native = require('./native.js');
const { invalid, known } = require('./options.js');

// A batch grows while a range is read on: the first rows come soon, and many rows cost few calls. Rows share the
// memory of their batch, so its size is also what one kept row can hold on to.
const FIRST_ROWS = 16;
const MOST_ROWS = 1024;
const BATCH_BYTES = 64 * 1024;

const BOUND_NAMES = ['gt', 'gte', 'lt', 'lte', 'prefix'];
const RANGE_NAMES = [...BOUND_NAMES, 'reverse', 'limit'];

/** {lower, upper, prefix, empty}: the bounds that the engine takes, lower inclusive and upper exclusive. */
function bounds(options) {
  if (options.gt !== undefined && options.gte !== undefined) throw invalid('range: give gt or gte, not both');
  if (options.lt !== undefined && options.lte !== undefined) throw invalid('range: give lt or lte, not both');
  const after = options.gt !== undefined ? successor(options.gt, 'gt') : undefined;
  return {
    lower: options.gt !== undefined ? after : options.gte,
    upper: options.lte !== undefined ? successor(options.lte, 'lte') : options.lt,
    prefix: options.prefix,
    empty: options.gt !== undefined && after === undefined,
  };
}

const entry = (columns, i) => [key(columns, i), value(columns, i)];
const key = (columns, i) => columns.keys.subarray(columns.keyOffsets[i], columns.keyOffsets[i + 1]);
const value = (columns, i) => columns.values.subarray(columns.valueOffsets[i], columns.valueOffsets[i + 1]);

// So that rows have map, filter and the other helpers, where the engine has them.
const IteratorPrototype = Object.getPrototypeOf(Object.getPrototypeOf([][Symbol.iterator]()));

/** One walk over a range. It opens its cursor at the first row that is asked for, and closes it at the end. */
class Rows {
  #source;
  #cursor = 0;
  #done = false;
  #left;
  #columns = { count: 0 };
  #next = 0;
  #rows = FIRST_ROWS;
  #pick;

  constructor(source, pick) {
    this.#source = source;
    this.#pick = pick;
    this.#left = source.limit;
  }

  /** Fetches the next batch; false at the end. */
  #fetch() {
    if (this.#done || this.#left === 0) return this.#end();
    if (this.#cursor === 0) {
      if (this.#source.bounds.empty) return this.#end();
      this.#cursor = this.#source.open();
      watch(this, this.#source.close, this.#cursor);
    }
    this.#source.check();
    const rows = Math.min(this.#rows, this.#left);
    this.#rows = Math.min(this.#rows * 4, MOST_ROWS);
    this.#columns = this.#source.reverse
      ? native.cursor_prev_batch(this.#cursor, rows, BATCH_BYTES)
      : native.cursor_next_batch(this.#cursor, rows, BATCH_BYTES);
    this.#next = 0;
    this.#left -= this.#columns.count;
    return this.#columns.count !== 0 || this.#end();
  }

  #end() {
    this.#done = true;
    this.#columns = { count: 0 };
    this.#next = 0;
    if (this.#cursor !== 0) {
      const cursor = this.#cursor;
      this.#cursor = 0;
      unwatch(this);
      this.#source.close(cursor);
    }
    return false;
  }

  next() {
    if (this.#next === this.#columns.count) {
      let more = false;
      try {
        more = this.#fetch();
      } finally {
        if (!more) this.#end();
      }
      if (!more) return { value: undefined, done: true };
    }
    return { value: this.#pick(this.#columns, this.#next++), done: false };
  }

  /** Whether the next row is there without a fetch. */
  get ready() {
    return this.#next < this.#columns.count;
  }

  return(result) {
    this.#end();
    return { value: result, done: true };
  }

  [Symbol.iterator]() {
    return this;
  }
}
Object.setPrototypeOf(Rows.prototype, IteratorPrototype);
disposable(Rows.prototype, function () {
  this.return();
});

/** The rows of a keyspace between two bounds, to be walked over any number of times. */
class Range {
  #source;

  constructor(open, close, check, options) {
    const given = known(options, RANGE_NAMES, 'range');
    const limit = given.limit ?? Infinity;
    if (!(Number.isInteger(limit) || limit === Infinity) || limit < 0) {
      throw invalid('limit: expected a whole number, 0 or greater');
    }
    if (given.reverse !== undefined && typeof given.reverse !== 'boolean')
      throw invalid('reverse: expected true or false');
    const limits = bounds(given);
    this.#source = { open: () => open(limits), close, check, bounds: limits, reverse: given.reverse === true, limit };
  }

  [Symbol.iterator]() {
    return new Rows(this.#source, entry);
  }

  entries() {
    return new Rows(this.#source, entry);
  }

  keys() {
    return new Rows(this.#source, key);
  }

  values() {
    return new Rows(this.#source, value);
  }

  toArray() {
    return [...this];
  }

  /** The same rows; the event loop turns between two batches. */
  async *[Symbol.asyncIterator]() {
    const rows = new Rows(this.#source, entry);
    try {
      for (const row of rows) {
        yield row;
        if (!rows.ready) await turn();
      }
    } finally {
      rows.return();
    }
  }
}

/** A position in a keyspace that moves step by step. Each move gives the row that it reached, or undefined. */
class Cursor {
  #check;
  #close;
  #closed = false;

  constructor(open, close, check, options) {
    this.#check = check;
    this.#close = close;
    const limits = bounds(known(options, BOUND_NAMES, 'cursor'));
    // Nothing sorts after the last possible key: a range between two equal bounds is as empty.
    if (limits.empty) Object.assign(limits, { lower: '', upper: '' });
    this[kHandle] = open(limits);
    watch(this, close, this[kHandle]);
  }

  #step(columns) {
    return columns.count === 0 ? undefined : entry(columns, 0);
  }

  #row(standing) {
    const columns = standing ? native.cursor_row(this[kHandle]) : undefined;
    return columns === undefined ? undefined : this.#step(columns);
  }

  first() {
    this.#check();
    return this.#row(native.cursor_first(this[kHandle]));
  }

  last() {
    this.#check();
    return this.#row(native.cursor_last(this[kHandle]));
  }

  next() {
    this.#check();
    return this.#step(native.cursor_next_batch(this[kHandle], 1, 0));
  }

  prev() {
    this.#check();
    return this.#step(native.cursor_prev_batch(this[kHandle], 1, 0));
  }

  seek(target) {
    this.#check();
    return this.#row(native.cursor_seek(this[kHandle], target));
  }

  seekLe(target) {
    this.#check();
    return this.#row(native.cursor_seek_le(this[kHandle], target));
  }

  close() {
    if (this.#closed) return;
    this.#closed = true;
    unwatch(this);
    this.#close(this[kHandle]);
  }
}
disposable(Cursor.prototype, Cursor.prototype.close);

module.exports = { Cursor, Range, key };
