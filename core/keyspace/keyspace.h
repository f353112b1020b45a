/* core/keyspace/keyspace.h: the catalogue: named keyspaces of a database.
 *
 * Keyspace 0 is the catalogue itself, an ordinary keyspace of records name -> {id, created_at, options}, so that
 * creating and dropping are ordinary, logged, atomic commits. Ids are never reused. Byte tables: docs/format.md,
 * "Catalogue".
 *
 * A kl_keyspace is shared by all who open the same name; it is reference counted. Thread rules: any thread. */
#ifndef KL_KEYSPACE_KEYSPACE_H
#define KL_KEYSPACE_KEYSPACE_H

#include <stdbool.h>
#include <stdint.h>

#include "../base/slice.h"
#include "../base/status.h"
#include "../txn/txn.h"

enum { KL_KEYSPACE_NAME_MAX = 255, KL_CATALOGUE_KEYSPACE = 0 };

typedef struct kl_catalogue kl_catalogue;
typedef struct kl_keyspace kl_keyspace;

/* The manager has been started. KL_E_VERSION or KL_E_CORRUPT when the database holds a catalogue that this version
 * cannot read. The catalogue keeps the manager alive. */
kl_status kl_catalogue_new(kl_txn_manager *manager, kl_allocator *allocator, kl_catalogue **out, kl_error *err);
void kl_catalogue_free(kl_catalogue *catalogue); /* every keyspace has been released */

/* Names are 1 ... 255 bytes of UTF-8 (KL_E_INVALID). KL_E_KEYSPACE_NOT_FOUND when absent, and `create` is false or
 * the database is open read-only. Creating is a commit with the database's durability, and can fail as any commit
 * can; of several who create one name at once, one does and all get the same keyspace. A transaction may write to a
 * keyspace that is younger than its snapshot. */
kl_status kl_keyspace_open(kl_catalogue *catalogue, kl_slice name, bool create, kl_keyspace **out, kl_error *err);
void kl_keyspace_release(kl_keyspace *keyspace);
uint32_t kl_keyspace_id(const kl_keyspace *keyspace);
kl_slice kl_keyspace_name(const kl_keyspace *keyspace);
/* After a drop: KL_E_KEYSPACE_NOT_FOUND. Checked by every operation that names the keyspace. */
kl_status kl_keyspace_check(const kl_keyspace *keyspace, kl_error *err);
/* KL_E_KEYSPACE_NOT_FOUND when absent. A commit; transactions that wrote to the keyspace and commit later get
 * KL_E_CONFLICT; running snapshots keep seeing the old rows. Its memory and disk space come back with the drain. */
kl_status kl_keyspace_drop(kl_catalogue *catalogue, kl_slice name, kl_error *err);
/* -------- loads -------- */

/* A load fills keyspaces that have no name yet, and so cannot be opened: one that will get it, and others to sort in.
 * To begin, finish and abandon is one commit each, with full durability.
 *
 * A new one: its id. */
kl_status kl_keyspace_load_begin(kl_catalogue *catalogue, uint32_t *out_id, kl_error *err);
/* `id` gets the name, and the others are dropped. KL_E_EXISTS when there is one of that name, unless `replace`: then
 * that is dropped, as by kl_keyspace_drop. */
kl_status kl_keyspace_load_finish(kl_catalogue *catalogue, uint32_t id, kl_slice name, bool replace,
                                  const uint32_t *others, size_t other_count, kl_error *err);
/* They are dropped. */
kl_status kl_keyspace_load_abandon(kl_catalogue *catalogue, const uint32_t *ids, size_t count, kl_error *err);
/* Drops what loads have left that a crash has ended, but for those that `keep` says true of. *out_count: how many keyspaces that
 * were. */
kl_status kl_keyspace_load_sweep(kl_catalogue *catalogue, bool (*keep)(void *context, uint32_t id), void *context,
                                 uint64_t *out_count, kl_error *err);
/* KL_E_EXISTS when there is a keyspace of that name; KL_E_INVALID: it cannot be a name. */
kl_status kl_keyspace_load_check(kl_catalogue *catalogue, kl_slice name, kl_error *err);

/* -------- all of them -------- */

/* Names in order, as keys of the batch; values are empty. */
kl_status kl_keyspace_list(kl_catalogue *catalogue, kl_batch *batch, kl_error *err);
/* How many there are; counts them. */
kl_status kl_keyspace_count(kl_catalogue *catalogue, uint64_t *out_count, kl_error *err);

#endif
