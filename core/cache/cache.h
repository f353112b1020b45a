/* core/cache/cache.h: the page cache: clean, immutable pages in frames of memory, found by block address.
 *
 * Pages are written once, by a drain, and never change; so the cache holds no dirty page, eviction is a drop, and two
 * loads of an address give the same bytes. It knows nothing of files: a page that is absent is fetched by a callback.
 *
 * Reading. Enter an epoch of the cache's domain (core/base/epoch.h), call kl_cache_get, use the bytes, leave the epoch.
 * Inside it each frame that was got stays as it is, whatever is evicted, dropped or resized meanwhile: no store and no
 * count per page (CACHE-2). To hand a pointer out beyond the epoch, pin the frame before leaving.
 *
 * Room. A frame that was evicted is used again only when all epochs that could see it have ended. So a thread that
 * loads much inside one epoch can run out of room that it blocks itself, and waiting would be for ever. kl_cache_get
 * then answers KL_CACHE_RETRY, which is no error: leave the epoch, call kl_cache_make_room, enter again, start the
 * operation again. A scan leaves its epoch every few pages anyway.
 *
 * Memory. `limit` bounds all that the cache takes: frames, page table, descriptors, policy. Frames come in size
 * classes, cut from chunks of 2 MiB (KL_MEMORY_HUGE), larger pages are runs of chunks; while readers keep evicted
 * frames from being reused, the limit may be exceeded by KL_CACHE_SLACK and no more (CACHE-6). An empty cache takes
 * address space and a few KiB.
 *
 * Loads. One thread loads a page, others that want it wait for that; no lock is held during load and verify (CACHE-5).
 * The cache calls `verify` on each loaded page before anyone can see it (CACHE-3); a page whose load or verification
 * failed is not kept, and each waiter tries for itself and gets its own error.
 *
 * Thread rules: all calls from any thread, but for new and free. kl_cache_get, _find_many, _prefetch and _pin inside an epoch;
 * kl_cache_make_room and kl_cache_set_limit outside of any of this domain. Callbacks may not call the cache. Nothing in
 * here may be called from an epoch's reclaim callback, nor with a lock held that one takes: a miss, a drop and a change
 * of the limit may run those of the whole domain. */
#ifndef KL_CACHE_CACHE_H
#define KL_CACHE_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/epoch.h"
#include "../base/memory.h"
#include "../base/status.h"
#include "../os/os.h"
#include "policy.h"

enum {
  KL_CACHE_RETRY = 1,     /* see above; positive: not an error, `err` is not filled */
  KL_CACHE_BLOCK = 4096,  /* unit of block addresses and of frames */
  KL_CACHE_NOTE = 128,    /* bytes of note for each block of a frame, the first KL_CACHE_NOTE_HEAD of which */
  KL_CACHE_NOTE_HEAD = 16 /* are the cache's own */
};
#define KL_CACHE_LIMIT_MIN (UINT64_C(8) << 20)
#define KL_CACHE_SLACK (UINT64_C(4) << 20)
#define KL_CACHE_PAGE_MAX (UINT32_C(1) << 30) /* bytes of one page or extent */
#define KL_CACHE_NOTED (UINT32_C(64) << 10)   /* bytes of the largest page that has a note */

/* What a parent knows of a page. */
typedef struct kl_cache_ref {
  uint64_t address;       /* block, in units of KL_CACHE_BLOCK */
  uint64_t checksum;      /* for verify; the cache does not look at it */
  uint32_t stored_length; /* bytes in the file; for load */
  uint32_t length;        /* bytes in memory, 1 ... KL_CACHE_PAGE_MAX */
} kl_cache_ref;

typedef struct kl_cache_loader {
  void *context;
  /* Fills `frame`, ref->length bytes (its contents before are undefined), from the ref->stored_length bytes at the
   * address. Any status but KL_OK is a failure and is handed to the caller of kl_cache_get, with err. */
  kl_status (*load)(void *context, const kl_cache_ref *ref, void *frame, kl_error *err);
  /* KL_OK when the bytes are those that ref->checksum says; KL_E_CORRUPT with the block otherwise. NULL: `load` has
   * done it (a checksum over stored bytes that are not what lies in the frame), or nothing is to be verified. */
  kl_status (*verify)(void *context, const kl_cache_ref *ref, const void *frame, kl_error *err);
  /* Writes a note about a page that is about to become visible, of `size` bytes (KL_CACHE_NOTE for each block of the
   * frame, less KL_CACHE_NOTE_HEAD; undefined before), which readers find by kl_cache_notes. Called for pages of at
   * most KL_CACHE_NOTED bytes. NULL: there are none. */
  void (*note)(void *context, const kl_cache_ref *ref, const void *frame, void *note, size_t size);
} kl_cache_loader;

typedef struct kl_cache_options {
  kl_os *os;
  kl_allocator *allocator;
  kl_epoch *epoch; /* the readers' domain; outlives the cache */
  kl_cache_loader loader;
  kl_policy_kind policy; /* 0: S3-FIFO */
  uint64_t limit;        /* bytes; at least KL_CACHE_LIMIT_MIN */
  uint64_t limit_most; /* the largest limit that can be set later; 0: 4 * limit, at least 16 GiB. Address space only. */
  uint64_t pin_budget; /* bytes of frames that may be pinned; 0: a quarter of the limit, whatever that is then */
} kl_cache_options;

enum { KL_CACHE_SCAN = 1 }; /* flag: read once by a scan; does not push out what is used again and again (CACHE-9) */

typedef struct kl_cache kl_cache;

/* KL_E_INVALID (limits), KL_E_NO_MEMORY. */
kl_status kl_cache_new(const kl_cache_options *options, kl_cache **out_cache, kl_error *err);
/* Nobody uses the cache, no pin is left, and no reader stays inside the domain for long: waits for the frames that are
 * retired. NULL is allowed. */
void kl_cache_free(kl_cache *cache);

/* The bytes of a page: valid, and unchanged, until the epoch is left. Loads it when it is absent. ref->length is the
 * same each time as long as the page is not dropped. `flags`: 0 or KL_CACHE_SCAN.
 * KL_CACHE_RETRY: above. KL_E_LIMIT: everything is pinned, or the page is larger than the limit: read it without the
 * cache. KL_E_NO_MEMORY. KL_E_INVALID: a length of 0 or above KL_CACHE_PAGE_MAX. What load and verify give. */
kl_status kl_cache_get(kl_cache *cache, const kl_cache_ref *ref, uint32_t flags, const void **out_frame, kl_error *err);

/* The first half of kl_cache_get: the bytes of a page that is there; NULL: it is not. */
const void *kl_cache_find(kl_cache *cache, uint64_t address, uint64_t checksum, uint32_t flags);

/* Interleaved lookups: looks all addresses up with their cache misses overlapped. out_frames[i]: the frame, whose bytes
 * are not touched, or NULL when it is absent; nothing is loaded (kl_cache_get does it). With flags 0 it counts as a hit
 * of each that is there, with KL_CACHE_SCAN as none. Returns how many are. `count` up to any number; 8 to 64 at once
 * are best. */
size_t kl_cache_find_many(kl_cache *cache, const uint64_t *addresses, size_t count, uint32_t flags,
                          const void **out_frames);

/* Notes. A note says of a page what is asked most, in lines that lie together: those of a whole cache fit where its
 * pages do not. It is there exactly as long as the frame is: whoever may read the one may read the other (CACHE-10).
 * The note of a frame that starts at `frames` + i * KL_CACHE_BLOCK starts at `notes` + i * KL_CACHE_NOTE. */
typedef struct kl_cache_notes {
  const uint8_t *frames, *notes; /* notes NULL: there are none */
  uint64_t size;                 /* bytes of address space from `frames` on: what lies elsewhere is no frame */
} kl_cache_notes;
/* The same for as long as the cache lives. */
kl_cache_notes kl_cache_get_notes(const kl_cache *cache);

/* Puts a page that the caller has just written into the cache, so that its first reader finds it: copies ref->length
 * bytes. A page that is there already stays as it is. As kl_cache_get, but calls neither load nor verify (only note);
 * failing is harmless. */
kl_status kl_cache_put(kl_cache *cache, const kl_cache_ref *ref, const void *bytes, uint32_t flags, kl_error *err);

/* The block was freed: forgets the page, and lets no load of it that is under way stay. Must come before the block is
 * written anew (CACHE-4). Readers inside an epoch keep what they have. */
void kl_cache_drop(kl_cache *cache, const uint64_t *addresses, size_t count);

/* A pin keeps a frame's bytes valid until it is released, across epochs, eviction and drop. For `frame` that was got
 * inside the current epoch (any pointer into it will do). Counted: each pin needs its unpin. False: the budget is used
 * up; copy the bytes instead. Until the cache is freed, kl_cache_unpin may be called by any thread, inside an epoch or
 * not. */
bool kl_cache_pin(kl_cache *cache, const void *frame);
void kl_cache_unpin(kl_cache *cache, const void *frame);

/* Outside of any epoch. Waits until a page of `length` could be loaded, at most until the readers that are now inside
 * have left. KL_E_LIMIT: everything that is not free is pinned, or the page is larger than the limit. */
kl_status kl_cache_make_room(kl_cache *cache, uint32_t length, kl_error *err);

/* A higher limit counts at once; for a lower one, pages go until it is met, and their memory goes back to the system as
 * the epochs that can see them end and pins are released. KL_E_INVALID: below KL_CACHE_LIMIT_MIN or above limit_most.
 */
kl_status kl_cache_set_limit(kl_cache *cache, uint64_t limit, kl_error *err);

typedef struct kl_cache_stats {
  uint64_t limit;
  uint64_t resident;    /* bytes taken in all: chunks, runs, descriptors, table, policy */
  uint64_t cached;      /* bytes of frames that hold a page that can be found */
  uint64_t retired;     /* bytes of frames that wait for readers, or for their pins */
  uint64_t pinned;      /* bytes of frames that are pinned */
  uint64_t pages;       /* that can be found */
  uint64_t loads;       /* pages that were loaded: misses, but for those that waited */
  uint64_t load_errors; /* loads that failed */
  uint64_t waits;       /* lookups that waited for another thread's load */
  uint64_t evictions, drops;
  uint64_t retries; /* KL_CACHE_RETRY answers */
  uint64_t pin_refusals;
} kl_cache_stats;

/* Hits are not counted: that would be a store for each (the callers know how many lookups they make). */
void kl_cache_read_stats(const kl_cache *cache, kl_cache_stats *out_stats);

#endif
