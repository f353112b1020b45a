export * from './lib/index.js';
import * as keel from './lib/index.js';
export default keel;
