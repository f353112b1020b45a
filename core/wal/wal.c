/* core/wal/wal.c: creating, opening and closing a log; its header; statistics; the owner block. */
#include "wal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "wal_private.h"

void wal_poison(kl_wal *wal, const kl_error *cause) {
  if (wal->poisoned) return;
  wal->poisoned = true;
  wal->first_error = *cause;
}

kl_status wal_refuse(const kl_wal *wal, kl_error *err) {
  return kl_fail(err, KL_E_POISONED, "log '%s' takes no more writes after an error (%s); open the database anew",
                 wal->path, wal->first_error.message);
}

kl_status wal_store_header(kl_wal *wal, const wal_header *header, unsigned copy, kl_error *err) {
  uint8_t block[WAL_PAGE];
  wal_header_encode(header, block);
  kl_slice part = kl_slice_make(block, sizeof block);
  return kl_os_write(wal->os, wal->file, &part, 1, (uint64_t)copy * WAL_PAGE, err);
}

static void wal_destroy(kl_wal *wal) {
  kl_allocator *allocator = wal->os->allocator;
  if (wal->dsync_file != NULL) kl_os_close(wal->os, wal->dsync_file);
  if (wal->file != NULL) kl_os_close(wal->os, wal->file);
  wal_space_free(wal);
  kl_free(allocator, wal->active.data, wal->active.capacity);
  kl_free(allocator, wal->busy.data, wal->busy.capacity);
  kl_cond_destroy(&wal->work);
  kl_cond_destroy(&wal->changed);
  kl_mutex_destroy(&wal->lock);
  kl_free(allocator, wal->path, wal->path_size);
  kl_free(allocator, wal, sizeof *wal);
}

static kl_status wal_new(kl_os *os, const char *path, const kl_wal_options *options, kl_wal **out, kl_error *err) {
  size_t path_size = strlen(path) + 1;
  kl_wal *wal = kl_alloc(os->allocator, sizeof *wal);
  char *copy = kl_alloc(os->allocator, path_size);
  if (wal == NULL || copy == NULL) {
    kl_free(os->allocator, copy, path_size);
    kl_free(os->allocator, wal, sizeof *wal);
    return kl_fail(err, KL_E_NO_MEMORY, "no memory to open log '%s'", path);
  }
  kl_status status = kl_mutex_init(&wal->lock, err);
  if (status == KL_OK) {
    status = kl_cond_init(&wal->changed, err);
    if (status == KL_OK) {
      status = kl_cond_init(&wal->work, err);
      if (status != KL_OK) kl_cond_destroy(&wal->changed);
    }
    if (status != KL_OK) kl_mutex_destroy(&wal->lock);
  }
  if (status != KL_OK) {
    kl_free(os->allocator, copy, path_size);
    kl_free(os->allocator, wal, sizeof *wal);
    return status;
  }
  memcpy(copy, path, path_size);
  wal->os = os;
  wal->path = copy;
  wal->path_size = path_size;
  wal->read_only = options->read_only;
  wal->prewrite = options->prewrite;
  wal->seed = wal_batch_seed(options->database_id);
  wal->step = WAL_STEP_MIN;
  wal->next_assignment = 1;
  *out = wal;
  return KL_OK;
}

static void wal_use_header(kl_wal *wal, const wal_header *header) {
  wal->header = *header;
  wal->segment_size = header->segment_size;
  wal->data_size = header->segment_size - WAL_SEGMENT_HEADER;
}

/* Without the second descriptor everything works with fdatasync alone, so a failure here is none. It is opened at once
 * and not when the probe wants it: by then the path may name another file. */
static void wal_open_dsync(kl_wal *wal) {
  if (kl_os_open(wal->os, wal->path, KL_OPEN_WRITE | KL_OPEN_DSYNC, 0, &wal->dsync_file, NULL) != KL_OK) {
    wal->dsync_file = NULL;
  }
}

static kl_status wal_write_new_file(kl_wal *wal, kl_error *err) {
  wal->file_bytes = wal->prepared_bytes = WAL_SEGMENTS_OFFSET;
  kl_status status = wal_store_header(wal, &wal->header, 0, err);
  if (status == KL_OK) status = wal_store_header(wal, &wal->header, 1, err);
  if (status == KL_OK) status = kl_os_sync(wal->os, wal->file, false, err);
  if (status == KL_OK) status = kl_os_sync_directory(wal->os, wal->path, err);
  return status;
}

kl_status kl_wal_create(kl_os *os, const char *path, const kl_wal_options *options, kl_wal **out_wal, kl_error *err) {
  *out_wal = NULL;
  uint64_t segment_size = options->segment_size != 0 ? options->segment_size : WAL_SEGMENT_SIZE_DEFAULT;
  if (segment_size < WAL_SEGMENT_SIZE_MIN || segment_size > WAL_SEGMENT_SIZE_MAX ||
      (segment_size & (segment_size - 1)) != 0) {
    return kl_fail(err, KL_E_INVALID, "log segment size %" PRIu64 " is not a power of two from 64 KiB to 1 GiB",
                   segment_size);
  }
  if (options->read_only) return kl_fail(err, KL_E_READ_ONLY, "cannot create log '%s': opened read-only", path);
  kl_wal *wal = NULL;
  kl_status status = wal_new(os, path, options, &wal, err);
  if (status != KL_OK) return status;
  uint64_t data_size = segment_size - WAL_SEGMENT_HEADER;
  uint64_t first = (options->start_lsn + data_size - 1) / data_size * data_size;
  wal_header header = {.version = WAL_VERSION,
                       .segment_size = segment_size,
                       .incarnation = 1,
                       .incarnation_start = first,
                       .first_lsn = first,
                       .created_ns = kl_os_wall_ns(os)};
  memcpy(header.database_id, options->database_id, WAL_ID_SIZE);
  wal_use_header(wal, &header);
  uint32_t mode = options->file_mode != 0 ? options->file_mode : 0600;
  status = kl_os_open(os, path, KL_OPEN_WRITE | KL_OPEN_CREATE | KL_OPEN_EXCLUSIVE, mode, &wal->file, err);
  if (status != KL_OK) {
    wal->file = NULL;
    wal_destroy(wal);
    return status;
  }
  status = wal_write_new_file(wal, err);
  if (status != KL_OK) {
    wal_destroy(wal);
    (void)kl_os_remove(os, path, NULL); /* ours: it was created exclusively */
    return status;
  }
  wal_open_dsync(wal);
  wal->start = wal->tail = wal->durable = wal->cut = wal->ready = first;
  wal->running = true;
  *out_wal = wal;
  return KL_OK;
}

/* WAL-11: which copy may be destroyed, of two that were read with these incarnations (0: damaged). */
static unsigned wal_header_expendable(const uint64_t incarnations[2]) {
  if (incarnations[0] == 0 || incarnations[1] == 0) return incarnations[0] == 0 ? 0 : 1;
  if (incarnations[0] != incarnations[1]) return incarnations[0] > incarnations[1] ? 0 : 1;
  return (unsigned)((incarnations[0] + 1) % 2);
}

/* Reads both copies of the header; the one with the higher incarnation counts (they differ only when a crash came
 * between the two writes, or when one is damaged). */
static kl_status wal_load_header(kl_wal *wal, const uint8_t id[WAL_ID_SIZE], kl_error *err) {
  uint8_t block[WAL_PAGE];
  wal_header header = {0}, best = {0};
  kl_status verdict = KL_E_FORMAT; /* the most telling of the two failures: version, corrupt, format */
  bool found = false;
  uint64_t incarnations[2] = {0, 0};
  for (unsigned copy = 0; copy < 2; copy++) {
    size_t got = 0;
    kl_status status = kl_os_read(wal->os, wal->file, block, sizeof block, (uint64_t)copy * WAL_PAGE, &got, err);
    if (status != KL_OK) return status;
    status = got == sizeof block ? wal_header_decode(block, &header) : KL_E_FORMAT;
    if (status == KL_OK) incarnations[copy] = header.incarnation;
    if (status == KL_OK && (!found || header.incarnation > best.incarnation)) {
      best = header;
      found = true;
    }
    if (status == KL_E_VERSION || (status == KL_E_CORRUPT && verdict == KL_E_FORMAT)) verdict = status;
  }
  if (!found && verdict == KL_E_VERSION) {
    return kl_fail(err, KL_E_VERSION,
                   "log '%s' has a format that this version does not know (1 is known); use a newer"
                   " Keel",
                   wal->path);
  }
  if (!found && verdict == KL_E_CORRUPT) {
    return kl_fail(err, KL_E_CORRUPT, "log '%s': both copies of its header are damaged; restore from a backup",
                   wal->path);
  }
  if (!found) return kl_fail(err, KL_E_FORMAT, "'%s' is not the log of a Keel database", wal->path);
  if (best.features_incompatible != 0 || (best.features_read_only != 0 && !wal->read_only)) {
    return kl_fail(err, KL_E_VERSION, "log '%s' uses features (%" PRIx32 ", %" PRIx32 ") of a newer Keel; use that",
                   wal->path, best.features_incompatible, best.features_read_only);
  }
  if (memcmp(best.database_id, id, WAL_ID_SIZE) != 0) {
    return kl_fail(err, KL_E_FORMAT, "log '%s' belongs to another database; put the right one in its place", wal->path);
  }
  wal->header_first = wal_header_expendable(incarnations);
  wal_use_header(wal, &best);
  return KL_OK;
}

static kl_status wal_check_kind(kl_os *os, const char *path, kl_error *err) {
  kl_file_info info;
  kl_status status = kl_os_stat(os, path, &info, err);
  if (status != KL_OK) return status;
  if (info.kind == KL_FILE_ABSENT) return kl_fail(err, KL_E_NO_FILE, "there is no log '%s'", path);
  if (info.kind != KL_FILE_REGULAR) return kl_fail(err, KL_E_NOT_A_FILE, "log '%s' is not a regular file", path);
  return KL_OK;
}

kl_status kl_wal_open(kl_os *os, const char *path, const kl_wal_options *options, kl_wal **out_wal, kl_error *err) {
  *out_wal = NULL;
  kl_status status = wal_check_kind(os, path, err); /* opening a fifo would wait */
  if (status != KL_OK) return status;
  kl_wal *wal = NULL;
  status = wal_new(os, path, options, &wal, err);
  if (status != KL_OK) return status;
  status = kl_os_open(os, path, options->read_only ? KL_OPEN_READ : KL_OPEN_WRITE, 0, &wal->file, err);
  if (status != KL_OK) wal->file = NULL;
  if (status == KL_OK) status = wal_load_header(wal, options->database_id, err);
  if (status == KL_OK) status = kl_os_size(os, wal->file, &wal->file_bytes, err);
  if (status == KL_OK && wal->file_bytes < WAL_OWNER_OFFSET) { /* both copies were durable before anything else */
    status =
        kl_fail(err, KL_E_CORRUPT, "log '%s' was cut to %" PRIu64 " bytes, less than its header; restore from a backup",
                path, wal->file_bytes);
  }
  wal->prepared_bytes = wal->file_bytes;
  if (status == KL_OK) status = wal_space_load(wal, err);
  if (status != KL_OK) {
    wal_destroy(wal);
    return status;
  }
  if (!wal->read_only) wal_open_dsync(wal);
  *out_wal = wal;
  return KL_OK;
}

void kl_wal_close(kl_wal *wal) {
  if (wal == NULL) return;
  wal_worker_stop(wal);
  kl_mutex_lock(&wal->lock);
  if (!wal->poisoned) (void)wal_append_hand_over(wal, NULL);
  kl_mutex_unlock(&wal->lock);
  wal_destroy(wal);
}

void kl_wal_get_stats(kl_wal *wal, kl_wal_stats *out_stats) {
  kl_mutex_lock(&wal->lock);
  *out_stats = (kl_wal_stats){.start_lsn = wal->start,
                              .tail_lsn = wal->tail,
                              .durable_lsn = wal->durable,
                              .file_bytes = wal->file_bytes,
                              .segments = wal->slot_count,
                              .segments_recycled = wal->recycled,
                              .appends = wal->appends,
                              .appended_bytes = wal->appended_bytes,
                              .syncs = wal->syncs,
                              .syncs_shared = wal->syncs_shared,
                              .sync_ns_total = wal->sync_ns_total,
                              .sync_ns_max = wal->sync_ns_max,
                              .uses_dsync = wal->probe.chosen == WAL_DSYNC,
                              .poisoned = wal->poisoned};
  kl_mutex_unlock(&wal->lock);
}

/* Days since 1970 to a date of the Gregorian calendar, counted in eras of 400 years that begin on 1 March. */
static void wal_owner_time(uint64_t wall_ns, char *out, size_t capacity) {
  uint64_t seconds = wall_ns / 1000000000u, days = seconds / 86400 + 719468, rest = seconds % 86400;
  uint64_t era = days / 146097, day_of_era = days % 146097;
  uint64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  uint64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  uint64_t month_from_march = (5 * day_of_year + 2) / 153;
  uint64_t day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
  uint64_t month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
  uint64_t year = year_of_era + era * 400 + (month <= 2);
  (void)snprintf(out, capacity,
                 "%04" PRIu64 "-%02" PRIu64 "-%02" PRIu64 " %02" PRIu64 ":%02" PRIu64 ":%02" PRIu64 " UTC", year, month,
                 day, rest / 3600, rest / 60 % 60, rest % 60);
}

kl_status kl_wal_write_owner(kl_wal *wal, kl_error *err) {
  if (wal->read_only) return kl_fail(err, KL_E_READ_ONLY, "log '%s' is open read-only", wal->path);
  char name[64] = "", time[64], text[WAL_OWNER_TEXT];
  kl_os_process_name(wal->os, name, sizeof name);
  for (char *c = name; *c != 0; c++) {
    if ((unsigned char)*c < 0x20 || *c == 0x7f) *c = '?'; /* a process may name itself anything */
  }
  wal_owner_time(kl_os_wall_ns(wal->os), time, sizeof time);
  (void)snprintf(text, sizeof text, "process %" PRIu64 " (%s), since %s", kl_os_process_id(wal->os),
                 name[0] != 0 ? name : "unnamed", time);
  uint8_t block[WAL_PAGE];
  wal_owner_encode(text, block);
  kl_slice part = kl_slice_make(block, sizeof block);
  return kl_os_write(wal->os, wal->file, &part, 1, WAL_OWNER_OFFSET, err);
}

kl_status kl_wal_read_owner(kl_os *os, const char *path, char *out_text, size_t capacity) {
  uint8_t block[WAL_PAGE];
  char text[WAL_OWNER_TEXT];
  size_t got = 0;
  kl_file *file = NULL;
  if (capacity != 0) out_text[0] = 0;
  if (wal_check_kind(os, path, NULL) != KL_OK) return KL_E_NOT_FOUND;
  if (kl_os_open(os, path, KL_OPEN_READ, 0, &file, NULL) != KL_OK) return KL_E_NOT_FOUND;
  kl_status status = kl_os_read(os, file, block, sizeof block, WAL_OWNER_OFFSET, &got, NULL);
  kl_os_close(os, file);
  if (status != KL_OK || got != sizeof block || !wal_owner_decode(block, text)) return KL_E_NOT_FOUND;
  (void)snprintf(out_text, capacity, "%s", text);
  return KL_OK;
}
