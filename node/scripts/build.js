#!/usr/bin/env node
// Builds the addon: the engine (one C file), the plain C of src/ and the raw layer that SWIG wrote, into
// prebuilds/<platform>/keel.node. It needs a C11 and a C++17 compiler ($CC, $CXX; cc and c++ otherwise) and nothing of
// node-gyp: Node-API's headers come from npm packages.
//
//   node scripts/build.js               builds
//   node scripts/build.js --if-needed   builds unless the binary is there and its inputs are what they were
//   node scripts/build.js --sanitize=address|thread|undefined --out=FILE    for tests; $KEEL_NODE_BINARY loads it
//   node scripts/build.js --engine=FOLDER    with the keel.c and keel.h of another folder
//   node scripts/build.js --pack        builds if needed, and puts the engine's source and the license beside it

import { execFile, execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';

import platform from '../lib/target.js';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const run = promisify(execFile);
const { values: options } = parseArgs({
  options: {
    'if-needed': { type: 'boolean' },
    sanitize: { type: 'string' },
    out: { type: 'string' },
    engine: { type: 'string' },
    pack: { type: 'boolean' },
  },
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
  const folder = options.engine
    ? path.resolve(options.engine)
    : inTree
      ? path.join(tree, 'go')
      : path.join(root, 'deps');
  for (const name of ['keel.c', 'keel.h']) {
    if (!fs.existsSync(path.join(folder, name)))
      stop(`${path.join(folder, name)} is missing: run \`./dev gen\` in the source tree`);
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

const ownHeaders = path.join(root, 'build', 'headers');

/** Fetches the development dependencies: as package-lock.json pins them or, in a published package, which has none,
 * the two that are needed here in the versions that package.json names. */
function fetchHeaders() {
  const { devDependencies: versions } = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8'));
  const wanted = ['node-api-headers', 'node-addon-api'].map((name) => `${name}@${versions[name]}`);
  const locked = fs.existsSync(path.join(root, 'package-lock.json'));
  const args = locked ? ['ci', '--include=dev'] : ['install', '--prefix', ownHeaders, '--no-save', ...wanted];
  args.push('--ignore-scripts', '--no-audit', '--no-fund');
  const how = {
    cwd: root,
    env: { ...process.env, NODE_ENV: 'development', npm_config_global: 'false', npm_config_location: 'project' },
    stdio: 'pipe',
  };
  if (!locked) fs.mkdirSync(ownHeaders, { recursive: true });
  const npm = process.env.npm_execpath;
  if (npm) execFileSync(process.execPath, [npm, ...args], how);
  else execFileSync('npm', args, { ...how, shell: process.platform === 'win32' });
}

/** The include folders of Node-API and of its C++ face. npm runs `prepare` of a local folder without its development
 * dependencies, so they may have to be fetched first. */
function headers() {
  const find = () => {
    for (const modules of [root, ownHeaders].map((folder) => path.join(folder, 'node_modules'))) {
      const found = [path.join(modules, 'node-api-headers', 'include'), path.join(modules, 'node-addon-api')];
      if (found.every((folder) => fs.existsSync(folder))) return found;
    }
    return undefined;
  };
  const present = find();
  if (present) return present;
  try {
    fetchHeaders();
  } catch (error) {
    return stop(
      `node-api-headers and node-addon-api are needed to build, and npm could not get them:\n${error.stderr ?? error}`,
    );
  }
  return find() ?? stop('npm did not put node-api-headers and node-addon-api where they were expected');
}

function flags() {
  const sanitize = options.sanitize ? [`-fsanitize=${options.sanitize}`, '-fno-omit-frame-pointer', '-g'] : [];
  // KEEL_API: nothing of the engine is visible outside the addon, so that another copy of Keel in the same process
  // cannot be mixed up with this one.
  const common = ['-O2', '-fPIC', '-pthread', '-fvisibility=hidden', '-DKEEL_API=', '-DNAPI_VERSION=8', ...sanitize];
  const link = ['-shared', '-pthread', ...sanitize];
  if (process.platform === 'darwin') {
    link.push('-undefined', 'dynamic_lookup');
  } else {
    // nodelete: Node unloads an addon with the last worker that used it, but threads of its pool that ran Keel's code
    // live on.
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
  if (options.pack) {
    fs.mkdirSync(path.join(root, 'deps'), { recursive: true });
    for (const name of ['keel.c', 'keel.h']) fs.copyFileSync(path.join(folder, name), path.join(root, 'deps', name));
    const license = path.join(root, '..', 'LICENSE');
    if (fs.existsSync(license)) fs.copyFileSync(license, path.join(root, 'LICENSE'));
  }
  const lazy = options['if-needed'] || options.pack;
  if (lazy && fs.existsSync(output) && fs.existsSync(stamp) && fs.readFileSync(stamp, 'utf8') === inputs) return;
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
