// The ES module face of the package. There is one implementation, so that `import` and `require` in one program give
// the same classes.
import keel from './lib/index.js';

export const {
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
} = keel;
export default keel;
