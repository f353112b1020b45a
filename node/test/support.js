// What the tests share.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';

import { open } from 'keel';
import native from '../lib/native.js';

/** A folder that is gone after the test. */
export function folder(t) {
  const made = fs.mkdtempSync(path.join(os.tmpdir(), 'keel-node-'));
  t.after(() => fs.rmSync(made, { recursive: true, force: true }));
  return made;
}

/** A database without files that is closed after the test. */
export function memory(t, options) {
  const db = open(':memory:', options);
  t.after(() => db.closeSync());
  return db;
}

/** A database in a file; `path` opens it again. */
export function file(t, options) {
  const db = open(path.join(folder(t), 'test.keel'), options);
  t.after(() => db.closeSync());
  return db;
}

/** How many handles this environment holds open. */
export const openHandles = () => native.openHandles();

/** Collects garbage until `done()`, and says whether that came to be. Bounded by rounds, not by time. */
export async function collect(done) {
  for (let round = 0; round < 200; round++) {
    if (done()) return true;
    globalThis.gc();
    await turn();
  }
  return done();
}

/** Runs a fixture in a worker. */
export function worker(name, workerData) {
  return new Worker(new URL(`./fixtures/${name}.js`, import.meta.url), { workerData });
}

/** The code of the error that `call` throws; fails when it throws none. */
export function code(call) {
  try {
    call();
  } catch (error) {
    return error.code;
  }
  return 'no error';
}

export async function asyncCode(promise) {
  try {
    await promise;
  } catch (error) {
    return error.code;
  }
  return 'no error';
}

export const text = (buffer) => (buffer === undefined ? undefined : buffer.toString());
export const texts = (rows) => Array.from(rows, ([key, value]) => `${key}=${value}`);
