/* core/os/sim/sim_node.c: one file: what reads see, what is durable, and the changes that lie between.
 *
 * `pending` holds every change since the last sync, oldest first, each with its own bytes, so that any subset can be
 * lost. Two rules keep durable bytes durable (OS-7):
 *   - when newer bytes become durable, older pending ones are cut out of the same range: they cannot come back;
 *   - sizes become durable in order (a journal stores them so), so a synced write is never cut by an older
 * truncation. */
#include <string.h>

#include "sim_private.h"

struct kl_sim_bytes {
  atomic_uint references;
  size_t size;
  unsigned char data[];
};

/* ---- bytes ---- */

static void sim_bytes_release(kl_sim_bytes *bytes) {
  if (bytes == NULL || atomic_fetch_sub(&bytes->references, 1) != 1) return;
  kl_free(kl_allocator_libc(), bytes, sizeof *bytes + bytes->size);
}

bool kl_sim_bytes_new(const kl_slice *parts, size_t count, size_t limit, kl_sim_bytes **out) {
  size_t size = 0;
  *out = NULL;
  for (size_t i = 0; i < count; i++) size += parts[i].size;
  if (size > limit) size = limit;
  if (size == 0) return true;
  kl_sim_bytes *bytes = kl_alloc(kl_allocator_libc(), sizeof *bytes + size);
  if (bytes == NULL) return false;
  atomic_init(&bytes->references, 1);
  bytes->size = size;
  for (size_t i = 0, at = 0; i < count && at < size; i++) {
    size_t take = parts[i].size < size - at ? parts[i].size : size - at;
    if (take > 0) memcpy(bytes->data + at, parts[i].data, take);
    at += take;
  }
  if (bytes->data[0] == 0 && memcmp(bytes->data, bytes->data + 1, size - 1) == 0) {
    sim_bytes_release(bytes);
    bytes = NULL;
  }
  *out = bytes;
  return true;
}

const unsigned char *kl_sim_change_bytes(const kl_sim_change *change) {
  return change->bytes == NULL ? NULL : change->bytes->data + change->skip;
}

/* ---- lists of changes ---- */

static bool sim_changes_reserve(kl_sim_changes *changes, size_t more) {
  size_t need = changes->count + more;
  if (need <= changes->capacity) return true;
  size_t capacity = changes->capacity * 2 > need ? changes->capacity * 2 : need + 8;
  kl_sim_change *grown =
      kl_realloc(kl_allocator_libc(), changes->items, changes->capacity * sizeof *grown, capacity * sizeof *grown);
  if (grown == NULL) return false;
  changes->items = grown;
  changes->capacity = capacity;
  return true;
}

/* Takes over the change's reference to its bytes, also when it fails. */
static bool sim_changes_push(kl_sim_changes *changes, kl_sim_change change) {
  if (!sim_changes_reserve(changes, 1)) {
    sim_bytes_release(change.bytes);
    return false;
  }
  changes->items[changes->count++] = change;
  return true;
}

static void sim_changes_free(kl_sim_changes *changes) {
  for (size_t i = 0; i < changes->count; i++) sim_bytes_release(changes->items[i].bytes);
  kl_free(kl_allocator_libc(), changes->items, changes->capacity * sizeof *changes->items);
  *changes = (kl_sim_changes){NULL, 0, 0};
}

/* The piece [start, end) of a write, with a reference of its own. */
static kl_sim_change sim_change_piece(const kl_sim_change *change, uint64_t start, uint64_t end) {
  kl_sim_change piece = *change;
  piece.offset = start;
  piece.size = end - start;
  piece.skip += (size_t)(start - change->offset);
  if (piece.bytes != NULL) atomic_fetch_add(&piece.bytes->references, 1);
  return piece;
}

static bool sim_change_meets(const kl_sim_change *change, uint64_t start, uint64_t end) {
  return change->kind == KL_SIM_CHANGE_WRITE && change->offset < end && change->offset + change->size > start;
}

/* Cuts [start, end) out of every write. */
static bool sim_changes_discard(kl_sim_changes *changes, uint64_t start, uint64_t end) {
  size_t first = 0;
  kl_sim_changes rest = {NULL, 0, 0};
  while (first < changes->count && !sim_change_meets(&changes->items[first], start, end)) first++;
  if (first == changes->count) return true;
  if (!sim_changes_reserve(&rest, 2 * changes->count)) return false; /* a cut in the middle makes two of one */
  for (size_t i = 0; i < changes->count; i++) {
    kl_sim_change *change = &changes->items[i];
    uint64_t change_end = change->offset + change->size;
    if (!sim_change_meets(change, start, end)) {
      rest.items[rest.count++] = *change;
      continue;
    }
    if (change->offset < start) rest.items[rest.count++] = sim_change_piece(change, change->offset, start);
    if (change_end > end) rest.items[rest.count++] = sim_change_piece(change, end, change_end);
    sim_bytes_release(change->bytes);
  }
  changes->count = 0; /* what it held has moved to rest */
  sim_changes_free(changes);
  *changes = rest;
  return true;
}

/* ---- changing ---- */

static bool sim_node_grow(kl_sim_node *node, uint64_t operation, uint64_t size) {
  if (size <= node->current.size) return true;
  kl_sim_change resize = {.kind = KL_SIM_CHANGE_RESIZE, .operation = operation, .new_size = size};
  return sim_changes_push(&node->pending, resize) && kl_sim_image_resize(&node->current, size);
}

bool kl_sim_node_write(kl_sim_node *node, uint64_t operation, uint64_t offset, kl_sim_bytes *bytes, uint64_t size) {
  kl_sim_change write = {
      .kind = KL_SIM_CHANGE_WRITE, .operation = operation, .offset = offset, .size = size, .bytes = bytes};
  node->last_write = operation;
  if (!sim_node_grow(node, operation, offset + size)) {
    sim_bytes_release(bytes);
    return false;
  }
  return sim_changes_push(&node->pending, write) &&
         kl_sim_image_write(&node->current, offset, kl_sim_change_bytes(&write), size);
}

bool kl_sim_node_resize(kl_sim_node *node, uint64_t operation, uint64_t new_size) {
  kl_sim_change resize = {.kind = KL_SIM_CHANGE_RESIZE, .operation = operation, .new_size = new_size};
  if (new_size == node->current.size) return true;
  return sim_changes_push(&node->pending, resize) && kl_sim_image_resize(&node->current, new_size);
}

bool kl_sim_node_allocate(kl_sim_node *node, uint64_t operation, uint64_t offset, uint64_t size) {
  uint64_t end = offset + size;
  uint64_t new_size = end > node->current.size ? end : node->current.size;
  kl_sim_change resize = {
      .kind = KL_SIM_CHANGE_RESIZE, .operation = operation, .offset = offset, .size = size, .new_size = new_size};
  return sim_changes_push(&node->pending, resize) && kl_sim_image_resize(&node->current, new_size) &&
         kl_sim_image_reserve(&node->current, offset, size);
}

/* ---- syncing ---- */

/* Makes one change durable. `older`: the pending changes that come before it and stay pending. */
static bool sim_node_store(kl_sim_node *node, kl_sim_changes *older, const kl_sim_change *change) {
  if (change->kind == KL_SIM_CHANGE_WRITE) {
    return sim_changes_discard(older, change->offset, change->offset + change->size) &&
           kl_sim_image_write(&node->durable, change->offset, kl_sim_change_bytes(change), change->size);
  }
  /* What was written past a new end before it was set is gone with it. */
  return sim_changes_discard(older, change->new_size, UINT64_MAX) &&
         kl_sim_image_resize(&node->durable, change->new_size) &&
         kl_sim_image_reserve(&node->durable, change->offset, change->size);
}

/* Stores the sizes, and with `writes` the writes, among the first `upto` changes; the others stay pending. */
static bool sim_node_store_first(kl_sim_node *node, size_t upto, bool writes) {
  bool ok = true;
  kl_sim_changes all = node->pending, rest = {NULL, 0, 0};
  for (size_t i = 0; i < all.count; i++) {
    kl_sim_change *change = &all.items[i];
    bool stays = i >= upto || (change->kind == KL_SIM_CHANGE_WRITE && (!writes || change->dropped));
    if (stays) {
      ok = sim_changes_push(&rest, *change) && ok;
    } else {
      ok = ok && sim_node_store(node, &rest, change);
      sim_bytes_release(change->bytes);
    }
  }
  all.count = 0; /* each was moved or released */
  sim_changes_free(&all);
  node->pending = rest;
  return ok;
}

bool kl_sim_node_sync(kl_sim_node *node, bool data_only) {
  size_t upto = node->pending.count;
  /* fdatasync owes what is needed to read the written data, and no more: sizes that were set later may wait. */
  while (data_only && upto > 0 && node->pending.items[upto - 1].operation > node->last_write) upto--;
  return sim_node_store_first(node, upto, true);
}

bool kl_sim_node_sync_range(kl_sim_node *node, uint64_t offset, uint64_t size) {
  uint64_t end = offset + size, smallest = node->durable.size;
  for (size_t i = 0; i < node->pending.count; i++) {
    const kl_sim_change *change = &node->pending.items[i];
    if (change->kind == KL_SIM_CHANGE_RESIZE && change->new_size < smallest) smallest = change->new_size;
  }
  /* Some size, durable or on its way, would hide or cut the range. */
  if (smallest < end && !sim_node_store_first(node, node->pending.count, false)) return false;
  return sim_changes_discard(&node->pending, offset, end) &&
         kl_sim_image_copy(&node->durable, &node->current, offset, size);
}

/* Splits one write into runs of units that are given up and runs that are not. `odds`: of 2, to be given up. */
static bool sim_node_drop_units(kl_sim_changes *out, const kl_sim_change *change, uint32_t unit, uint64_t odds,
                                kl_rng *rng) {
  uint64_t end = change->offset + change->size, run = change->offset;
  bool run_dropped = false;
  for (uint64_t at = change->offset; at < end;) {
    uint64_t next = (at / unit + 1) * unit < end ? (at / unit + 1) * unit : end;
    bool dropped = kl_rng_below(rng, 2) < odds;
    if (at > run && dropped != run_dropped) {
      kl_sim_change piece = sim_change_piece(change, run, at);
      piece.dropped = run_dropped;
      if (!sim_changes_push(out, piece)) return false;
      run = at;
    }
    run_dropped = dropped;
    at = next;
  }
  kl_sim_change piece = sim_change_piece(change, run, end);
  piece.dropped = run_dropped;
  return sim_changes_push(out, piece);
}

bool kl_sim_node_sync_failed(kl_sim_node *node, uint64_t offset, uint64_t size, uint32_t unit, kl_rng *rng) {
  bool ok = true;
  uint64_t odds = kl_rng_below(rng, 3); /* nothing, about half, or all is given up */
  uint64_t end = size < UINT64_MAX - offset ? offset + size : UINT64_MAX;
  kl_sim_changes all = node->pending, out = {NULL, 0, 0};
  for (size_t i = 0; i < all.count; i++) {
    kl_sim_change *change = &all.items[i];
    if (change->dropped || !sim_change_meets(change, offset, end)) {
      ok = sim_changes_push(&out, *change) && ok;
    } else {
      ok = ok && sim_node_drop_units(&out, change, unit, odds, rng);
      sim_bytes_release(change->bytes);
    }
  }
  all.count = 0; /* each was moved or released */
  sim_changes_free(&all);
  node->pending = out;
  return ok;
}

/* ---- lifetime ---- */

void kl_sim_node_forget_pending(kl_sim_node *node) {
  sim_changes_free(&node->pending);
}

kl_sim_node *kl_sim_node_clone(const kl_sim_node *node) {
  kl_sim_node *clone = kl_alloc(kl_allocator_libc(), sizeof *clone);
  if (clone == NULL) return NULL;
  clone->last_write = node->last_write;
  bool ok = kl_sim_image_clone(&node->current, &clone->current) &&
            kl_sim_image_clone(&node->durable, &clone->durable) &&
            sim_changes_reserve(&clone->pending, node->pending.count);
  for (size_t i = 0; ok && i < node->pending.count; i++) {
    clone->pending.items[clone->pending.count++] = node->pending.items[i];
    if (node->pending.items[i].bytes != NULL) atomic_fetch_add(&node->pending.items[i].bytes->references, 1);
  }
  if (ok) return clone;
  kl_sim_node_free(clone);
  return NULL;
}

void kl_sim_node_free(kl_sim_node *node) {
  if (node == NULL) return;
  kl_sim_image_free(&node->current);
  kl_sim_image_free(&node->durable);
  sim_changes_free(&node->pending);
  kl_free(kl_allocator_libc(), node, sizeof *node);
}
