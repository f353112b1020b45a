'use strict';

const { statuses } = require('./constants.gen.js');
const native = require('./native.js');

class KeelError extends Error {
  /** Also called by the addon, with these three. */
  constructor(message, status, systemErrno = 0) {
    const info = statuses[status] ?? statuses[-901];
    super(message || info.name);
    this.code = info.symbol;
    this.status = status;
    this.statusClass = info.class;
    this.retryable = info.retryable;
    this.systemErrno = systemErrno;
  }
}
Object.defineProperty(KeelError.prototype, 'name', { value: 'KeelError', configurable: true, writable: true });

native.setErrorClass(KeelError);

/** An asynchronous call fails on no JavaScript stack; this gives its error the stack of the code that awaits it. */
async function withStack(promise, from) {
  try {
    return await promise;
  } catch (error) {
    if (error instanceof KeelError) Error.captureStackTrace(error, from);
    throw error;
  }
}

module.exports = { KeelError, withStack };
