/* core/store/store.c: creating and opening the database file, and publishing checkpoints. */
#include "store.h"

#include <inttypes.h>
#include <string.h>

#include "../os/thread.h"
#include "superblock.h"

struct kl_store {
  kl_os *os;
  char *path;
  size_t path_size; /* with the terminator */
  kl_file *file;
  bool read_only;

  kl_mutex lock; /* guards what follows; not held during input and output */
  store_superblock newest;
  uint64_t previous_log_lsn; /* of the checkpoint before the newest, when that one needs the log */
  bool previous_log_needed;
  bool poisoned;
};

static void store_destroy(kl_store *store) {
  kl_allocator *allocator = store->os->allocator;
  if (store->file != NULL) kl_os_close(store->os, store->file);
  kl_mutex_destroy(&store->lock);
  kl_free(allocator, store->path, store->path_size);
  kl_free(allocator, store, sizeof *store);
}

static kl_status store_new(kl_os *os, const char *path, bool read_only, kl_store **out, kl_error *err) {
  size_t path_size = strlen(path) + 1;
  kl_store *store = kl_alloc(os->allocator, sizeof *store);
  char *copy = kl_alloc(os->allocator, path_size);
  kl_status status = KL_OK;
  if (store == NULL || copy == NULL) {
    status = kl_fail(err, KL_E_NO_MEMORY, "no memory to open database '%s'", path);
  } else {
    status = kl_mutex_init(&store->lock, err);
  }
  if (status != KL_OK) {
    kl_free(os->allocator, copy, path_size);
    kl_free(os->allocator, store, sizeof *store);
    return status;
  }
  memcpy(copy, path, path_size);
  store->os = os;
  store->path = copy;
  store->path_size = path_size;
  store->read_only = read_only;
  *out = store;
  return KL_OK;
}

static kl_status store_write_superblock(kl_store *store, const store_superblock *superblock, kl_error *err) {
  uint8_t block[KL_SUPERBLOCK_SIZE];
  store_superblock_encode(superblock, block);
  kl_slice part = kl_slice_make(block, sizeof block);
  uint64_t slot = superblock->checkpoint.sequence % KL_SUPERBLOCKS;
  return kl_os_write(store->os, store->file, &part, 1, slot * KL_SUPERBLOCK_SIZE, err);
}

/* Writes the new file under its temporary name and gives it its own. The lock is held. */
static kl_status store_write_new_file(kl_store *store, const char *temporary, kl_error *err) {
  static const uint8_t zeros[KL_SUPERBLOCK_SIZE];
  kl_os *os = store->os;
  kl_slice parts[KL_SUPERBLOCKS];
  for (int i = 0; i < KL_SUPERBLOCKS; i++) parts[i] = kl_slice_make(zeros, sizeof zeros);
  kl_status status = kl_os_truncate(os, store->file, 0, err); /* of a crashed creation there may be anything */
  if (status == KL_OK) status = kl_os_write(os, store->file, parts, KL_SUPERBLOCKS, 0, err);
  if (status == KL_OK) status = store_write_superblock(store, &store->newest, err);
  if (status == KL_OK) status = kl_os_sync(os, store->file, false, err);
  if (status == KL_OK) status = kl_os_rename(os, temporary, store->path, err);
  if (status == KL_OK) status = kl_os_sync_directory(os, store->path, err);
  return status;
}

/* KL_OK when a database may be created at path: nothing is there, or an empty file. */
static kl_status store_check_vacant(kl_os *os, const char *path, kl_error *err) {
  kl_file_info info;
  kl_status status = kl_os_stat(os, path, &info, err);
  if (status != KL_OK || info.kind == KL_FILE_ABSENT) return status;
  if (info.kind != KL_FILE_REGULAR) {
    return kl_fail(err, KL_E_NOT_A_FILE, "'%s' is not a regular file; name a file for the database", path);
  }
  if (info.size != 0) return kl_fail(err, KL_E_EXISTS, "'%s' exists already; open it, or choose another name", path);
  return KL_OK;
}

static kl_status store_create_locked(kl_store *store, const char *temporary, uint32_t mode, kl_error *err) {
  kl_os *os = store->os;
  kl_status status = kl_os_open(os, temporary, KL_OPEN_WRITE | KL_OPEN_CREATE, mode, &store->file, err);
  if (status != KL_OK) {
    store->file = NULL;
    return status;
  }
  status = kl_os_lock(os, store->file, KL_LOCK_EXCLUSIVE, err);
  if (status != KL_OK) return status;
  /* Only now is it certain that nobody else is creating it; but somebody may have finished just before, and what was
   * opened as NAME-new may even be his NAME. */
  status = store_check_vacant(os, store->path, err);
  bool theirs = status == KL_E_EXISTS;
  if (status == KL_OK) status = store_write_new_file(store, temporary, err);
  if (status != KL_OK) {
    kl_file_info info;
    /* Removing NAME-new is safe under its lock; where it is NAME by now, there is nothing of that name to remove. */
    if (theirs || (kl_os_stat(os, temporary, &info, NULL) == KL_OK && info.kind == KL_FILE_REGULAR)) {
      (void)kl_os_remove(os, temporary, NULL);
    }
  }
  return status;
}

kl_status kl_store_create(kl_os *os, const char *path, const kl_store_options *options, kl_store **out_store,
                          kl_error *err) {
  *out_store = NULL;
  uint32_t page_size = options->page_size != 0 ? options->page_size : KL_PAGE_SIZE_DEFAULT;
  if (page_size < KL_PAGE_SIZE_MIN || page_size > KL_PAGE_SIZE_MAX || (page_size & (page_size - 1)) != 0) {
    return kl_fail(err, KL_E_INVALID, "page size %" PRIu32 " is not a power of two from 4 KiB to 64 KiB", page_size);
  }
  if (options->read_only) return kl_fail(err, KL_E_READ_ONLY, "cannot create '%s': opened read-only", path);
  kl_status status = store_check_vacant(os, path, err);
  if (status != KL_OK) return status;
  kl_store *store = NULL;
  status = store_new(os, path, false, &store, err);
  if (status != KL_OK) return status;
  store_superblock *first = &store->newest;
  first->version = STORE_VERSION;
  kl_os_random(os, first->database_id, sizeof first->database_id);
  first->page_size = page_size;
  first->created_ns = kl_os_wall_ns(os);
  first->checkpoint.sequence = 1;
  first->checkpoint.wall_ns = first->created_ns;

  size_t size = strlen(path) + sizeof "-new";
  char *temporary = kl_alloc(os->allocator, size);
  if (temporary == NULL) {
    status = kl_fail(err, KL_E_NO_MEMORY, "no memory to create database '%s'", path);
  } else {
    memcpy(temporary, path, strlen(path));
    memcpy(temporary + strlen(path), "-new", sizeof "-new");
    status = store_create_locked(store, temporary, options->file_mode != 0 ? options->file_mode : 0600, err);
    kl_free(os->allocator, temporary, size);
  }
  if (status != KL_OK) {
    store_destroy(store);
    return status;
  }
  *out_store = store;
  return KL_OK;
}

/* What the ring of superblocks says, all slots together. */
typedef struct store_ring {
  store_superblock newest, previous;
  bool has_newest, has_previous;
  bool newer_version, damaged, mixed;
} store_ring;

static void store_ring_add(store_ring *ring, const store_superblock *superblock) {
  if (ring->has_newest &&
      memcmp(superblock->database_id, ring->newest.database_id, sizeof superblock->database_id) != 0) {
    ring->mixed = true;
  }
  if (!ring->has_newest || superblock->checkpoint.sequence > ring->newest.checkpoint.sequence) {
    ring->previous = ring->newest;
    ring->has_previous = ring->has_newest;
    ring->newest = *superblock;
    ring->has_newest = true;
  } else if (!ring->has_previous || superblock->checkpoint.sequence > ring->previous.checkpoint.sequence) {
    ring->previous = *superblock;
    ring->has_previous = true;
  }
}

static kl_status store_judge(const kl_store *store, const store_ring *ring, kl_error *err) {
  const char *path = store->path;
  /* A superblock of a newer version counts even beside older ones: it is later than all that this version can read. */
  if (ring->newer_version) {
    return kl_fail(err, KL_E_VERSION,
                   "database '%s' has a format that this version does not know (1 is known); use a"
                   " newer Keel",
                   path);
  }
  if (!ring->has_newest && ring->damaged) {
    return kl_fail(err, KL_E_CORRUPT, "database '%s': none of its %d superblocks is intact; restore from a backup",
                   path, KL_SUPERBLOCKS);
  }
  if (!ring->has_newest) return kl_fail(err, KL_E_FORMAT, "'%s' is not a Keel database", path);
  if (ring->mixed) {
    return kl_fail(err, KL_E_CORRUPT, "database '%s' holds superblocks of two databases; restore from a backup", path);
  }
  const store_superblock *newest = &ring->newest;
  if (newest->features_incompatible != 0 || (newest->features_read_only != 0 && !store->read_only)) {
    return kl_fail(err, KL_E_VERSION,
                   "database '%s' uses features (%" PRIx32 ", %" PRIx32 ") of a newer Keel; use that%s", path,
                   newest->features_incompatible, newest->features_read_only,
                   newest->features_incompatible == 0 ? ", or open it read-only" : "");
  }
  return KL_OK;
}

static kl_status store_load(kl_store *store, kl_error *err) {
  store_ring ring = {0};
  uint8_t block[KL_SUPERBLOCK_SIZE];
  store_superblock superblock = {0};
  bool short_file = false;
  for (uint32_t slot = 0; slot < KL_SUPERBLOCKS; slot++) {
    size_t got = 0;
    kl_status status =
        kl_os_read(store->os, store->file, block, sizeof block, (uint64_t)slot * sizeof block, &got, err);
    if (status != KL_OK) return status;
    if (got != sizeof block) {
      short_file = true;
      break;
    }
    status = store_superblock_decode(block, slot, &superblock);
    if (status == KL_OK) store_ring_add(&ring, &superblock);
    ring.newer_version |= status == KL_E_VERSION;
    ring.damaged |= status == KL_E_CORRUPT;
  }
  if (short_file) {
    return kl_fail(err, KL_E_FORMAT, "'%s' is not a Keel database: it is shorter than the %d bytes that each has",
                   store->path, KL_SUPERBLOCKS * KL_SUPERBLOCK_SIZE);
  }
  kl_status status = store_judge(store, &ring, err);
  if (status != KL_OK) return status;
  store->newest = ring.newest;
  const kl_checkpoint *fallback = ring.has_previous ? &ring.previous.checkpoint : &ring.newest.checkpoint;
  store->previous_log_lsn = fallback->log_lsn;
  store->previous_log_needed = fallback->log_needed;
  return KL_OK;
}

/* STORE-5: that a superblock can be read does not say that it is on stable storage, nor that a sync would put it there:
 * after a failed sync the kernel shows pages that it will not write again. So the newest is written once more, byte for
 * byte (a torn write of equal bytes changes nothing), before anything is built on it. The same goes for the names of
 * the file and its log, which a creation may have left unsynced. */
static kl_status store_confirm(kl_store *store, kl_error *err) {
  kl_status status = store_write_superblock(store, &store->newest, err);
  if (status == KL_OK) status = kl_os_sync(store->os, store->file, false, err);
  return status == KL_OK ? kl_os_sync_directory(store->os, store->path, err) : status;
}

kl_status kl_store_open(kl_os *os, const char *path, const kl_store_options *options, kl_store **out_store,
                        kl_error *err) {
  kl_file_info info;
  *out_store = NULL;
  kl_status status = kl_os_stat(os, path, &info, err); /* first: opening a fifo would wait */
  if (status != KL_OK) return status;
  if (info.kind == KL_FILE_ABSENT) return kl_fail(err, KL_E_NO_FILE, "there is no database '%s'", path);
  if (info.kind != KL_FILE_REGULAR) return kl_fail(err, KL_E_NOT_A_FILE, "'%s' is not a regular file", path);
  if (info.size == 0) return kl_fail(err, KL_E_NO_FILE, "'%s' is empty: no database has been created in it", path);
  kl_store *store = NULL;
  status = store_new(os, path, options->read_only, &store, err);
  if (status != KL_OK) return status;
  status = kl_os_open(os, path, options->read_only ? KL_OPEN_READ : KL_OPEN_WRITE, 0, &store->file, err);
  if (status != KL_OK) store->file = NULL;
  /* The lock comes before the first byte is read, so that no publisher is writing meanwhile. */
  if (status == KL_OK) {
    status = kl_os_lock(os, store->file, options->read_only ? KL_LOCK_SHARED : KL_LOCK_EXCLUSIVE, err);
  }
  if (status == KL_OK) status = store_load(store, err);
  if (status == KL_OK && !options->read_only) status = store_confirm(store, err);
  if (status != KL_OK) {
    store_destroy(store);
    return status;
  }
  *out_store = store;
  return KL_OK;
}

void kl_store_close(kl_store *store) {
  if (store != NULL) store_destroy(store);
}

const uint8_t *kl_store_id(const kl_store *store) {
  return store->newest.database_id;
}

uint32_t kl_store_page_size(const kl_store *store) {
  return store->newest.page_size;
}

void kl_store_checkpoint(kl_store *store, kl_checkpoint *out_checkpoint) {
  kl_mutex_lock(&store->lock);
  *out_checkpoint = store->newest.checkpoint;
  kl_mutex_unlock(&store->lock);
}

uint64_t kl_store_log_release_point(kl_store *store) {
  kl_mutex_lock(&store->lock);
  uint64_t lsn = store->newest.checkpoint.log_lsn;
  if (store->previous_log_needed && store->previous_log_lsn < lsn) lsn = store->previous_log_lsn;
  kl_mutex_unlock(&store->lock);
  return lsn;
}

/* One slot of the ring: written, synced, then the newest. */
static kl_status store_publish_one(kl_store *store, const kl_checkpoint *checkpoint, kl_error *err) {
  store_superblock next = store->newest; /* one publisher: nobody else changes it */
  next.checkpoint = *checkpoint;
  next.checkpoint.catalogue = store->newest.checkpoint.catalogue;
  next.checkpoint.sequence = store->newest.checkpoint.sequence + 1;
  next.checkpoint.wall_ns = kl_os_wall_ns(store->os);
  kl_status status = store_write_superblock(store, &next, err);
  if (status == KL_OK) status = kl_os_sync(store->os, store->file, true, err);
  kl_mutex_lock(&store->lock);
  if (status == KL_OK) {
    store->previous_log_lsn = store->newest.checkpoint.log_lsn;
    store->previous_log_needed = store->newest.checkpoint.log_needed;
    store->newest = next;
  } else {
    store->poisoned = true; /* which of the two is on disk is not known */
  }
  kl_mutex_unlock(&store->lock);
  return status;
}

kl_status kl_store_publish(kl_store *store, kl_checkpoint *checkpoint, kl_error *err) {
  if (store->read_only) return kl_fail(err, KL_E_READ_ONLY, "database '%s' is open read-only", store->path);
  if (store->poisoned) {
    return kl_fail(err, KL_E_POISONED, "a checkpoint of database '%s' could not be written; open it anew", store->path);
  }
  bool twice = checkpoint->log_needed != store->newest.checkpoint.log_needed;
  kl_status status = store_publish_one(store, checkpoint, err);
  if (status == KL_OK && twice) status = store_publish_one(store, checkpoint, err);
  if (status == KL_OK) *checkpoint = store->newest.checkpoint;
  return status;
}
