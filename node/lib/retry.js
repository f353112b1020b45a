'use strict';
// Running a transaction again when it lost a conflict.

const { setImmediate: turn, setTimeout: sleep } = require('node:timers/promises');
const { KeelError } = require('./errors.js');
const { kAbandon } = require('./handles.js');
const { invalid, transactOptions } = require('./options.js');

// The pause before run n + 1 is drawn from 0 ... min(CAP, BASE * 2^n) milliseconds ("full jitter"): those who met in
// one conflict do not meet again in the next.
const BASE = 0.2;
const CAP = 100;

function pauseAfter(attempt) {
  return Math.random() * Math.min(CAP, BASE * 2 ** Math.min(attempt, 30));
}

/** Decides what follows a failed run: throws, or returns the milliseconds to wait before the next. */
function next(error, attempt, { retries, onRetry }) {
  if (!(error instanceof KeelError && error.retryable)) throw error;
  if (attempt > retries) {
    error.attempts = attempt;
    throw error;
  }
  const delay = pauseAfter(attempt);
  onRetry?.({ attempt, error, delay });
  return delay;
}

async function transact(shared, fn, options) {
  const how = transactOptions(options);
  for (let attempt = 1; ; attempt++) {
    const txn = shared.begin(how.begin, attempt);
    let delay;
    try {
      const result = await fn(txn);
      if (txn.isOpen) await txn.commit();
      return result;
    } catch (error) {
      txn[kAbandon]();
      delay = next(error, attempt, how);
    }
    // A timer cannot be shorter than a millisecond.
    await (delay < 1 ? turn() : sleep(delay));
  }
}

const clock = new Int32Array(new SharedArrayBuffer(4));

function transactSync(shared, fn, options) {
  const how = transactOptions(options);
  for (let attempt = 1; ; attempt++) {
    const txn = shared.begin(how.begin, attempt);
    let delay;
    try {
      const result = fn(txn);
      if (typeof result?.then === 'function') {
        throw invalid('transactSync: the function gave a promise; use transact for an async function');
      }
      if (txn.isOpen) txn.commitSync();
      return result;
    } catch (error) {
      txn[kAbandon]();
      delay = next(error, attempt, how);
    }
    Atomics.wait(clock, 0, 0, delay);
  }
}

module.exports = { transact, transactSync };
