'use strict';

const { salvage } = require('./check.js');
const { codes, features, limits } = require('./constants.gen.js');
const { Database, Keyspace, open, openAsync } = require('./database.js');
const { KeelError } = require('./errors.js');
const { Loader } = require('./load.js');
const native = require('./native.js');
const { Cursor, Range } = require('./rows.js');
const { Transaction } = require('./transaction.js');
const { View } = require('./view.js');

/** The version of the engine that runs. */
function version() {
  return native.version();
}

/** Whether a feature (see `features`) is present in this build on this machine. */
function feature(name) {
  return native.feature(name);
}

module.exports = {
  Cursor,
  Database,
  KeelError,
  Keyspace,
  Loader,
  Range,
  Transaction,
  View,
  codes,
  feature,
  features,
  limits,
  open,
  openAsync,
  salvage,
  version,
};
