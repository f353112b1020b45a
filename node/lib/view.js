'use strict';

const { disposable, kHandle, unwatch, watch } = require('./handles.js');
const native = require('./native.js');

/**
 * A pinned value: it stays what it was until it is released, whatever happens to its transaction and its database. Its
 * bytes are read piece by piece, so that of a large value only the parts that are wanted are copied.
 *
 * JavaScript gets copies, never the pinned memory itself: V8 does not let an ArrayBuffer show memory that is not its
 * own.
 */
class View {
  #released = false;

  constructor(handle) {
    this[kHandle] = handle;
    watch(this, native.view_release, handle);
    this.length = native.view_size(handle);
  }

  get released() {
    return this.#released;
  }

  toBuffer() {
    return native.view_slice(this[kHandle], 0, this.length);
  }

  slice(start = 0, end = this.length) {
    return native.view_slice(this[kHandle], clamp(start, this.length), clamp(end, this.length));
  }

  copy(target, targetStart = 0, sourceStart = 0, sourceEnd = this.length) {
    return native.view_copy(
      this[kHandle],
      clamp(sourceStart, this.length),
      clamp(sourceEnd, this.length),
      target,
      targetStart,
    );
  }

  release() {
    if (this.#released) return;
    this.#released = true;
    unwatch(this);
    native.view_release(this[kHandle]);
  }
}
disposable(View.prototype, View.prototype.release);

/** As Buffer and Array count positions: from the end when negative, and never outside. */
function clamp(position, length) {
  const whole = Math.trunc(Number(position)) || 0;
  return whole < 0 ? Math.max(0, length + whole) : Math.min(whole, length);
}

module.exports = { View };
