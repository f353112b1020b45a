'use strict';

const { verify } = require('./check.js');
const { codes } = require('./constants.gen.js');
const { KeelError, withStack } = require('./errors.js');
const { disposable, kAbandon, kHandle, unwatch, watch } = require('./handles.js');
const { Loader } = require('./load.js');
const native = require('./native.js');
const { beginArguments, invalid, keyspaceFlags, loadArguments, openArguments } = require('./options.js');
const { record } = require('./records.js');
const { transact, transactSync } = require('./retry.js');
const { ValueReadStream, getPart } = require('./parts.js');
const { Range, key } = require('./rows.js');
const { Transaction } = require('./transaction.js');
const { getMany, getValue } = require('./values.js');

/**
 * What the objects of one database share: its handle, and what is open on it, so that closing it can end all of that. A
 * collected object is ended through here, too, so nothing in here refers to the objects themselves.
 */
class Shared {
  handle;
  #path;
  #open = new Map();

  constructor(handle, path) {
    this.handle = handle;
    this.#path = path;
  }

  use() {
    if (this.handle === 0) throw new KeelError(`the database ${this.#path} is closed: open it again`, codes.E_CLOSED);
    return this.handle;
  }

  /** From here on `end(handle)` is called when the database closes, unless `end` or `disown` come first. */
  adopt(handle, end) {
    if (this.handle === 0) {
      // Closed while an asynchronous call opened the child.
      end(handle);
      this.use();
    }
    this.#open.set(handle, end);
  }

  disown(handle) {
    this.#open.delete(handle);
  }

  has(handle) {
    return this.#open.has(handle);
  }

  end = (handle) => {
    const end = this.#open.get(handle);
    if (end === undefined) return;
    this.#open.delete(handle);
    end(handle);
  };

  /** Ends everything, and takes the handle away from everyone; 0 when that was done before. */
  leave() {
    const handle = this.handle;
    this.handle = 0;
    for (const child of this.#open.keys()) {
      try {
        this.end(child);
      } catch {
        // Ended meanwhile; that is what was wanted.
      }
    }
    return handle;
  }

  begin(options, attempt) {
    const handle = native.begin(this.use(), ...beginArguments(options));
    return new Transaction(this, handle, options?.readOnly === true, attempt);
  }

  /** One read on a snapshot of its own. */
  read(call, keyspace, what) {
    const txn = native.begin(this.use(), ...READ);
    try {
      return call(txn, keyspace, what);
    } finally {
      native.rollback(txn);
    }
  }
}

const READ_ONLY = { readOnly: true };
const READ = beginArguments(READ_ONLY);

class Database {
  #shared;

  constructor(handle, path, readOnly) {
    this.#shared = new Shared(handle, path);
    this.path = path;
    this.readOnly = readOnly;
    watch(this, native.close, handle);
  }

  get closed() {
    return this.#shared.handle === 0;
  }

  // --- keyspaces ---

  keyspace(name, options) {
    if (typeof name !== 'string') throw invalid('name: expected a string');
    const handle = native.keyspace_open(this.#shared.use(), name, keyspaceFlags(options));
    return new Keyspace(this.#shared, name, handle);
  }

  async keyspaceAsync(name, options) {
    if (typeof name !== 'string') throw invalid('name: expected a string');
    const opening = native.keyspace_open_async(this.#shared.use(), name, keyspaceFlags(options));
    const handle = await withStack(opening, Database.prototype.keyspaceAsync);
    return new Keyspace(this.#shared, name, handle);
  }

  keyspaces() {
    const columns = native.keyspace_list(this.#shared.use());
    return Array.from({ length: columns.count }, (_, i) => key(columns, i).toString());
  }

  dropKeyspace(name) {
    if (typeof name !== 'string') throw invalid('name: expected a string');
    native.keyspace_drop(this.#shared.use(), name);
  }

  async dropKeyspaceAsync(name) {
    if (typeof name !== 'string') throw invalid('name: expected a string');
    await withStack(native.keyspace_drop_async(this.#shared.use(), name, 0), Database.prototype.dropKeyspaceAsync);
  }

  // --- bulk loads ---

  loader(name, options) {
    if (typeof name !== 'string') throw invalid('name: expected a string');
    const handle = native.load_begin(this.#shared.use(), name, ...loadArguments(options));
    return new Loader(this.#shared, name, handle);
  }

  async load(name, rows, options) {
    const loader = this.loader(name, options);
    try {
      await loader.putMany(rows);
      return await loader.finish();
    } catch (error) {
      // Nothing else can go wrong that matters: a load that is not finished leaves nothing.
      await loader.close().catch(() => {});
      throw error;
    }
  }

  loadSync(name, rows, options) {
    const loader = this.loader(name, options);
    try {
      loader.putManySync(rows);
      return loader.finishSync();
    } finally {
      loader.closeSync();
    }
  }

  // --- transactions ---

  begin(options) {
    return this.#shared.begin(options, 1);
  }

  transact(fn, options) {
    return transact(this.#shared, fn, options);
  }

  transactSync(fn, options) {
    return transactSync(this.#shared, fn, options);
  }

  // --- state ---

  stats() {
    const raw = record(native.get_stats(this.#shared.use()));
    return { ...raw, poisoned: raw.poisoned !== 0, logUsesDsync: raw.logUsesDsync !== 0 };
  }

  lastCheckpoint() {
    const raw = record(native.last_checkpoint(this.#shared.use()));
    return { ...raw, logNeeded: raw.logNeeded !== 0 };
  }

  flushSync() {
    native.flush(this.#shared.use());
  }

  async flush() {
    await withStack(native.flush_async(this.#shared.use()), Database.prototype.flush);
  }

  makeCheckpointSync() {
    native.make_checkpoint(this.#shared.use());
  }

  async makeCheckpoint() {
    await withStack(native.make_checkpoint_async(this.#shared.use()), Database.prototype.makeCheckpoint);
  }

  compactSync() {
    native.compact(this.#shared.use());
  }

  async compact() {
    await withStack(native.compact_async(this.#shared.use()), Database.prototype.compact);
  }

  setCacheSize(bytes) {
    native.set_cache_size(this.#shared.use(), bytes);
  }

  verify(options) {
    return verify(this.#shared, options);
  }

  // --- the end ---

  closeSync() {
    unwatch(this);
    const handle = this.#shared.leave();
    if (handle !== 0) native.close(handle);
  }

  async close() {
    unwatch(this);
    const handle = this.#shared.leave();
    if (handle !== 0) await withStack(native.close_async(handle), Database.prototype.close);
  }
}
disposable(Database.prototype, Database.prototype.closeSync, Database.prototype.close);

/** A named, ordered map. Its own methods are transactions of one operation. */
class Keyspace {
  #shared;
  #closed = false;

  constructor(shared, name, handle) {
    this.#shared = shared;
    this.name = name;
    this[kHandle] = handle;
    shared.adopt(handle, native.keyspace_close);
    watch(this, shared.end, handle);
  }

  get(target) {
    return this.#shared.read(getValue, this[kHandle], target);
  }

  has(target) {
    return this.#shared.read(native.has, this[kHandle], target);
  }

  getMany(keys) {
    return this.#shared.read(getMany, this[kHandle], keys);
  }

  getPart(target, offset, size) {
    return this.#shared.read((txn, keyspace, key) => getPart(txn, keyspace, key, offset, size), this[kHandle], target);
  }

  /** A stream over the value in the snapshot of this moment, which the end of the stream lets go. */
  createReadStream(target, options) {
    const txn = this.#shared.begin(READ_ONLY, 1);
    try {
      return new ValueReadStream(() => txn[kHandle], () => txn[kAbandon](), this[kHandle], target, options);
    } catch (error) {
      txn[kAbandon]();
      throw error;
    }
  }

  /** Each walk over the range reads a snapshot of its own. */
  range(options) {
    const shared = this.#shared;
    const transactions = new Map();
    const open = ({ lower, upper, prefix }) => {
      const txn = shared.begin(READ_ONLY, 1);
      try {
        const cursor = native.cursor_open(txn[kHandle], this[kHandle], lower, upper, prefix);
        shared.adopt(cursor, native.cursor_close);
        transactions.set(cursor, txn);
        return cursor;
      } catch (error) {
        txn[kAbandon]();
        throw error;
      }
    };
    const close = (cursor) => {
      shared.end(cursor);
      transactions.get(cursor)?.[kAbandon]();
      transactions.delete(cursor);
    };
    return new Range(open, close, () => {}, options);
  }

  async put(target, value, options) {
    await transact(this.#shared, (txn) => txn.put(this, target, value), options);
  }

  putSync(target, value, options) {
    transactSync(this.#shared, (txn) => txn.put(this, target, value), options);
  }

  /** In a transaction of its own that is run once: the source cannot be read again. */
  async putStream(target, size, source, options) {
    const txn = this.#shared.begin(options, 1);
    try {
      await txn.putStream(this, target, size, source);
    } catch (error) {
      txn[kAbandon]();
      throw error;
    }
    await txn.commit();
  }

  async del(target, options) {
    await transact(this.#shared, (txn) => txn.del(this, target), options);
  }

  delSync(target, options) {
    transactSync(this.#shared, (txn) => txn.del(this, target), options);
  }

  close() {
    if (this.#closed) return;
    this.#closed = true;
    unwatch(this);
    this.#shared.end(this[kHandle]);
  }
}
disposable(Keyspace.prototype, Keyspace.prototype.close);

function open(path, options) {
  const raw = openArguments(path, options);
  return new Database(native.open(...raw), raw[0], options?.readOnly === true);
}

async function openAsync(path, options) {
  const raw = openArguments(path, options);
  return new Database(await withStack(native.open_async(...raw), openAsync), raw[0], options?.readOnly === true);
}

module.exports = { Database, Keyspace, open, openAsync };
