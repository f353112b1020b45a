/* core/db/registry.h: the open databases of this process, so that a file that is opened twice gets one engine.
 *
 * This is the one piece of global state in core/. It is found by device and inode, not by path. While a database is
 * being opened or closed, others who want the same file wait for the end of that and look again; while one is being
 * created, its file has no identity yet, so everybody waits for it.
 *
 * A forked child starts with an empty registry: what its parent had open is the parent's. The lock is a word that
 * holds the fork count of the process that took it, so that a lock that was held by another thread of the parent at
 * the moment of the fork does not count in the child.
 *
 * Private to core/db. */
#ifndef KL_DB_REGISTRY_H
#define KL_DB_REGISTRY_H

#include "db_private.h"

/* Finds the open database of that identity under this os and returns it with one more reference; or registers `fresh`
 * (state DB_OPENING, `busy` held by the caller) with that identity and returns NULL in *out_found. Waits for openings
 * and closings of the same file. *out_again is set when it has waited: the file may be another one now, so look at it
 * again. */
void kl_db_registry_claim(kl_db *fresh, const db_identity *identity, kl_db **out_found, bool *out_again);
/* The opening of `db` has succeeded; `identity` is known now. */
void kl_db_registry_opened(kl_db *db, const db_identity *identity);
/* The opening of `db` has failed, or its closing is done: takes it out and lets those who wait go on. `busy` is held
 * by the caller and released here; the object is freed with the last holder. */
void kl_db_registry_remove(kl_db *db);
/* Drops one reference; true when it was the last: `db` is DB_CLOSING then, and the caller holds `busy`. */
bool kl_db_registry_release(kl_db *db);

#endif
