'use strict';

const { HEADER, Packer, bytesOf } = require('./bytes.js');
const { codes, limits } = require('./constants.gen.js');
const { KeelError, withStack } = require('./errors.js');
const { disposable, kHandle, unwatch, watch } = require('./handles.js');
const native = require('./native.js');
const { invalid } = require('./options.js');
const { report } = require('./records.js');

// Rows go to the engine when there are so many bytes of them.
const BATCH_BYTES = 1 << 20;

const OPEN = 0;
const BUSY = 1;
const ENDED = 2;

/** Whether what is packed goes to the engine before this row. */
const full = (packer, key, value) =>
  packer.size !== 0 && packer.size + HEADER + key.length + value.length > BATCH_BYTES;

/**
 * A load under way, from `db.loader()`. While rows are written on another thread, it answers every call with an error, so
 * that no call can meet them half-way.
 */
class Loader {
  #shared;
  #state = OPEN;

  constructor(shared, name, handle) {
    this.#shared = shared;
    this.name = name;
    this[kHandle] = handle;
    this.#own();
  }

  /** The database and the collector end the load, unless `#leave` comes first. */
  #own() {
    this.#shared.adopt(this[kHandle], native.load_end);
    watch(this, this.#shared.end, this[kHandle]);
  }

  #leave() {
    unwatch(this);
    this.#shared.disown(this[kHandle]);
  }

  get isOpen() {
    return this.#state !== ENDED && (this.#state === BUSY || this.#shared.has(this[kHandle]));
  }

  #use() {
    if (this.#state === BUSY) {
      throw new KeelError('the load is busy with an earlier call; await that', codes.E_CONCURRENT_USE);
    }
    return this[kHandle];
  }

  /** A call on another thread, during which nobody may end the load. */
  async #away(call, from) {
    const calling = call(this[kHandle]);
    this.#leave();
    try {
      return await withStack(calling, from);
    } catch (error) {
      this.#own();
      throw error;
    }
  }

  put(key, value) {
    native.load_put(this.#use(), key, value);
  }

  async putMany(rows) {
    this.#use();
    this.#state = BUSY;
    try {
      return await this.#fill(rows);
    } finally {
      this.#state = OPEN;
    }
  }

  async #fill(rows) {
    const packer = new Packer();
    let count = 0;
    const flush = async () => {
      count += await this.#away((handle) => native.load_batch_async(handle, packer.packed), Loader.prototype.putMany);
      this.#own();
      packer.reset(BATCH_BYTES);
    };
    if (typeof rows?.[Symbol.iterator] === 'function') {
      for (const row of rows) {
        const [key, value] = parts(row);
        if (full(packer, key, value)) await flush();
        count += this.#take(packer, key, value);
      }
    } else if (typeof rows?.[Symbol.asyncIterator] === 'function') {
      for await (const row of rows) {
        const [key, value] = parts(row);
        if (full(packer, key, value)) await flush();
        count += this.#take(packer, key, value);
      }
    } else {
      throw invalid('rows: expected an iterable or async iterable of [key, value] pairs');
    }
    await flush();
    return count;
  }

  putManySync(rows) {
    const handle = this.#use();
    if (typeof rows?.[Symbol.iterator] !== 'function') {
      throw invalid('rows: expected an iterable of [key, value] pairs; putMany takes async ones, too');
    }
    const packer = new Packer();
    let count = 0;
    const flush = () => {
      count += native.load_batch(handle, packer.packed);
      packer.reset(BATCH_BYTES);
    };
    for (const row of rows) {
      const [key, value] = parts(row);
      if (full(packer, key, value)) flush();
      count += this.#take(packer, key, value);
    }
    flush();
    return count;
  }

  /** Packs a row, or takes it at once when it is too long for that; how many rows were taken. */
  #take(packer, key, value) {
    if (HEADER + key.length + value.length <= limits.MAX_WRITE_BATCH) {
      packer.add(key, value);
      return 0;
    }
    native.load_put(this[kHandle], key, value);
    return 1;
  }

  async finish() {
    const handle = this.#use();
    this.#state = BUSY;
    let done;
    try {
      done = report(await this.#away(native.load_finish_async, Loader.prototype.finish));
    } catch (error) {
      this.#state = OPEN;
      throw error;
    }
    this.#state = ENDED;
    await withStack(native.load_end_async(handle), Loader.prototype.finish);
    return done;
  }

  finishSync() {
    const done = report(native.load_finish(this.#use()));
    this.closeSync();
    return done;
  }

  async close() {
    if (this.#state === ENDED) return;
    const handle = this.#use();
    this.#state = ENDED;
    if (!this.#shared.has(handle)) return; // with its database
    this.#leave();
    await withStack(native.load_end_async(handle), Loader.prototype.close);
  }

  closeSync() {
    if (this.#state === ENDED) return;
    const handle = this.#use();
    this.#state = ENDED;
    unwatch(this);
    this.#shared.end(handle);
  }
}
disposable(Loader.prototype, Loader.prototype.closeSync, Loader.prototype.close);

/** The key and the value of a row, as bytes. */
function parts(row) {
  const [key, value] = row;
  return [bytesOf(key, 'key'), bytesOf(value, 'value')];
}

module.exports = { Loader };
