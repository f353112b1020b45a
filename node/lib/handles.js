'use strict';
// What every object that holds a handle has in common.

/** The property under which an object keeps its raw handle: out of sight, but in reach of the other modules. */
const kHandle = Symbol('keel.handle');

/** Rolls a transaction back if it is still open: what happens to one whose work did not come to its end. */
const kAbandon = Symbol('keel.abandon');

/** Objects that the program forgot to close are closed some time after the collector found them. */
const forgotten = new FinalizationRegistry(({ end, handle }) => {
  try {
    end(handle);
  } catch {
    // It ended in the meantime, with its database; nobody is left to be told.
  }
});

/** Closes `handle` with `end` when `object` is collected, unless `unwatch(object)` comes first. */
function watch(object, end, handle) {
  forgotten.register(object, { end, handle }, object);
}

function unwatch(object) {
  forgotten.unregister(object);
}

/** Gives a class the methods that `using` and `await using` call, where the engine knows their symbols. */
function disposable(prototype, dispose, asyncDispose) {
  const define = (symbol, value) =>
    Object.defineProperty(prototype, symbol, { value, configurable: true, writable: true });
  if (Symbol.dispose) define(Symbol.dispose, dispose);
  if (Symbol.asyncDispose && asyncDispose) define(Symbol.asyncDispose, asyncDispose);
}

module.exports = { disposable, kAbandon, kHandle, unwatch, watch };
