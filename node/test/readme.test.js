// What README.md shows works as it says.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { folder } from './support.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const blocks = [...fs.readFileSync(path.join(root, 'README.md'), 'utf8').matchAll(/^```(js|cjs)\n([^]*?)^```/gm)];

test('there is something to run', () => assert.ok(blocks.length >= 3));

blocks.forEach(([, language, source], i) => {
  test(`block ${i + 1} of the README prints what its comments say`, (t) => {
    // Inside the package, so that "keel" is found; the database files go where the process runs.
    const script = path.join(root, 'build', `readme-${process.pid}-${i}.${language === 'js' ? 'mjs' : 'cjs'}`);
    fs.mkdirSync(path.dirname(script), { recursive: true });
    fs.writeFileSync(script, source);
    t.after(() => fs.rmSync(script));
    const output = execFileSync(process.execPath, [script], { cwd: folder(t), encoding: 'utf8' });
    const expected = [...source.matchAll(/console\.log\(.*\/\/ (.*)$/gm)].flatMap(([, lines]) => lines.split(', '));
    assert.deepEqual(output.split('\n').slice(0, -1), expected);
  });
});
