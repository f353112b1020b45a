/* core/drain/pages.c: life of kl_pages; the source that core/tree reads through; the loader behind the cache. */
#include <inttypes.h>

#include "../base/assert.h"
#include "pages_private.h"

/* -------- bytes from the file -------- */

static kl_status pages_closed(kl_error *err) {
  return kl_fail(err, KL_E_CLOSED, "the database was closed; open it again");
}

/* The cache keeps a reference's address and checksum apart as pages_private.h says. */
static kl_tree_pointer pages_pointer_of_ref(const kl_cache_ref *ref) {
  return (kl_tree_pointer){.address = (ref->address & ~PAGES_EXTENT_KEY) * KL_CACHE_BLOCK,
                           .length = ref->stored_length,
                           .checksum = (uint32_t)ref->checksum,
                           .birth = ref->checksum >> 32};
}

static kl_status pages_cache_load(void *context, const kl_cache_ref *ref, void *frame, kl_error *err) {
  kl_pages *pages = context;
  kl_store *store = atomic_load_explicit(&pages->store, memory_order_acquire);
  kl_tree_pointer pointer = pages_pointer_of_ref(ref);
  uint8_t *to = frame;
  if (store == NULL) return pages_closed(err);
  if ((ref->address & PAGES_EXTENT_KEY) == 0) return kl_store_read(store, pointer.address, to, pointer.length, err);
  memcpy(to, &pointer.length, sizeof pointer.length); /* see pages_extent_bytes */
  memcpy(to + 4, &pointer.checksum, sizeof pointer.checksum);
  return kl_store_read(store, pointer.address, to + PAGES_EXTENT_HEAD, ref->length - PAGES_EXTENT_HEAD, err);
}

static kl_status pages_cache_verify(void *context, const kl_cache_ref *ref, const void *frame, kl_error *err) {
  kl_pages *pages = context;
  kl_store *store = atomic_load_explicit(&pages->store, memory_order_acquire);
  kl_tree_pointer pointer = pages_pointer_of_ref(ref);
  if (store == NULL) return pages_closed(err);
  if ((ref->address & PAGES_EXTENT_KEY) == 0) return kl_stored_check_page(kl_store_path(store), &pointer, frame, err);
  kl_tree_extent extent = {.address = pointer.address,
                           .length = pointer.length,
                           .stored = ref->length - PAGES_EXTENT_HEAD,
                           .checksum = pointer.checksum};
  /* A table takes at least four bytes. The cache is asked for no others than those of KL_EXTENT_CHUNK. */
  if (extent.stored != extent.length) extent.chunk = KL_EXTENT_CHUNK;
  return kl_extent_check_whole(kl_store_path(store), &extent, (const uint8_t *)frame + PAGES_EXTENT_HEAD, err);
}

/* What lies in the frame was checked as a page, or is one that a drain has just made (DRAIN-4). */
static void pages_cache_note(void *context, const kl_cache_ref *ref, const void *frame, void *note, size_t size) {
  (void)context;
  if ((ref->address & PAGES_EXTENT_KEY) == 0) kl_tree_digest(frame, note, size);
}

/* -------- the source -------- */

/* Reads a page past the cache, into memory that lives as long as the operation. */
static kl_status pages_load_aside(pages_op *op, const kl_tree_pointer *pointer, const uint8_t **out_page,
                                  kl_error *err) {
  kl_pages *pages = op->pages;
  kl_store *store = atomic_load_explicit(&pages->store, memory_order_acquire);
  uint64_t address = pointer->address / KL_CACHE_BLOCK;
  const void *frame;
  if (kl_cache_find_many(pages->cache, &address, 1, op->flags, &frame) == 1) {
    *out_page = frame;
    return KL_OK;
  }
  if (store == NULL) return pages_closed(err);
  size_t size = sizeof(pages_aside) + pointer->length;
  pages_aside *aside = kl_alloc_aligned(pages->allocator, size, _Alignof(pages_aside));
  if (aside == NULL) {
    return kl_fail(err, KL_E_NO_MEMORY, "no memory for a page of %" PRIu32 " bytes, and none free in the cache",
                   pointer->length);
  }
  aside->next = op->asides;
  aside->size = size;
  op->asides = aside;
  kl_status status = kl_store_read(store, pointer->address, aside->bytes, pointer->length, err);
  if (status == KL_OK) status = kl_stored_check_page(kl_store_path(store), pointer, aside->bytes, err);
  if (status == KL_OK) *out_page = aside->bytes;
  return status;
}

static kl_status pages_load(void *context, const kl_tree_pointer *pointer, const uint8_t **out_page, kl_error *err) {
  pages_op *op = context;
  kl_pages *pages = op->pages;
  const void *frame;
  kl_error cause;
  kl_status status = KL_E_LIMIT;
  if (pointer->address % KL_CACHE_BLOCK != 0 || pointer->length - 1 >= pages->page_size) {
    kl_store *store = atomic_load_explicit(&pages->store, memory_order_acquire);
    return store == NULL ? pages_closed(err)
                         : kl_stored_check_pointer(kl_store_path(store), pointer, pages->page_size, err);
  }
  frame = kl_cache_find(pages->cache, pointer->address / KL_CACHE_BLOCK, pointer->birth << 32 | pointer->checksum,
                        op->flags);
  if (frame != NULL) {
    *out_page = frame;
    return KL_OK;
  }
  kl_cache_ref ref = pages_ref_of_page(pointer);
  if (op->tries < PAGES_TRIES) status = kl_cache_get(pages->cache, &ref, op->flags, &frame, &cause);
  if (status == KL_OK) {
    *out_page = frame;
    return KL_OK;
  }
  if (status == KL_CACHE_RETRY) {
    op->wanted = pointer->length;
    return status;
  }
  /* Everything is pinned, or other threads were faster each time: a read must not fail for that. */
  if (status == KL_E_LIMIT) status = pages_load_aside(op, pointer, out_page, &cause);
  if (status == KL_OK) return status;
  op->failed = *pointer;
  if (err != NULL) *err = cause;
  return status;
}

static kl_status pages_load_memory(void *context, const kl_tree_pointer *pointer, const uint8_t **out_page,
                                   kl_error *err) {
  pages_op *op = context;
  kl_store *store = atomic_load_explicit(&op->pages->store, memory_order_acquire);
  if (store == NULL) return pages_closed(err);
  *out_page = kl_store_memory(store, pointer->address, pointer->length);
  if (*out_page != NULL) return KL_OK;
  return KL_BROKEN(err, "DRAIN-4: a page of %" PRIu32 " bytes at %" PRIu64 " is not in the memory store",
                   pointer->length, pointer->address);
}

/* Those that are in the cache all at once; the others one by one. */
static kl_status pages_load_many(void *context, const kl_tree_pointer *pointers, size_t count,
                                 const uint8_t **out_pages, kl_error *err) {
  pages_op *op = context;
  uint64_t addresses[KL_TREE_GROUP];
  const void *frames[KL_TREE_GROUP];
  uint64_t unaligned = 0;
  KL_ASSERT(count <= KL_TREE_GROUP);
  for (size_t i = 0; i < count; i++) {
    addresses[i] = pointers[i].address / KL_CACHE_BLOCK;
    unaligned |= pointers[i].address % KL_CACHE_BLOCK;
  }
  if (unaligned == 0) (void)kl_cache_find_many(op->pages->cache, addresses, count, op->flags, frames);
  for (size_t i = 0; i < count; i++) {
    if (unaligned == 0 && frames[i] != NULL) { /* it stays as long as we stay in the epoch (CACHE-2) */
      out_pages[i] = frames[i];
      continue;
    }
    kl_status status = pages_load(context, &pointers[i], &out_pages[i], err);
    if (status != KL_OK) return status;
  }
  return KL_OK;
}

void pages_prefetch_page(void *context, const kl_tree_pointer *pointer) {
  pages_op *op = context;
  uint64_t address = pointer->address / KL_CACHE_BLOCK;
  const void *frame = NULL;
  if (op->pages->cache != NULL) {
    /* No hit: the load that follows is one, unless it is a scan's (CACHE-9). */
    (void)kl_cache_find_many(op->pages->cache, &address, 1, KL_CACHE_SCAN, &frame);
  } else {
    const kl_store *store = atomic_load_explicit(&op->pages->store, memory_order_acquire);
    if (store != NULL) frame = kl_store_memory(store, pointer->address, pointer->length);
  }
  op->ahead = frame;
  op->ahead_size = pointer->length;
}

/* -------- operations -------- */

void pages_op_begin(pages_op *op, kl_pages *pages, uint32_t flags) {
  op->pages = pages;
  op->flags = flags;
  op->tries = 0;
  op->asides = NULL;
  op->failed = (kl_tree_pointer){0};
  op->source.context = op;
  op->source.pause = NULL;
  op->source.prefetch = NULL;
  op->source.load_many = NULL;
  op->source.digests = NULL;
  op->ahead = NULL;
  if (pages->cache == NULL) {
    op->source.load = pages_load_memory;
    return;
  }
  op->source.load = pages_load;
  op->source.load_many = pages_load_many;
  op->source.frames = pages->notes.frames;
  op->source.frames_size = pages->notes.size;
  op->source.digests = pages->notes.notes;
  op->guard = kl_epoch_enter(pages->epoch);
}

static void pages_op_leave(pages_op *op) {
  while (op->asides != NULL) {
    pages_aside *aside = op->asides;
    op->asides = aside->next;
    kl_free(op->pages->allocator, aside, aside->size);
  }
  if (op->pages->cache != NULL) kl_epoch_leave(op->pages->epoch, op->guard);
}

void pages_op_end(pages_op *op) {
  pages_op_leave(op);
}

void pages_op_renew(pages_op *op) {
  pages_op_leave(op);
  if (op->pages->cache != NULL) op->guard = kl_epoch_enter(op->pages->epoch);
}

void pages_op_retry(pages_op *op) {
  pages_op_leave(op);
  op->tries++;
  /* No room although nobody is inside any more (all is pinned): past the cache from now on. */
  if (kl_cache_make_room(op->pages->cache, op->wanted, NULL) != KL_OK) op->tries = PAGES_TRIES;
  op->guard = kl_epoch_enter(op->pages->epoch);
}

/* -------- life -------- */

static uint64_t pages_extent_most(uint64_t limit) {
  uint64_t most = limit / 8;
  return most < KL_CACHE_PAGE_MAX - PAGES_EXTENT_HEAD ? most : KL_CACHE_PAGE_MAX - PAGES_EXTENT_HEAD;
}

static kl_status pages_new_cache(kl_pages *pages, const kl_pages_options *options, kl_error *err) {
  kl_cache_options cache = {.os = options->os,
                            .allocator = options->allocator,
                            .loader = {pages, pages_cache_load, pages_cache_verify, pages_cache_note},
                            .policy = options->policy,
                            .limit = options->cache_limit};
  kl_status status = kl_epoch_new(options->allocator, &pages->epoch, err);
  if (status != KL_OK) return status;
  cache.epoch = pages->epoch;
  status = kl_cache_new(&cache, &pages->cache, err);
  if (status == KL_OK) pages->notes = kl_cache_get_notes(pages->cache);
  return status;
}

/* A note of the cache is a digest of the tree. */
_Static_assert(KL_CACHE_NOTE - KL_CACHE_NOTE_HEAD >= (int)KL_TREE_DIGEST_SIZE, "a note is too short for a digest");
_Static_assert((int)KL_CACHE_NOTE == (int)KL_TREE_DIGEST_STRIDE, "digests do not lie as notes do");
_Static_assert((int)KL_CACHE_BLOCK == (int)KL_TREE_PAGE_MIN, "digests do not lie as notes do");
_Static_assert(KL_CACHE_NOTED >= KL_TREE_PAGE_MAX, "a page may be too long to have a note");

static void pages_free(kl_pages *pages) {
  kl_cache_free(pages->cache);
  kl_epoch_free(pages->epoch);
  kl_free(pages->allocator, pages, sizeof *pages);
}

kl_status kl_pages_new(const kl_pages_options *options, kl_pages **out_pages, kl_error *err) {
  kl_pages *pages = kl_alloc(options->allocator, sizeof *pages);
  if (pages == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory to read a database (%zu bytes)", sizeof *pages);
  pages->os = options->os;
  pages->allocator = options->allocator;
  pages->page_size = kl_store_page_size(options->store);
  atomic_init(&pages->store, options->store);
  atomic_init(&pages->extent_most, pages_extent_most(options->cache_limit));
  atomic_init(&pages->references, 1);
  kl_status status = kl_store_is_memory(options->store) ? KL_OK : pages_new_cache(pages, options, err);
  if (status != KL_OK) {
    pages_free(pages);
    return status;
  }
  *out_pages = pages;
  return KL_OK;
}

void kl_pages_ref(kl_pages *pages) {
  /* Relaxed: the caller has a reference already. */
  uint64_t before = atomic_fetch_add_explicit(&pages->references, 1, memory_order_relaxed);
  KL_ASSERT(before != 0);
  (void)before;
}

void kl_pages_unref(kl_pages *pages) {
  if (pages == NULL) return;
  /* Release: our use ends before; acquire: the one that frees has seen all others end. */
  uint64_t before = atomic_fetch_sub_explicit(&pages->references, 1, memory_order_acq_rel);
  KL_ASSERT(before != 0);
  if (before == 1) pages_free(pages);
}

void kl_pages_detach(kl_pages *pages) {
  atomic_store_explicit(&pages->store, NULL, memory_order_release);
}

void kl_pages_cache_stats(const kl_pages *pages, kl_cache_stats *out_stats) {
  memset(out_stats, 0, sizeof *out_stats);
  if (pages->cache != NULL) kl_cache_read_stats(pages->cache, out_stats);
}

kl_status kl_pages_set_limit(kl_pages *pages, uint64_t limit, kl_error *err) {
  if (pages->cache == NULL) return KL_OK;
  kl_status status = kl_cache_set_limit(pages->cache, limit, err);
  if (status == KL_OK) atomic_store_explicit(&pages->extent_most, pages_extent_most(limit), memory_order_relaxed);
  return status;
}
