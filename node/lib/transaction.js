'use strict';

const { packOperations } = require('./bytes.js');
const { codes } = require('./constants.gen.js');
const { KeelError, withStack } = require('./errors.js');
const { disposable, kAbandon, kHandle, unwatch, watch } = require('./handles.js');
const native = require('./native.js');
const { ValueReadStream, getPart, putStream } = require('./parts.js');
const { Cursor, Range } = require('./rows.js');
const { getMany, getValue } = require('./values.js');
const { View } = require('./view.js');

const OPEN = 0;
const COMMITTING = 1;
const FINISHED = 2;

/** The handle of a keyspace; what is none gives 0, and the engine answers that with KEEL_E_HANDLE. */
const handleOf = (keyspace) => keyspace?.[kHandle] ?? 0;

/**
 * Reads one snapshot, sees its own writes, commits atomically across keyspaces. From `db.begin()` or `db.transact()`.
 *
 * An asynchronous commit runs on another thread. From its start on, the transaction answers every call with an error,
 * so that no call can meet the commit half-way.
 */
class Transaction {
  #shared;
  #state = OPEN;
  #timestamp;

  constructor(shared, handle, readOnly, attempt) {
    this.#shared = shared;
    this[kHandle] = handle;
    this.readOnly = readOnly;
    this.attempt = attempt;
    shared.adopt(handle, native.rollback);
    watch(this, shared.end, handle);
  }

  get isOpen() {
    return this.#state === OPEN && this.#shared.has(this[kHandle]);
  }

  get timestamp() {
    return this.#timestamp;
  }

  #use() {
    if (this.#state === COMMITTING) {
      throw new KeelError('the transaction is being committed; await the commit', codes.E_CONCURRENT_USE);
    }
    return this[kHandle];
  }

  // --- reads ---

  get(keyspace, key) {
    return getValue(this.#use(), handleOf(keyspace), key);
  }

  has(keyspace, key) {
    return native.has(this.#use(), handleOf(keyspace), key);
  }

  getMany(keyspace, keys) {
    return getMany(this.#use(), handleOf(keyspace), keys);
  }

  view(keyspace, key) {
    const view = native.get_view(this.#use(), handleOf(keyspace), key);
    return view === undefined ? undefined : new View(view);
  }

  getPart(keyspace, key, offset, size) {
    return getPart(this.#use(), handleOf(keyspace), key, offset, size);
  }

  createReadStream(keyspace, key, options) {
    return new ValueReadStream(() => this.#use(), () => {}, handleOf(keyspace), key, options);
  }

  range(keyspace, options) {
    return this.#rows(Range, keyspace, options);
  }

  cursor(keyspace, options) {
    return this.#rows(Cursor, keyspace, options);
  }

  #rows(Kind, keyspace, options) {
    const shared = this.#shared;
    const open = ({ lower, upper, prefix }) => {
      const cursor = native.cursor_open(this.#use(), handleOf(keyspace), lower, upper, prefix);
      shared.adopt(cursor, native.cursor_close);
      return cursor;
    };
    return new Kind(open, shared.end, () => this.#use(), options);
  }

  // --- writes ---

  put(keyspace, key, value) {
    native.put(this.#use(), handleOf(keyspace), key, value);
  }

  putStream(keyspace, key, size, source) {
    return putStream(() => this.#use(), handleOf(keyspace), key, size, source);
  }

  del(keyspace, key) {
    native.del(this.#use(), handleOf(keyspace), key);
  }

  delRange(keyspace, from, to) {
    return native.del_range(this.#use(), handleOf(keyspace), from, to);
  }

  writeMany(keyspace, entries) {
    return native.write_batch(this.#use(), handleOf(keyspace), packOperations(entries));
  }

  // --- the end ---

  /** From here on neither the collector nor the database ends the transaction. */
  #leave(state) {
    this.#state = state;
    unwatch(this);
    this.#shared.disown(this[kHandle]);
  }

  /** The engine ends a transaction whatever a commit gives, unless another thread was inside. */
  #ended(error) {
    if (error?.status === codes.E_CONCURRENT_USE) {
      this.#state = OPEN;
      this.#shared.adopt(this[kHandle], native.rollback);
      watch(this, this.#shared.end, this[kHandle]);
    } else {
      this.#state = FINISHED;
    }
  }

  commitSync() {
    const handle = this.#use();
    this.#leave(FINISHED);
    try {
      this.#timestamp = native.commit(handle);
    } catch (error) {
      this.#ended(error);
      throw error;
    }
    return this.#timestamp;
  }

  async commit() {
    // Nothing to wait for: a transaction that cannot write never reaches the log.
    if (this.readOnly) return this.commitSync();
    const handle = this.#use();
    const committing = native.commit_async(handle);
    this.#leave(COMMITTING);
    try {
      this.#timestamp = await withStack(committing, Transaction.prototype.commit);
    } catch (error) {
      this.#ended(error);
      throw error;
    }
    this.#ended();
    return this.#timestamp;
  }

  rollback() {
    const handle = this.#use();
    this.#leave(FINISHED);
    try {
      native.rollback(handle);
    } catch (error) {
      this.#ended(error);
      throw error;
    }
  }

  /** A finished or committing transaction is left alone. */
  [kAbandon]() {
    if (this.isOpen) this.rollback();
  }
}
disposable(Transaction.prototype, Transaction.prototype[kAbandon]);

module.exports = { Transaction };
