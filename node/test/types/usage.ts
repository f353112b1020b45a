// Compiled, never run: what the types let a program do, and what they refuse.
import keel, { codes, KeelError, open, openAsync, salvage, type Bytes, type Database, type CheckReport, type LoadReport, type Row, type Stats } from 'keel';

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const same = <A, B>(_: Same<A, B>) => {};

export async function uses(db: Database) {
  const users = db.keyspace('users', { create: false });
  const value = users.get('a');
  same<typeof value, Buffer | undefined>(true);

  const got = await db.transact(async (txn) => txn.getMany(users, ['a', Buffer.from('b'), new Uint16Array(1)]), {
    retries: 3,
    onRetry: ({ attempt, error, delay }) => console.log(attempt + delay, error.code === 'KEEL_E_CONFLICT'),
    durability: 'group',
    isolation: 'snapshot',
  });
  same<typeof got, Array<Buffer | undefined>>(true);
  const plain = db.transactSync((txn) => txn.attempt);
  same<typeof plain, number>(true);

  const txn = db.begin({ readOnly: true, label: 'a reader' });
  for (const row of txn.range(users, { gt: 'a', lte: 'b', reverse: true, limit: 3 })) same<typeof row, Row>(true);
  for (const key of users.range().keys()) same<typeof key, Buffer>(true);
  for await (const [key, value] of users.range({ prefix: 'x' })) key.equals(value);
  const view = txn.view(users, 'k');
  if (view) console.log(view.length, view.slice(1, 2).length, view.copy(new Uint8Array(4)));
  const written: number = txn.writeMany(users, new Map<Bytes, Bytes | null>([['a', null]]));
  const timestamp: number = (await txn.commit()) + txn.commitSync() + written;
  const stats: Stats = db.stats();
  console.log(stats.commits + timestamp, db.lastCheckpoint().wallTimeNs / 10n, codes.E_CONFLICT satisfies -301);

  const loads: LoadReport = await db.load('bulk', new Map<Bytes, Bytes>([['a', '1']]), { replace: true, bufferSize: 1 << 20 });
  const range = users.range();
  const again = db.loadSync('again', range).rows + (await db.load('later', range)).runs + loads.bytes;
  const checked: CheckReport = await db.verify({
    onProgress: ({ doneBytes, totalBytes }) => console.log(doneBytes / totalBytes + again),
    signal: AbortSignal.timeout(1000),
  });
  same<typeof checked.problemTexts, string[]>(true);
  console.log((await salvage('a', new URL('file:///b'))).finished satisfies boolean);

  // @ts-expect-error: a load removes nothing
  await db.load('bulk', [['a', null]]);
  // @ts-expect-error: a number is no key
  users.get(5);
  // @ts-expect-error: no such option
  db.begin({ readonly: true });
  // @ts-expect-error: no such durability
  open(':memory:', { durability: 'maybe' });
  // @ts-expect-error: only the library makes transactions
  new keel.Transaction();
  // @ts-expect-error: a status has a known name
  new KeelError('m', -1).code === 'KEEL_E_TYPO';
}

export async function disposes() {
  await using db = await openAsync(new URL('file:///data/x.keel'), { create: true, fileMode: 0o600 });
  using txn = db.begin();
  using users = db.keyspace('users');
  using cursor = txn.cursor(users, { gte: 'a' });
  console.log(cursor.first()?.[0], cursor.seekLe('b'));
  await using loader = db.loader('bulk');
  loader.put('a', '1');
  const count: number = await loader.putMany([['b', '2']]);
  console.log(count, await loader.finish());
}
