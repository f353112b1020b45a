'use strict';
// Which prebuilt binary this process can load: the name of a folder in prebuilds/.

const fs = require('node:fs');

// musl's loader is mapped into every process that uses it; everything else on Linux is taken for glibc.
function libc() {
  try {
    return /\/ld-musl-|\/libc\.musl-/.test(fs.readFileSync('/proc/self/maps', 'utf8')) ? 'musl' : 'glibc';
  } catch {
    return 'glibc';
  }
}

function target() {
  const name = `${process.platform}-${process.arch}`;
  return process.platform === 'linux' ? `${name}-${libc()}` : name;
}

module.exports = { target };
