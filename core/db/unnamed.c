/* core/db/unnamed.c: see unnamed.h. */
#include "unnamed.h"

#include "db_private.h"

kl_status kl_db_unnamed_new(kl_db *db, uint32_t *out_keyspace, kl_error *err) {
  kl_status status = kl_keyspace_load_begin(db->catalogue, out_keyspace, err);
  if (status != KL_OK) return status;
  status = kl_db_drain(db, false, err);
  if (status != KL_OK) (void)kl_keyspace_load_abandon(db->catalogue, out_keyspace, 1, NULL);
  return status;
}

/* Under `draining`. */
static kl_status unnamed_merge(kl_db *db, uint32_t keyspace, const kl_tree_changes *rows,
                               kl_status (*prepare)(void *context, kl_roots *base, kl_error *err), void *context,
                               bool *out_published, kl_error *err) {
  db_drain_base base;
  kl_drain_stats stats;
  kl_status status = kl_db_drainer_base(db, &base, err);
  if (status != KL_OK) return status;
  base.input.cold = true;
  if (prepare != NULL) status = prepare(context, base.input.base, err);
  if (status == KL_OK) status = kl_drain_load(&base.input, keyspace, rows, &db->drainer.made, &stats, err);
  if (status != KL_OK) db->drainer.made = NULL;
  kl_db_drainer_base_free(db, &base);
  *out_published = status == KL_OK;
  if (status != KL_OK) return status;
  db->drainer.made_as = DB_MADE_UNDER;
  return kl_db_drainer_install(db, 0, err);
}

static kl_status unnamed_merge_locked(kl_db *db, uint32_t keyspace, const kl_tree_changes *rows,
                                      kl_status (*prepare)(void *context, kl_roots *base, kl_error *err), void *context,
                                      bool *out_published, kl_error *err) {
  *out_published = false;
  /* Relaxed: a hint. Locks are not fair: whoever wants a drain might not get its turn between two runs. */
  if (atomic_load_explicit(&db->drainer.hurry, memory_order_relaxed)) {
    kl_status status = kl_db_drain(db, false, err);
    if (status != KL_OK) return status;
  }
  kl_mutex_lock(&db->drainer.draining);
  kl_status status = db->drainer.made != NULL ? kl_db_drainer_install(db, 0, err) : KL_OK;
  if (status == KL_OK) status = unnamed_merge(db, keyspace, rows, prepare, context, out_published, err);
  kl_mutex_unlock(&db->drainer.draining);
  return status;
}

kl_status kl_db_unnamed_merge(kl_db *db, uint32_t keyspace, const kl_tree_changes *rows,
                              kl_status (*prepare)(void *context, kl_roots *base, kl_error *err), void *context,
                              kl_error *err) {
  bool published;
  return unnamed_merge_locked(db, keyspace, rows, prepare, context, &published, err);
}

kl_status kl_db_unnamed_put(kl_db *db, uint32_t keyspace, const kl_tree_changes *rows, bool *out_published,
                            kl_error *err) {
  return unnamed_merge_locked(db, keyspace, rows, NULL, NULL, out_published, err);
}

kl_status kl_db_unnamed_next_one(void *context, kl_tree_change *out, kl_error *err) {
  kl_db_unnamed_one *one = context;
  (void)err;
  if (one->given) return KL_E_NOT_FOUND;
  one->given = true;
  *out = one->row;
  return KL_OK;
}

kl_status kl_db_unnamed_settle(kl_db *db, kl_error *err) {
  kl_db_drainer_lock(db);
  kl_status status = db->drainer.made != NULL ? kl_db_drainer_install(db, 0, err) : KL_OK;
  if (status == KL_OK) status = kl_db_settle(db, err);
  kl_mutex_unlock(&db->drainer.draining);
  return status;
}
