'use strict';
// Loads the addon: the engine, the raw layer over its C ABI, and the asynchronous calls, in one file.

const fs = require('node:fs');
const path = require('node:path');
const { target } = require('./target.js');

const root = path.join(__dirname, '..');

function locate() {
  // For tests of a binary that was built with a sanitizer, and for packagers who keep binaries elsewhere.
  if (process.env.KEEL_NODE_BINARY) return process.env.KEEL_NODE_BINARY;
  const file = path.join(root, 'prebuilds', target(), 'keel.node');
  if (fs.existsSync(file)) return file;
  throw new Error(
    `keel: there is no binary for ${target()} (looked for ${file}). ` +
      `With a C and a C++ compiler it can be built: run \`npm run build\` in ${root}`,
  );
}

module.exports = require(locate());
