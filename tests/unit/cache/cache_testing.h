/* tests/unit/cache/cache_testing.h: a cache over pages that are made, not stored.
 *
 * Page `address` holds stamp_of(address, index) in its words of 8 bytes (a large page in every 61st word, to be fast),
 * so that a reader can tell whether what it sees belongs to another page. */
#ifndef KEEL_TESTS_CACHE_TESTING_H
#define KEEL_TESTS_CACHE_TESTING_H

#include <stdatomic.h>
#include <string.h>

#include "cmocka_all.h"
#include "core/base/rng.h"
#include "core/cache/cache.h"

typedef struct page_source {
  _Atomic uint64_t loads;
  _Atomic uint64_t fail_load_at, fail_verify_at; /* number of the load that fails; 0: none */
  _Atomic uint64_t corrupt_address;              /* loads of the page before it verify as corrupt; 0: none */
} page_source;

static inline uint64_t stamp_of(uint64_t address, uint64_t index) {
  return kl_mix64(address * UINT64_C(1000003) + index);
}

static inline uint32_t page_stride(uint32_t length) {
  return length > 16384 ? 61 : 1;
}

static inline void make_page(uint64_t address, void *frame, uint32_t length) {
  for (uint32_t i = 0; i < length / 8; i += page_stride(length)) {
    uint64_t stamp = stamp_of(address, i);
    memcpy((unsigned char *)frame + 8 * (size_t)i, &stamp, 8);
  }
}

/* True when the 8 bytes at `index` are the page's. */
static inline bool page_word_is(const void *frame, uint64_t address, uint64_t index) {
  uint64_t stamp;
  memcpy(&stamp, (const unsigned char *)frame + 8 * index, 8);
  return stamp == stamp_of(address, index);
}

static inline bool page_is(const void *frame, uint64_t address, uint32_t length) {
  for (uint32_t i = 0; i < length / 8; i += page_stride(length)) {
    if (!page_word_is(frame, address, i)) return false;
  }
  return true;
}

static inline kl_status source_load(void *context, const kl_cache_ref *ref, void *frame, kl_error *err) {
  page_source *source = context;
  uint64_t number = atomic_fetch_add(&source->loads, 1) + 1;
  if (number == atomic_load(&source->fail_load_at)) {
    return kl_fail(err, KL_E_IO, "block %llu cannot be read", (unsigned long long)ref->address);
  }
  make_page(ref->address, frame, ref->length);
  if (number == atomic_load(&source->fail_verify_at)) memset(frame, 0x5a, 8);
  return KL_OK;
}

static inline kl_status source_verify(void *context, const kl_cache_ref *ref, const void *frame, kl_error *err) {
  page_source *source = context;
  if (page_word_is(frame, ref->address, 0) && ref->address + 1 != atomic_load(&source->corrupt_address)) return KL_OK;
  return kl_fail(err, KL_E_CORRUPT, "block %llu is damaged", (unsigned long long)ref->address);
}

/* The note of a page: words of 8 bytes, too, the first of them telling which page, the others of which length. */
static inline void source_note(void *context, const kl_cache_ref *ref, const void *frame, void *note, size_t size) {
  (void)context;
  assert_true(page_word_is(frame, ref->address, 0)); /* only what was verified */
  assert_true((size + KL_CACHE_NOTE_HEAD) % KL_CACHE_NOTE == 0);
  assert_true((size + KL_CACHE_NOTE_HEAD) / KL_CACHE_NOTE * KL_CACHE_BLOCK >= ref->length);
  for (size_t i = 0; i < size / 8; i++) {
    uint64_t word = i == 0 ? ref->address : ref->length;
    memcpy((unsigned char *)note + 8 * i, &word, 8);
  }
}

static inline bool note_is(const kl_cache *cache, const void *frame, uint64_t address, uint32_t length) {
  kl_cache_notes notes = kl_cache_get_notes(cache);
  uint64_t offset = (uint64_t)((const uint8_t *)frame - notes.frames), word;
  if (length > KL_CACHE_NOTED) return true;
  if (offset >= notes.size || offset % KL_CACHE_BLOCK != 0) return false;
  const uint8_t *note = notes.notes + offset / KL_CACHE_BLOCK * KL_CACHE_NOTE;
  size_t size = (length + KL_CACHE_BLOCK - 1) / KL_CACHE_BLOCK * KL_CACHE_NOTE - KL_CACHE_NOTE_HEAD;
  for (size_t i = 0; i < size / 8; i++) {
    memcpy(&word, note + 8 * i, 8);
    if (word != (i == 0 ? address : length)) return false;
  }
  return true;
}

static inline kl_cache_ref ref_to(uint64_t address, uint32_t length) {
  return (kl_cache_ref){.address = address, .checksum = address, .stored_length = length, .length = length};
}

typedef struct cache_fixture {
  kl_epoch *epoch;
  kl_cache *cache;
  page_source source;
} cache_fixture;

static inline void fixture_open(cache_fixture *f, kl_os *os, kl_policy_kind policy, uint64_t limit) {
  memset(f, 0, sizeof *f);
  assert_int_equal(kl_epoch_new(kl_allocator_libc(), &f->epoch, NULL), KL_OK);
  kl_cache_options options = {.os = os,
                              .allocator = kl_allocator_libc(),
                              .epoch = f->epoch,
                              .loader = {&f->source, source_load, source_verify, source_note},
                              .policy = policy,
                              .limit = limit};
  assert_int_equal(kl_cache_new(&options, &f->cache, NULL), KL_OK);
}

static inline void fixture_close(cache_fixture *f) {
  kl_cache_free(f->cache);
  kl_epoch_free(f->epoch);
}

/* One lookup in an epoch of its own, as an operation of the tree makes it: leaves, makes room and starts again as told.
 * The whole page is compared. */
static inline kl_status read_page(cache_fixture *f, uint64_t address, uint32_t length, uint32_t flags, kl_error *err) {
  kl_cache_ref ref = ref_to(address, length);
  for (;;) {
    const void *frame = NULL;
    kl_epoch_guard guard = kl_epoch_enter(f->epoch);
    kl_status status = kl_cache_get(f->cache, &ref, flags, &frame, err);
    if (status == KL_OK && !page_is(frame, address, length))
      fail_msg("page %llu is another", (unsigned long long)address);
    if (status == KL_OK && !note_is(f->cache, frame, address, length))
      fail_msg("the note of page %llu is another's", (unsigned long long)address);
    kl_epoch_leave(f->epoch, guard);
    if (status != KL_CACHE_RETRY) return status;
    status = kl_cache_make_room(f->cache, length, err);
    if (status != KL_OK) return status;
  }
}

static inline kl_cache_stats stats_of(const cache_fixture *f) {
  kl_cache_stats stats;
  kl_cache_read_stats(f->cache, &stats);
  return stats;
}

#endif
