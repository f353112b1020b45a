// The package itself: what it exports, what it ships, and that it covers the whole C API.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import * as esm from 'keel';

import native from '../lib/native.js';
import { memory } from './support.js';

const require = createRequire(import.meta.url);
const root = fileURLToPath(new URL('..', import.meta.url));
const tree = path.join(root, '..');
const read = (...parts) => fs.readFileSync(path.join(...parts), 'utf8');

test('import and require give the same things', () => {
  const cjs = require('keel');
  const { default: whole, ...named } = esm;
  assert.equal(whole, cjs);
  assert.deepEqual(Object.keys(named).sort(), Object.keys(cjs).sort());
  for (const name of Object.keys(cjs)) assert.equal(named[name], cjs[name], name);
});

test('the types declare exactly what is exported', () => {
  const types = read(root, 'lib', 'index.d.ts');
  const declared = [
    ...types.matchAll(/^export declare (?:class|function) (\w+)/gm),
    ...types.matchAll(/^export \{ (.*) \}/gm),
  ].flatMap(([, names]) => names.split(', '));
  const exported = Object.keys(require('keel'));
  assert.deepEqual([...new Set(declared)].sort(), exported.sort());
});

test('the types declare every method and property of every class', () => {
  const types = read(root, 'lib', 'index.d.ts');
  const keel = require('keel');
  for (const [, name, body] of types.matchAll(/^export declare class (\w+)[^{]*\{\n([^]*?)^\}/gm)) {
    const declared = new Set([...body.matchAll(/^ {2}(?:readonly )?(\w+)[(?:<]/gm)].map(([, member]) => member));
    const present = Object.getOwnPropertyNames(keel[name].prototype).filter((member) => member !== 'constructor');
    for (const member of present) {
      if (name !== 'KeelError' || member !== 'name')
        assert.ok(declared.has(member), `${name}.${member} is not declared`);
    }
  }
});

test('the types declare every option of open', () => {
  const [, body] = read(root, 'lib', 'index.d.ts').match(/^export interface OpenOptions \{\n([^]*?)^\}/m);
  const declared = [...body.matchAll(/^ {2}(\w+)\?:/gm)].map(([, name]) => name);
  assert.throws(
    () => esm.open(':memory:', { nonsense: 1 }),
    ({ message }) => {
      assert.deepEqual(message.match(/known are (.*)/)[1].split(', ').sort(), declared.sort());
      return true;
    },
  );
});

test('every function of the C API can be called', () => {
  const header = read(tree, 'capi', 'include', 'keel', 'keel.h');
  const functions = [...header.matchAll(/^KEEL_API [^;(]*?keel_(\w+)\(/gm)].map(([, name]) => name);
  assert.ok(functions.length > 30);
  // What C lends is copied by get and its like (src/reads.c); batches are inside the calls that fill them.
  const inside = {
    get_copy: 'get',
    view_data: 'view_slice',
    cursor_get: 'cursor_row',
    batch_new: 0,
    batch_free: 0,
    batch_data: 0,
  };
  for (const name of functions) {
    const own = name in inside ? inside[name] : name;
    if (own !== 0) assert.equal(typeof native[own], 'function', `keel_${name}`);
  }
});

test('every argument of the raw layer has a typemap of ours', () => {
  const wrapper = read(root, 'src', 'raw_wrap.cxx');
  assert.doesNotMatch(wrapper, /SWIG_ConvertPtr\(info|SWIG_AsVal\w*\(info|SWIG_AsCharPtr\w*\(info/);
});

test('records have the fields of the C structs, and so have their types', async (t) => {
  const types = read(root, 'lib', 'index.d.ts');
  const header = read(tree, 'capi', 'include', 'keel', 'keel.h');
  const db = memory(t);
  for (const [record, struct, type, more = {}] of [
    [db.stats(), 'stats', 'Stats'],
    [db.lastCheckpoint(), 'checkpoint', 'Checkpoint'],
    [await db.load('rows', []), 'load_report', 'LoadReport'],
    [await db.verify(), 'check_report', 'CheckReport', { problemTexts: 'string[]' }],
  ]) {
    const body = header.match(new RegExp(`typedef struct keel_${struct} \\{([^]*?)\\} keel_${struct};`))[1];
    const fields = [...body.matchAll(/^ +uint\d+_t (\w+);/gm)]
      .map(([, name]) => name)
      .filter((name) => name !== 'struct_size');
    const camel = fields.map((name) => name.replace(/_(\w)/g, (_, letter) => letter.toUpperCase()));
    camel.push(...Object.keys(more));
    assert.deepEqual(Object.keys(record).sort(), camel.sort());
    const declared = types.match(new RegExp(`^export interface ${type} \\{([^]*?)^\\}`, 'm'))[1];
    const members = [...declared.matchAll(/^ {2}(\w+): /gm)].map(([, name]) => name);
    assert.deepEqual(members.sort(), camel.sort());
    for (const [name, value] of Object.entries(record)) {
      assert.ok(declared.includes(`  ${name}: ${more[name] ?? typeof value};`), `${type}.${name}`);
    }
  }
});

test('the package carries what it needs, and nothing of the tests', () => {
  const packed = JSON.parse(
    execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
      cwd: root,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }),
  );
  const files = packed[0].files.map((file) => file.path);
  for (const needed of [
    'index.js',
    'index.cjs',
    'index.d.ts',
    'index.d.cts',
    'lib/index.js',
    'lib/index.d.ts',
    'lib/package.json',
    'src/addon.h',
    'src/raw_wrap.cxx',
    'README.md',
  ]) {
    assert.ok(files.includes(needed), needed);
  }
  assert.ok(files.some((file) => /^prebuilds\/.*\/keel\.node$/.test(file)));
  assert.ok(!files.some((file) => /^(test|bench|build|node_modules)\//.test(file)));
  const { scripts } = JSON.parse(read(root, 'package.json'));
  for (const name of ['preinstall', 'install', 'postinstall']) assert.equal(scripts[name], undefined);
});

test('the lock file names no registry and pins exact versions', () => {
  const lock = JSON.parse(read(root, 'package-lock.json'));
  const manifest = JSON.parse(read(root, 'package.json'));
  for (const [name, entry] of Object.entries(lock.packages)) assert.equal(entry.resolved, undefined, name);
  for (const version of Object.values(manifest.devDependencies)) assert.match(version, /^\d+\.\d+\.\d+$/);
  assert.equal(manifest.dependencies, undefined);
});

test('the binary shows nothing of the engine, and needs no C++ library', { skip: process.platform !== 'linux' }, () => {
  const { target } = require('../lib/target.js');
  const binary = path.join(root, 'prebuilds', target(), 'keel.node');
  const symbols = execFileSync('nm', ['-D', '--defined-only', binary], { encoding: 'utf8' });
  assert.doesNotMatch(symbols, /keel_|kl_/);
  const dynamic = execFileSync('readelf', ['-d', binary], { encoding: 'utf8' });
  assert.doesNotMatch(dynamic, /NEEDED.*(libstdc\+\+|libgcc)/);
  assert.match(dynamic, /NODELETE/);
});

test('a missing binary is explained', () => {
  const loader = `
    require(${JSON.stringify(path.join(root, 'lib', 'target.js'))}).target = () => 'plan9-pdp11';
    try {
      require(${JSON.stringify(path.join(root, 'lib', 'native.js'))});
    } catch (error) {
      console.log(error.message);
    }`;
  const environment = { ...process.env };
  delete environment.KEEL_NODE_BINARY;
  const output = execFileSync(process.execPath, ['-e', loader], { encoding: 'utf8', env: environment });
  assert.match(output, /no binary for plan9-pdp11 .*npm run build/);
});
