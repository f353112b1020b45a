#!/usr/bin/env node
// Builds the addon: the engine (one C file), the plain C of src/ and the raw layer that SWIG wrote, into
// prebuilds/<platform>/keel.node. It needs a C11 and a C++17 compiler ($CC, $CXX; cc and c++ otherwise) and nothing of
// node-gyp: Node-API's headers come from npm packages.
//
//   node scripts/build.js               builds
//   node scripts/build.js --if-needed   builds unless the binary is there and its inputs are what they were
//   node scripts/build.js --sanitize=address|thread|undefined --out=FILE    for tests; $KEEL_NODE_BINARY loads it
//   node scripts/build.js --engine=FOLDER    with the keel.c and keel.h of another folder

import { execFile, execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';

import platform from '../lib/target.js';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const run = promisify(execFile);
const { values: options } = parseArgs({
  options: { 'if-needed': { type: 'boolean' }, sanitize: { type: 'string' }, out: { type: 'string' }, engine: { type: 'string' } },
});

const cc = process.env.CC || 'cc';
const cxx = process.env.CXX || 'c++';
const output = path.resolve(options.out ?? path.join(root, 'prebuilds', platform.target(), 'keel.node'));
const work = path.join(root, 'build', options.sanitize ?? 'release');

function stop(message) {
  console.error(`keel: ${message}`);
  process.exit(1);
}

/** Where keel.c and keel.h lie: beside node/ in Keel's source tree, in deps/ of a published package. */
function engine() {
  const tree = path.join(root, '..');
  const inTree = fs.existsSync(path.join(tree, 'bindings', 'api', 'keel.yml'));
  const folder = options.engine ? path.resolve(options.engine) : inTree ? path.join(tree, 'go') : path.join(root, 'deps');
  for (const name of ['keel.c', 'keel.h']) {
    if (!fs.existsSync(path.join(folder, name))) stop(`${path.join(folder, name)} is missing: run \`./dev gen\` in the source tree`);
  }
  return folder;
}

function sources(folder) {
  const own = fs.readdirSync(path.join(root, 'src')).sort();
  return [
    path.join(folder, 'keel.c'),
    ...own.filter((name) => /\.(c|cxx)$/.test(name)).map((name) => path.join(root, 'src', name)),
  ];
}

/** The include folders of Node-API and of its C++ face. npm runs `prepare` of a local folder without its development
 * dependencies, so they may have to be fetched first; package-lock.json pins them. */
function headers() {
  const require = createRequire(path.join(root, 'package.json'));
  const find = () => {
    const api = path.join(path.dirname(require.resolve('node-api-headers/package.json')), 'include');
    const addon = path.dirname(require.resolve('node-addon-api/package.json'));
    return [api, addon];
  };
  try {
    return find();
  } catch {
    const npm = process.env.npm_execpath;
    const args = ['ci', '--ignore-scripts', '--include=dev', '--no-audit', '--no-fund'];
    const environment = { ...process.env, NODE_ENV: 'development', npm_config_global: 'false', npm_config_location: 'project' };
    try {
      if (npm) execFileSync(process.execPath, [npm, ...args], { cwd: root, env: environment, stdio: 'pipe' });
      else execFileSync('npm', args, { cwd: root, env: environment, stdio: 'pipe', shell: process.platform === 'win32' });
      return find();
    } catch (error) {
      return stop(`node-api-headers and node-addon-api are needed to build; \`npm ci\` in ${root} failed:\n${error.stderr ?? error}`);
    }
  }
}

function flags() {
  const sanitize = options.sanitize ? [`-fsanitize=${options.sanitize}`, '-fno-omit-frame-pointer', '-g'] : [];
  // KEEL_API: nothing of the engine is visible outside the addon, so that another copy of Keel in the same process cannot
  // be mixed up with this one.
  const common = ['-O2', '-fPIC', '-pthread', '-fvisibility=hidden', '-DKEEL_API=', '-DNAPI_VERSION=8', ...sanitize];
  const link = ['-shared', '-pthread', ...sanitize];
  if (process.platform === 'darwin') {
    link.push('-undefined', 'dynamic_lookup');
  } else {
    // nodelete: Node unloads an addon with the last worker that used it, but threads of its pool that ran Keel's code live on.
    link.push('-Wl,-z,nodelete', '-Wl,-z,now', '-Wl,-z,relro', '-static-libgcc');
    if (!options.sanitize) link.push('-static-libstdc++', '-Wl,--exclude-libs,ALL', '-Wl,-s');
  }
  return {
    c: ['-std=c11', '-fno-strict-aliasing', ...common],
    cxx: ['-std=c++17', ...common],
    link,
  };
}

/** One line that changes when the binary would. */
function fingerprint(files, how) {
  const hash = createHash('sha256');
  hash.update(JSON.stringify([process.version, cc, cxx, how]));
  for (const file of files) hash.update(fs.readFileSync(file));
  return hash.digest('hex');
}

async function compile(file, how, includes) {
  const isC = file.endsWith('.c');
  const object = path.join(work, `${path.basename(file)}.o`);
  const args = [...(isC ? how.c : how.cxx), ...includes.map((folder) => `-I${folder}`), '-c', file, '-o', object];
  await run(isC ? cc : cxx, args, { maxBuffer: 1 << 26 });
  return object;
}

async function build() {
  const folder = engine();
  const files = sources(folder);
  const how = flags();
  const stamp = `${output}.inputs`;
  const inputs = fingerprint([...files, path.join(folder, 'keel.h'), path.join(root, 'src', 'addon.h')], how);
  if (options['if-needed'] && fs.existsSync(output) && fs.existsSync(stamp) && fs.readFileSync(stamp, 'utf8') === inputs) return;
  const includes = [folder, path.join(root, 'src'), ...headers()];
  fs.mkdirSync(work, { recursive: true });
  fs.mkdirSync(path.dirname(output), { recursive: true });
  try {
    const objects = await Promise.all(files.map((file) => compile(file, how, includes)));
    // Linked beside its place and moved there: a process that has the old binary open keeps it.
    const fresh = `${output}.${process.pid}`;
    await run(cxx, [...how.link, ...objects, '-o', fresh]);
    fs.renameSync(fresh, output);
    fs.writeFileSync(stamp, inputs);
  } catch (error) {
    if (error.code === 'ENOENT') stop(`no compiler: ${error.path} was not found; install one, or set CC and CXX`);
    stop(`the build failed: ${error.cmd}\n${error.stderr}`);
  }
  console.log(`keel: built ${path.relative(process.cwd(), output)}`);
}

await build();
