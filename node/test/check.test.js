// Verification of sound and damaged databases, and salvage.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';

import { limits, open, salvage } from 'keel';

import { asyncCode, file, folder, memory, openHandles, texts } from './support.js';

const ROWS = 30_000;
const key = (number) => `row ${String(number).padStart(8, '0')}`;
const value = (number) => `value of ${number} `.repeat(12).slice(0, 100);
const pairs = () => Array.from({ length: ROWS }, (_, n) => [key(n), value(n)]);

function loaded(t) {
  const db = file(t);
  db.loadSync('rows', pairs());
  return db;
}

/** A closed database; one byte of a row in the middle is another one. */
function damaged(t) {
  const db = loaded(t);
  db.closeSync();
  const content = fs.readFileSync(db.path);
  const at = content.indexOf(value(ROWS / 2).slice(0, 20));
  assert.ok(at > 0);
  content[at] ^= 1;
  fs.writeFileSync(db.path, content);
  return db.path;
}

function reopen(t, name) {
  const db = open(name, { create: false });
  t.after(() => db.closeSync());
  return db;
}

test('a sound database', async (t) => {
  const db = loaded(t);
  await db.keyspace('others').put('large', Buffer.alloc(100_000));
  await db.makeCheckpoint();
  const before = openHandles();
  const reports = [];
  const report = await db.verify({ onProgress: (now) => reports.push(now) });
  assert.equal(report.finished, true);
  assert.equal(report.problems, 0);
  assert.deepEqual(report.problemTexts, []);
  assert.equal(report.keyspaces, 2);
  assert.equal(report.rows, ROWS + 1);
  assert.equal(report.extents, 1);
  assert.equal(report.doneBytes, report.totalBytes);
  assert.deepEqual(reports.at(-1), report);
  assert.deepEqual(
    reports.map(({ finished }) => finished),
    reports.map((_, i) => i === reports.length - 1),
  );
  assert.ok(reports.length > 2 && reports[0].doneBytes < reports[1].doneBytes);
  assert.deepEqual(await db.verify(), report);
  let steps = 0;
  await db.verify({ onProgress: () => steps++, stepBytes: 64 * 1024 });
  assert.ok(steps > 4 * reports.length, `${steps} small steps`);
  assert.equal(db.stats().snapshotsLive, 0);
  assert.equal(openHandles(), before);
});

test('a database without files', async (t) => {
  const db = memory(t);
  db.keyspace('rows').putSync('a', '1');
  const { finished, problems } = await db.verify();
  assert.deepEqual({ finished, problems }, { finished: true, problems: 0 });
});

test('a verification that is ended early lets go of everything', async (t) => {
  const db = loaded(t);
  const before = openHandles();
  const reason = new Error('enough');
  const steps = [];
  const stopping = new AbortController();
  const stopped = db.verify({
    signal: stopping.signal,
    onProgress: (report) => {
      steps.push(report);
      stopping.abort(reason);
    },
  });
  await assert.rejects(stopped, reason);
  assert.equal(steps.length, 1);
  assert.equal(steps[0].finished, false);
  await assert.rejects(db.verify({ signal: stopping.signal }), reason);
  const throwing = db.verify({
    onProgress: () => {
      throw reason;
    },
  });
  await assert.rejects(throwing, reason);
  assert.equal(openHandles(), before);
  assert.equal(db.stats().snapshotsLive, 0);
  assert.equal(await asyncCode(db.verify({ onProgress: () => db.closeSync() })), 'KEEL_E_CLOSED');
  assert.equal(await asyncCode(db.verify()), 'KEEL_E_CLOSED');
  assert.equal(await asyncCode(db.verify({ progress: () => {} })), 'KEEL_E_INVALID');
  assert.equal(await asyncCode(db.verify({ onProgress: 5 })), 'KEEL_E_INVALID');
  assert.equal(await asyncCode(db.verify({ signal: 5 })), 'KEEL_E_INVALID');
});

test('a flipped byte is found', async (t) => {
  const db = reopen(t, damaged(t));
  const reports = [];
  const report = await db.verify({ onProgress: (now) => reports.push(now) });
  assert.equal(report.finished, true);
  assert.ok(report.problems > 0 && report.rows < ROWS);
  assert.equal(report.lostPages, 1);
  assert.equal(report.problemTexts.length, Math.min(report.problems, limits.CHECK_PROBLEMS));
  assert.ok(report.problemTexts.some((text) => text.includes('rows')));
  for (const text of report.problemTexts) assert.match(text, /^[^\n]+$/);
  assert.deepEqual(reports[0].problemTexts, [], 'the first report is what it was');
});

test('salvage copies what is sound', async (t) => {
  const name = damaged(t);
  const saved = path.join(folder(t), 'saved.keel');
  const content = fs.readFileSync(name);
  const before = openHandles();
  const reports = [];
  const report = await salvage(pathToFileURL(name), Buffer.from(saved), { onProgress: (now) => reports.push(now) });
  assert.equal(openHandles(), before);
  assert.equal(report.finished, true);
  assert.ok(report.problems > 0 && report.problemTexts.length === report.problems);
  assert.ok(report.rows < ROWS && report.rows > ROWS - 1000, `${report.rows} rows`);
  assert.ok(reports.length > 2);
  assert.deepEqual(reports.at(-1), report);
  assert.ok(content.equals(fs.readFileSync(name)), 'the old file is as it was');
  const db = reopen(t, saved);
  const rows = texts(db.keyspace('rows').range());
  const all = new Set(pairs().map(([k, v]) => `${k}=${v}`));
  assert.equal(rows.length, report.rows);
  assert.ok(rows.every((row) => all.has(row)));
  assert.equal((await db.verify()).problems, 0);
});

test('salvage of a sound database copies all, and may be ended', async (t) => {
  const db = loaded(t);
  const there = folder(t);
  const saved = path.join(there, 'saved.keel');
  assert.equal(await asyncCode(salvage(db.path, saved)), 'KEEL_E_LOCKED');
  db.closeSync();
  const report = await salvage(db.path, saved);
  assert.equal(report.problems, 0);
  assert.equal(report.rows, ROWS);
  assert.equal(reopen(t, saved).keyspace('rows').range().toArray().length, ROWS);
  assert.equal(await asyncCode(salvage(db.path, saved)), 'KEEL_E_EXISTS');
  assert.equal(await asyncCode(salvage(path.join(there, 'nothing'), path.join(there, 'x'))), 'KEEL_E_NO_FILE');
  assert.equal(await asyncCode(salvage(5, saved)), 'KEEL_E_INVALID');
  assert.equal(await asyncCode(salvage('a\0b', saved)), 'KEEL_E_INVALID');

  const stopping = new AbortController();
  const part = path.join(there, 'part.keel');
  const options = { signal: stopping.signal, onProgress: ({ rows }) => rows > 1000 && stopping.abort() };
  await assert.rejects(salvage(db.path, part, options), { name: 'AbortError' });
  const some = reopen(t, part).keyspace('rows').range().toArray().length;
  assert.ok(some > 0 && some < ROWS, `${some} rows`);
});
