/* core/db/unnamed.h: keyspaces without a name, whose trees are written past log and delta: for bulk loads, and for transactions
 * larger than memory. Private to core/db.
 *
 * What is to be there when its keyspace appears is written first, and the commit that makes it appear comes after (DB-19 to DB-22). A
 * keyspace without a name belongs to its maker, who drops it by kl_keyspace_load_abandon; what a crash leaves the next opening drops.
 *
 * Thread rules: any thread, without `draining`. */
#ifndef KL_DB_UNNAMED_H
#define KL_DB_UNNAMED_H

#include "../drain/drain.h"

typedef struct kl_db kl_db;

/* One more. Its record is in the trees before a tree of it is. A commit and a drain: what those answer. */
kl_status kl_db_unnamed_new(kl_db *db, uint32_t *out_keyspace, kl_error *err);
/* Merges rows into its tree, as kl_drain_load: one checkpoint. `prepare`, if not NULL, is called first, with the roots that the rows may be read
 * from meanwhile. After a failure nothing has changed, but that rows may be in the file which no transaction sees: they are put once more
 * when it is tried again. */
kl_status kl_db_unnamed_merge(kl_db *db, uint32_t keyspace, const kl_tree_changes *rows,
                              kl_status (*prepare)(void *context, kl_roots *base, kl_error *err), void *context,
                              kl_error *err);
/* The same, without `prepare`, and says in *out_published whether the rows are in the file: also after a failure. */
kl_status kl_db_unnamed_put(kl_db *db, uint32_t keyspace, const kl_tree_changes *rows, bool *out_published,
                            kl_error *err);
/* One row, for kl_tree_changes with kl_db_unnamed_next_one. */
typedef struct kl_db_unnamed_one {
  kl_tree_change row;
  bool given;
} kl_db_unnamed_one;
kl_status kl_db_unnamed_next_one(void *context, kl_tree_change *out, kl_error *err);
/* What is in the trees now is also in the checkpoint that a recovery could fall back to, when it returns: so that a commit may refer to it
 * (DB-22). */
kl_status kl_db_unnamed_settle(kl_db *db, kl_error *err);

#endif
