// The same package through require.
import keel = require('keel');
import { open, type Transaction } from 'keel';

const db: keel.Database = open(':memory:');
const rows: keel.Keyspace = db.keyspace('rows');
const result: Promise<number> = db.transact((txn: Transaction) => {
  txn.put(rows, 'a', 'b');
  return 1;
});
console.log(keel.version(), keel.codes.OK, result);
