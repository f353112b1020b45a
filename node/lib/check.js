'use strict';
// Verification and salvage: steps on a thread of Node's pool, reports between them.

const { limits } = require('./constants.gen.js');
const { withStack } = require('./errors.js');
const native = require('./native.js');
const { checkOptions, pathText } = require('./options.js');
const { report } = require('./records.js');

/** Runs a check to its end and closes it, whatever happens; `use` throws when it may not go on. */
async function run(check, use, { onProgress, signal, stepBytes }, from) {
  const problemTexts = [];
  try {
    for (;;) {
      signal?.throwIfAborted();
      use();
      const now = report(await withStack(native.check_step_async(check, stepBytes), from));
      while (problemTexts.length < Math.min(now.problems, limits.CHECK_PROBLEMS)) {
        problemTexts.push(native.check_problem(check, problemTexts.length));
      }
      now.problemTexts = [...problemTexts];
      onProgress?.(now);
      if (now.finished) return now;
    }
  } finally {
    await withStack(native.check_close_async(check), from);
  }
}

async function verify(shared, options) {
  const how = checkOptions(options, 'verify');
  how.signal?.throwIfAborted();
  const check = await withStack(native.verify_begin_async(shared.use()), verify);
  return run(check, () => shared.use(), how, verify);
}

async function salvage(path, newPath, options) {
  const how = checkOptions(options, 'salvage');
  how.signal?.throwIfAborted();
  const check = await withStack(native.salvage_begin_async(pathText(path), pathText(newPath)), salvage);
  return run(check, () => {}, how, salvage);
}

module.exports = { salvage, verify };
