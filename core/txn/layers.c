/* core/txn/layers.c: see layers.h; the argument is in README.md, "Layers". */
#include "layers.h"

#include "../base/assert.h"

static void layers_free(kl_layers_book *book, kl_layers *layers) {
  kl_delta_unref(layers->active);
  kl_run_unref(layers->run);
  kl_delta_unref(layers->frozen);
  kl_roots_unref(layers->roots);
  kl_free(book->allocator, layers, sizeof *layers);
}

/* Takes a reference on each. */
static kl_layers *layers_new(kl_layers_book *book, kl_delta *active, kl_run *run, kl_delta *frozen, kl_roots *roots,
                             uint64_t serial) {
  kl_layers *layers = kl_alloc(book->allocator, sizeof *layers);
  if (layers == NULL) return NULL;
  kl_delta_ref(active);
  if (run != NULL) kl_run_ref(run);
  if (frozen != NULL) kl_delta_ref(frozen);
  if (roots != NULL) kl_roots_ref(roots);
  layers->active = active;
  layers->run = run;
  layers->frozen = frozen;
  layers->roots = roots;
  layers->serial = serial;
  return layers;
}

static kl_status layers_no_memory(kl_error *err) {
  return kl_fail(err, KL_E_NO_MEMORY, "no memory to change what snapshots read");
}

kl_status kl_layers_init(kl_layers_book *book, kl_allocator *allocator, kl_snapshot_registry *snapshots,
                         kl_error *err) {
  book->allocator = allocator;
  book->snapshots = snapshots;
  kl_status status = kl_mutex_init(&book->retired_mutex, err);
  if (status != KL_OK) return status;
  kl_delta *delta = NULL;
  kl_layers *layers = NULL;
  status = kl_delta_new(allocator, &delta, err);
  if (status == KL_OK) {
    layers = layers_new(book, delta, NULL, NULL, NULL, 1);
    if (layers == NULL) status = layers_no_memory(err);
    kl_delta_unref(delta); /* the layers have their own */
  }
  if (status != KL_OK) {
    kl_mutex_destroy(&book->retired_mutex);
    return status;
  }
  atomic_init(&book->current, layers);
  atomic_init(&book->serial, 1);
  return KL_OK;
}

void kl_layers_destroy(kl_layers_book *book) {
  kl_layers *layers = book->retired;
  while (layers != NULL) {
    kl_layers *next = layers->next;
    layers_free(book, layers);
    layers = next;
  }
  layers_free(book, kl_layers_current(book));
  for (uint32_t i = 0; i < book->history_count; i++) kl_delta_unref(book->history[i].delta);
  kl_mutex_destroy(&book->retired_mutex);
}

void kl_layers_collect(kl_layers_book *book) {
  kl_layers *unused = NULL;
  kl_mutex_lock(&book->retired_mutex);
  for (kl_layers **link = &book->retired; *link != NULL;) {
    kl_layers *layers = *link;
    if (kl_snapshot_uses(book->snapshots, layers)) {
      link = &layers->next;
      continue;
    }
    *link = layers->next;
    layers->next = unused;
    unused = layers;
  }
  kl_mutex_unlock(&book->retired_mutex);
  while (unused != NULL) { /* what goes with them may be large: not under the lock */
    kl_layers *next = unused->next;
    layers_free(book, unused);
    unused = next;
  }
}

/* Makes `fresh` the current ones. */
static void layers_install(kl_layers_book *book, kl_layers *fresh) {
  kl_layers *old = kl_layers_current(book);
  /* Sequentially consistent: see the top of snapshot.c. Release: what is in them. */
  atomic_store_explicit(&book->current, fresh, memory_order_seq_cst);
  atomic_store_explicit(&book->serial, fresh->serial, memory_order_release);
  kl_mutex_lock(&book->retired_mutex);
  old->next = book->retired;
  book->retired = old;
  kl_mutex_unlock(&book->retired_mutex);
}

kl_status kl_layers_set_roots(kl_layers_book *book, kl_roots *roots, kl_error *err) {
  kl_layers *old = kl_layers_current(book);
  kl_layers *fresh = layers_new(book, old->active, old->run, old->frozen, roots, old->serial);
  if (fresh == NULL) return layers_no_memory(err);
  layers_install(book, fresh);
  kl_layers_collect(book);
  return KL_OK;
}

/* Forgets what no live snapshot can have missed; with `room`, as much more as one more needs. */
static void layers_trim_history(kl_layers_book *book, bool room) {
  uint64_t oldest = kl_snapshot_oldest_ts(book->snapshots);
  uint32_t gone = 0;
  while (gone < book->history_count && book->history[gone].last_ts <= oldest) gone++;
  if (room && gone == 0 && book->history_count == KL_LAYERS_HISTORY) gone = 1;
  for (uint32_t i = 0; i < gone; i++) kl_delta_unref(book->history[i].delta);
  for (uint32_t i = gone; i < book->history_count; i++) book->history[i - gone] = book->history[i];
  book->history_count -= gone;
}

kl_status kl_layers_freeze(kl_layers_book *book, kl_delta *fresh_delta, uint64_t last_ts, kl_error *err) {
  kl_layers *old = kl_layers_current(book);
  KL_ASSERT(old->frozen == NULL && old->run == NULL);
  kl_layers *fresh = layers_new(book, fresh_delta, NULL, old->active, old->roots, old->serial + 1);
  if (fresh == NULL) return layers_no_memory(err);
  kl_delta_unref(fresh_delta); /* the caller's reference; the layers have their own */
  book->frozen_last_ts = last_ts;
  layers_trim_history(book, false);
  layers_install(book, fresh);
  return KL_OK;
}

kl_status kl_layers_prepare_run(kl_layers_book *book, kl_run *run, kl_layers_push *out, kl_error *err) {
  kl_layers *old = kl_layers_current(book);
  kl_delta_stats stats;
  kl_delta *active = old->active;
  KL_ASSERT(old->frozen == NULL && old->run == NULL);
  kl_delta_get_stats(active, &stats);
  out->freezes = stats.versions != 0;
  if (out->freezes) {
    kl_status status = kl_delta_new(book->allocator, &active, err);
    if (status != KL_OK) return status;
  }
  out->fresh = layers_new(book, active, run, out->freezes ? old->active : NULL, old->roots,
                          old->serial + (out->freezes ? 1 : 0));
  if (out->freezes) kl_delta_unref(active); /* the layers have their own */
  return out->fresh != NULL ? KL_OK : layers_no_memory(err);
}

void kl_layers_push_run(kl_layers_book *book, const kl_layers_push *push, uint64_t last_ts) {
  if (push->freezes) book->frozen_last_ts = last_ts;
  layers_trim_history(book, false);
  layers_install(book, push->fresh);
}

void kl_layers_cancel_push(kl_layers_book *book, kl_layers_push *push) {
  if (push->fresh != NULL) layers_free(book, push->fresh);
  push->fresh = NULL;
}

kl_status kl_layers_pop_run(kl_layers_book *book, kl_roots *roots, kl_error *err) {
  kl_layers *old = kl_layers_current(book);
  KL_ASSERT(old->frozen == NULL && old->run != NULL);
  kl_layers *fresh = layers_new(book, old->active, NULL, NULL, roots, old->serial);
  if (fresh == NULL) return layers_no_memory(err);
  layers_install(book, fresh);
  return KL_OK;
}

kl_status kl_layers_drained(kl_layers_book *book, kl_roots *roots, kl_error *err) {
  kl_layers *old = kl_layers_current(book);
  KL_ASSERT(old->frozen != NULL);
  kl_layers *fresh = layers_new(book, old->active, old->run, NULL, roots, old->serial);
  if (fresh == NULL) return layers_no_memory(err);
  layers_trim_history(book, true);
  if (kl_snapshot_oldest_ts(book->snapshots) < book->frozen_last_ts) {
    KL_ASSERT(book->history_count < KL_LAYERS_HISTORY);
    kl_delta_ref(old->frozen);
    book->history[book->history_count++] = (kl_layers_past){old->frozen, old->serial - 1, book->frozen_last_ts};
  }
  layers_install(book, fresh);
  return KL_OK;
}

static size_t layers_add_live(const kl_layers *layers, uint64_t *out, size_t capacity, size_t count) {
  if (layers->roots == NULL) return count;
  uint64_t sequence = kl_roots_sequence(layers->roots);
  for (size_t i = 0; i < count && i < capacity; i++) {
    if (out[i] == sequence) return count;
  }
  if (count < capacity) out[count] = sequence;
  return count + 1;
}

size_t kl_layers_live_roots(kl_layers_book *book, uint64_t *out, size_t capacity) {
  kl_layers_collect(book);
  size_t count = layers_add_live(kl_layers_current(book), out, capacity, 0);
  kl_mutex_lock(&book->retired_mutex);
  for (const kl_layers *layers = book->retired; layers != NULL; layers = layers->next) {
    if (kl_snapshot_uses_trees(book->snapshots, layers)) count = layers_add_live(layers, out, capacity, count);
  }
  kl_mutex_unlock(&book->retired_mutex);
  return count;
}

void kl_layers_delta_stats(kl_layers_book *book, kl_delta_stats *out) {
  const kl_layers *current = kl_layers_current(book);
  kl_delta_get_stats(current->active, out);
  if (current->frozen == NULL) return;
  kl_delta_stats frozen;
  kl_delta_get_stats(current->frozen, &frozen);
  out->keys += frozen.keys;
  out->versions += frozen.versions;
  out->bytes += frozen.bytes;
}

/* The delta with that number, NULL when it is gone. */
static kl_delta *layers_by_serial(kl_layers_book *book, const kl_layers *current, const kl_layers *seen,
                                  uint64_t serial) {
  if (serial == current->serial) return current->active;
  if (serial == seen->serial) return seen->active;
  if (current->frozen != NULL && serial + 1 == current->serial) return current->frozen;
  for (uint32_t i = 0; i < book->history_count; i++) {
    if (book->history[i].serial == serial) return book->history[i].delta;
  }
  return NULL;
}

bool kl_layers_newest_ts(kl_layers_book *book, const kl_layers *seen, uint32_t keyspace, kl_slice key,
                         uint64_t *out_ts) {
  const kl_layers *current = kl_layers_current(book);
  *out_ts = 0;
  for (uint64_t serial = current->serial; serial >= seen->serial; serial--) {
    kl_delta *delta = layers_by_serial(book, current, seen, serial);
    if (delta == NULL) return false;
    uint64_t ts = kl_delta_newest_ts(delta, keyspace, key);
    if (ts > *out_ts) *out_ts = ts;
  }
  return true;
}
