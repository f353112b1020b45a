'use strict';
// Options objects to what the raw layer takes: numbers in the order of the C structs.

const { fileURLToPath } = require('node:url');
const { codes, constants } = require('./constants.gen.js');
const { KeelError } = require('./errors.js');

const DURABILITIES = {
  full: constants.DURABILITY_FULL,
  group: constants.DURABILITY_GROUP,
  none: constants.DURABILITY_NONE,
};

const ISOLATIONS = {
  serializable: constants.ISOLATION_SERIALIZABLE,
  snapshot: constants.ISOLATION_SNAPSHOT,
  read_committed: constants.ISOLATION_READ_COMMITTED,
  repeatable_read: constants.ISOLATION_REPEATABLE_READ,
  read_uncommitted: constants.ISOLATION_READ_UNCOMMITTED,
};

function invalid(message) {
  return new KeelError(message, codes.E_INVALID);
}

/** Refuses an option that does not exist: a mistyped name must not silently mean the default. */
function known(options, names, what) {
  if (options === undefined || options === null) return {};
  if (typeof options !== 'object') throw invalid(`${what}: expected an object`);
  for (const name of Object.keys(options)) {
    if (!names.includes(name)) throw invalid(`${what}: unknown option "${name}"; known are ${names.join(', ')}`);
  }
  return options;
}

function choice(value, choices, name) {
  if (value === undefined) return 0;
  if (Object.hasOwn(choices, value)) return choices[value];
  throw invalid(`${name}: expected one of ${Object.keys(choices).join(', ')}, got ${String(value)}`);
}

/** A true or false option as `bit`, which is set when the option is `when`. */
function flag(options, name, when, bit) {
  const value = options[name];
  if (value !== undefined && typeof value !== 'boolean') throw invalid(`${name}: expected true or false`);
  return value === when ? bit : 0;
}

function pathText(path) {
  if (path instanceof URL) return fileURLToPath(path);
  if (path instanceof Uint8Array) return Buffer.from(path.buffer, path.byteOffset, path.byteLength).toString('utf8');
  if (typeof path === 'string') return path;
  throw invalid('path: expected a string, Buffer or file: URL');
}

const OPEN_NUMBERS = [
  'pageSize',
  'groupIntervalMs',
  'fileMode',
  'logSegmentSize',
  'memoryLimit',
  'cacheSize',
  'deltaSize',
  'drainThreads',
];
const OPEN_NAMES = ['readOnly', 'create', 'mustCreate', 'durability', ...OPEN_NUMBERS];

function openArguments(path, options) {
  const given = known(options, OPEN_NAMES, 'open');
  return [
    pathText(path),
    flag(given, 'readOnly', true, constants.OPEN_READ_ONLY) |
      flag(given, 'create', false, constants.OPEN_NO_CREATE) |
      flag(given, 'mustCreate', true, constants.OPEN_MUST_CREATE),
    choice(given.durability, DURABILITIES, 'durability'),
    ...OPEN_NUMBERS.map((name) => given[name]),
  ];
}

function keyspaceFlags(options) {
  return flag(known(options, ['create'], 'keyspace'), 'create', false, constants.KEYSPACE_NO_CREATE);
}

/** [flags, bufferSize] of the raw load_begin. */
function loadArguments(options) {
  const given = known(options, ['replace', 'bufferSize'], 'load');
  return [flag(given, 'replace', true, constants.LOAD_REPLACE), given.bufferSize];
}

const CHECK_STEP_BYTES = 1 << 20; // some milliseconds

/** {onProgress, signal, stepBytes} of a verification or salvage. */
function checkOptions(options, what) {
  const { onProgress, signal, stepBytes = CHECK_STEP_BYTES } = known(
    options,
    ['onProgress', 'signal', 'stepBytes'],
    what,
  );
  if (onProgress !== undefined && typeof onProgress !== 'function') throw invalid('onProgress: expected a function');
  if (signal !== undefined && !(signal instanceof AbortSignal)) throw invalid('signal: expected an AbortSignal');
  return { onProgress, signal, stepBytes };
}

const BEGIN_NAMES = ['readOnly', 'isolation', 'durability', 'label'];

function beginArguments(options) {
  if (options === undefined) return [0, 0, 0, undefined];
  const given = known(options, BEGIN_NAMES, 'begin');
  return [
    flag(given, 'readOnly', true, constants.TXN_READ_ONLY),
    choice(given.isolation, ISOLATIONS, 'isolation'),
    choice(given.durability, DURABILITIES, 'durability'),
    given.label,
  ];
}

const TRANSACT_NAMES = [...BEGIN_NAMES, 'retries', 'onRetry'];

/** {retries, onRetry, begin}: how often to run again, whom to tell, and the options of each transaction. */
function transactOptions(options) {
  const { retries = 20, onRetry, ...begin } = known(options, TRANSACT_NAMES, 'transact');
  if (!Number.isInteger(retries) || retries < 0) throw invalid('retries: expected a whole number, 0 or greater');
  if (onRetry !== undefined && typeof onRetry !== 'function') throw invalid('onRetry: expected a function');
  return { retries, onRetry, begin };
}

module.exports = {
  beginArguments,
  checkOptions,
  invalid,
  keyspaceFlags,
  known,
  loadArguments,
  openArguments,
  pathText,
  transactOptions,
};
