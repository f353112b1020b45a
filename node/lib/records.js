'use strict';
// Records that the library fills, with JavaScript's names.

const camel = (name) => name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());

/** A raw record with JavaScript's names; the times of a clock are bigint, because they need more than 53 bits. */
function record(raw) {
  const result = {};
  for (const [name, value] of Object.entries(raw)) {
    result[camel(name)] = name === 'wall_time_ns' ? BigInt(value) : value;
  }
  return result;
}

/** A report of a load or a check: a record that tells whether it is the last one. */
function report(raw) {
  const result = record(raw);
  return { ...result, finished: result.finished !== 0 };
}

module.exports = { record, report };
