/* core/store/store.c: creating, opening and closing a store, and questions about it. */
#include <inttypes.h>
#include <string.h>

#include "store_private.h"

static void store_destroy(kl_store *store) {
  kl_allocator *allocator = store->os->allocator;
  store_space_close(&store->space);
  store_memory_free(store);
  if (store->file != NULL) kl_os_close(store->os, store->file);
  kl_mutex_destroy(&store->making);
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
    if (status == KL_OK) {
      status = kl_mutex_init(&store->making, err);
      if (status != KL_OK) kl_mutex_destroy(&store->lock);
    }
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

/* The store is open: nothing of this changes any more. */
static void store_settle(kl_store *store) {
  store->page_size = store->newest.page_size;
  memcpy(store->id, store->newest.database_id, sizeof store->id);
  store_checkpoint_count(store);
}

/* Writes the new file under its temporary name and gives it its own. The lock is held. */
static kl_status store_write_new_file(kl_store *store, const char *temporary, kl_error *err) {
  static const uint8_t zeros[KL_SUPERBLOCK_SIZE];
  kl_os *os = store->os;
  kl_slice parts[KL_SUPERBLOCKS];
  for (int i = 0; i < KL_SUPERBLOCKS; i++) parts[i] = kl_slice_make(zeros, sizeof zeros);
  kl_status status = kl_os_truncate(os, store->file, 0, err); /* of a crashed creation there may be anything */
  if (status == KL_OK) status = kl_os_write(os, store->file, parts, KL_SUPERBLOCKS, 0, err);
  if (status == KL_OK) status = store_ring_write(store, &store->newest, err);
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

static kl_status store_choose_page_size(uint32_t wanted, uint32_t *out, kl_error *err) {
  *out = wanted != 0 ? wanted : KL_PAGE_SIZE_DEFAULT;
  if (*out >= KL_PAGE_SIZE_MIN && *out <= KL_PAGE_SIZE_MAX && (*out & (*out - 1)) == 0) return KL_OK;
  return kl_fail(err, KL_E_INVALID, "page size %" PRIu32 " is not a power of two from 4 KiB to 64 KiB", *out);
}

kl_status kl_store_create(kl_os *os, const char *path, const kl_store_options *options, kl_store **out_store,
                          kl_error *err) {
  *out_store = NULL;
  uint32_t page_size;
  kl_status status = store_choose_page_size(options->page_size, &page_size, err);
  if (status != KL_OK) return status;
  if (options->read_only) return kl_fail(err, KL_E_READ_ONLY, "cannot create '%s': opened read-only", path);
  status = store_check_vacant(os, path, err);
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
  if (status == KL_OK) status = store_space_open(&store->space, store, first, NULL, err);
  if (status != KL_OK) {
    store_destroy(store);
    return status;
  }
  store->file_bytes = (uint64_t)KL_SUPERBLOCKS * KL_SUPERBLOCK_SIZE;
  store_settle(store);
  *out_store = store;
  return KL_OK;
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
  if (status == KL_OK) status = store_ring_load(store, err);
  if (status == KL_OK && !options->unconfirmed) status = kl_store_confirm(store, err);
  if (status != KL_OK) {
    store_destroy(store);
    return status;
  }
  store_settle(store);
  *out_store = store;
  return KL_OK;
}

kl_status kl_store_confirm(kl_store *store, kl_error *err) {
  if (store->read_only || store->published) return KL_OK;
  return store_ring_confirm(store, err);
}

kl_status kl_store_new_memory(kl_os *os, uint32_t page_size, kl_store **out_store, kl_error *err) {
  *out_store = NULL;
  kl_store *store = NULL;
  kl_status status = store_choose_page_size(page_size, &page_size, err);
  if (status == KL_OK) status = store_new(os, ":memory:", false, &store, err);
  if (status != KL_OK) return status;
  store->newest.version = STORE_VERSION;
  store->newest.page_size = page_size;
  store->newest.created_ns = kl_os_wall_ns(os);
  store->newest.checkpoint.sequence = 1;
  store->newest.checkpoint.wall_ns = store->newest.created_ns;
  status = store_memory_new(store, err);
  if (status == KL_OK) status = store_space_open(&store->space, store, &store->newest, NULL, err);
  if (status != KL_OK) {
    store_destroy(store);
    return status;
  }
  store_settle(store);
  *out_store = store;
  return KL_OK;
}

void kl_store_close(kl_store *store) {
  if (store == NULL) return;
  kl_store_abort(store);
  /* Nobody reads any more, so nothing is in limbo but for the checkpoint before the newest. A file that was only looked
   * at (its log was refused, say) stays as it is. */
  if (store->published && !store->poisoned && !kl_store_is_memory(store)) store_blocks_cut(store);
  store_destroy(store);
}

const uint8_t *kl_store_id(const kl_store *store) {
  return store->id;
}

const char *kl_store_path(const kl_store *store) {
  return store->path;
}

uint32_t kl_store_page_size(const kl_store *store) {
  return store->page_size;
}

bool kl_store_is_memory(const kl_store *store) {
  return store->memory.base != NULL;
}

bool kl_store_fell_back(const kl_store *store) {
  return store->fell_back;
}

void kl_store_get_space(kl_store *store, kl_store_space *out_space) {
  kl_mutex_lock(&store->lock);
  *out_space = store->numbers;
  kl_mutex_unlock(&store->lock);
}

void kl_store_checkpoint(kl_store *store, kl_checkpoint *out_checkpoint) {
  kl_mutex_lock(&store->lock);
  *out_checkpoint = store->newest.checkpoint;
  kl_mutex_unlock(&store->lock);
}

uint64_t kl_store_log_release_point(kl_store *store) {
  kl_mutex_lock(&store->lock);
  uint64_t lsn = store->newest.checkpoint.log_lsn;
  const kl_checkpoint *previous = &store->previous.checkpoint, *before = &store->before.checkpoint;
  if (store->has_previous && previous->log_needed && previous->log_lsn < lsn) lsn = previous->log_lsn;
  if (store->has_before && before->log_needed && before->log_lsn < lsn) lsn = before->log_lsn;
  kl_mutex_unlock(&store->lock);
  return lsn;
}
