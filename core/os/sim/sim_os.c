/* core/os/sim/sim_os.c: the calls of the interface on the simulated machine. Each takes the machine's mutex, counts one
 * operation, and does what the verdict says. */
#include <errno.h>
#include <string.h>

#include "../checks.h"
#include "../error.h"
#include "../transfer.h"
#include "sim_private.h"

static kl_sim *sim_of(kl_os *os) {
  return (kl_sim *)(void *)os;
}

static bool sim_file_is_dead(const kl_sim *sim, const kl_file *file) {
  return file->boot != sim->boots;
}

static kl_status sim_fail(const kl_sim *sim, int error, const char *path, const char *action, kl_error *err) {
  return kl_os_fail(err, error, path, "%s%s", action, sim->crashed ? " (the simulated power is off)" : "");
}

/* Begins a call on an open file. A file of a machine that was restarted since is an I/O error, and not an operation:
 * the program that owns it is gone. */
static kl_sim_verdict sim_file_step(kl_sim *sim, const kl_file *file, kl_sim_call call, bool syncs) {
  kl_sim_verdict dead = {EIO, false, false, false};
  return sim_file_is_dead(sim, file) ? dead : kl_sim_step(sim, call, syncs);
}

static kl_sim_node *sim_file_node(const kl_sim *sim, const kl_file *file) {
  return sim->nodes[file->node];
}

static int sim_no_space(kl_sim *sim) {
  sim->struck = true;
  return ENOSPC;
}

/* ---- names ---- */

static uint32_t sim_lookup(const kl_sim *sim, const char *path, bool *out_directory) {
  uint32_t name = kl_sim_names_find(&sim->names, path);
  *out_directory = name != KL_SIM_NONE && sim->names.items[name].directory;
  return name == KL_SIM_NONE ? KL_SIM_NONE : sim->names.items[name].current;
}

/* Finds or creates; 0 or an errno. */
static int sim_open_node(kl_sim *sim, const char *path, uint32_t flags, const kl_sim_verdict *verdict, uint32_t *out) {
  bool directory;
  uint32_t name, node = sim_lookup(sim, path, &directory);
  bool create = (flags & KL_OPEN_CREATE) != 0;
  if (verdict->error != 0 && !verdict->crash) return verdict->error;
  if (directory) return create && (flags & KL_OPEN_EXCLUSIVE) != 0 ? EEXIST : EISDIR;
  if (node != KL_SIM_NONE && create && (flags & KL_OPEN_EXCLUSIVE) != 0) return EEXIST;
  if (node == KL_SIM_NONE) {
    if (!create) return ENOENT;
    if (sim->full) return sim_no_space(sim);
    if (!kl_sim_names_intern(&sim->names, path, &name) || !kl_sim_node_new(sim, &node) ||
        !kl_sim_names_change(&sim->names, sim->operations, KL_SIM_NONE, name, node)) {
      return kl_sim_exhaust(sim);
    }
  }
  *out = node;
  return verdict->error;
}

static void sim_file_link(kl_sim *sim, kl_file *file) {
  file->next = sim->files;
  if (sim->files != NULL) sim->files->previous = file;
  sim->files = file;
}

static void sim_file_unlink(kl_sim *sim, kl_file *file) {
  if (file->previous != NULL) file->previous->next = file->next;
  if (file->next != NULL) file->next->previous = file->previous;
  if (sim->files == file) sim->files = file->next;
}

static kl_status sim_open(kl_os *os, const char *path, uint32_t flags, uint32_t mode, kl_file **out, kl_error *err) {
  kl_sim *sim = sim_of(os);
  (void)mode; /* one user, who may do everything */
  kl_status status = kl_check_open_flags(path, flags, err);
  if (status != KL_OK) return status;
  size_t path_size = strlen(path) + 1, struct_size = sizeof(kl_file) + path_size;
  kl_file *file = kl_alloc(os->allocator, struct_size);
  if (file == NULL) return kl_os_fail(err, ENOMEM, path, "cannot open");
  file->sim = sim;
  file->flags = flags;
  file->struct_size = struct_size;
  memcpy(file->path, path, path_size);
  kl_mutex_lock(&sim->mutex);
  /* On read-only media only opening for writing is refused. */
  kl_sim_call call = (flags & KL_OPEN_WRITE) != 0 ? KL_SIM_CALL_CHANGE : KL_SIM_CALL_QUERY;
  kl_sim_verdict verdict = kl_sim_step(sim, call, false);
  int error = sim_open_node(sim, path, flags, &verdict, &file->node);
  if (verdict.crash) kl_sim_crash(sim);
  if (error == 0) {
    file->boot = sim->boots;
    sim_file_link(sim, file);
  } else {
    status = sim_fail(sim, error, path, "cannot open", err);
  }
  kl_mutex_unlock(&sim->mutex);
  if (error != 0) {
    kl_free(os->allocator, file, struct_size);
    return status;
  }
  *out = file;
  return KL_OK;
}

static void sim_close(kl_os *os, kl_file *file) {
  kl_sim *sim = sim_of(os);
  if (file == NULL) return;
  kl_mutex_lock(&sim->mutex);
  if (!sim_file_is_dead(sim, file)) {
    sim_file_unlink(sim, file);
    kl_sim_collect(sim);
  }
  kl_mutex_unlock(&sim->mutex);
  kl_free(os->allocator, file, file->struct_size);
}

static kl_status sim_stat(kl_os *os, const char *path, kl_file_info *out, kl_error *err) {
  kl_sim *sim = sim_of(os);
  bool directory;
  kl_status status = KL_OK;
  memset(out, 0, sizeof *out);
  kl_mutex_lock(&sim->mutex);
  kl_sim_verdict verdict = kl_sim_step(sim, KL_SIM_CALL_QUERY, false);
  uint32_t node = sim_lookup(sim, path, &directory);
  if (verdict.crash) kl_sim_crash(sim);
  if (verdict.error != 0) {
    status = sim_fail(sim, verdict.error, path, "cannot examine", err);
  } else if (directory || node != KL_SIM_NONE) {
    out->kind = directory ? KL_FILE_DIRECTORY : KL_FILE_REGULAR;
    out->device = 1;
    /* Numbers of files and of directories, which are names here, do not meet. */
    out->inode = directory ? UINT64_MAX - kl_sim_names_find(&sim->names, path) : (uint64_t)node + 1;
    out->size = directory ? 0 : sim->nodes[node]->current.size;
  }
  kl_mutex_unlock(&sim->mutex);
  return status;
}

/* 0 or an errno. `to` NULL: removes. */
static int sim_move(kl_sim *sim, const char *from, const char *to, const kl_sim_verdict *verdict) {
  bool directory;
  uint32_t from_name, to_name = KL_SIM_NONE, node = sim_lookup(sim, from, &directory);
  if (verdict->error != 0 && !verdict->crash) return verdict->error;
  if (directory) return EISDIR;
  if (node == KL_SIM_NONE) return ENOENT;
  if (to != NULL && sim_lookup(sim, to, &directory) == node) return verdict->error; /* onto itself */
  if (directory) return EISDIR;
  if (!kl_sim_names_intern(&sim->names, from, &from_name) ||
      (to != NULL && !kl_sim_names_intern(&sim->names, to, &to_name)) ||
      !kl_sim_names_change(&sim->names, sim->operations, from_name, to_name, node)) {
    return kl_sim_exhaust(sim);
  }
  return verdict->error;
}

static kl_status sim_change_name(kl_sim *sim, const char *from, const char *to, const char *action, kl_error *err) {
  kl_status status = KL_OK;
  kl_mutex_lock(&sim->mutex);
  kl_sim_verdict verdict = kl_sim_step(sim, KL_SIM_CALL_CHANGE, false);
  int error = sim_move(sim, from, to, &verdict);
  if (verdict.crash) kl_sim_crash(sim);
  if (error != 0) status = sim_fail(sim, error, from, action, err);
  kl_sim_collect(sim);
  kl_mutex_unlock(&sim->mutex);
  return status;
}

static kl_status sim_remove(kl_os *os, const char *path, kl_error *err) {
  return sim_change_name(sim_of(os), path, NULL, "cannot remove", err);
}

static kl_status sim_rename(kl_os *os, const char *from, const char *to, kl_error *err) {
  kl_status status = kl_check_rename(from, to, err);
  return status != KL_OK ? status : sim_change_name(sim_of(os), from, to, "cannot rename", err);
}

/* Paths are compared as text: there is nothing that they could be relative to. */
static bool sim_working_directory(kl_os *os, char *out, size_t capacity) {
  (void)os;
  if (capacity != 0) out[0] = '\0';
  return false;
}

static kl_status sim_sync_directory(kl_os *os, const char *path, kl_error *err) {
  kl_sim *sim = sim_of(os);
  kl_status status = KL_OK;
  kl_mutex_lock(&sim->mutex);
  kl_sim_verdict verdict = kl_sim_step(sim, KL_SIM_CALL_SYNC, true);
  if (verdict.crash) kl_sim_crash(sim);
  if (verdict.sync_fails) verdict.error = EIO;
  /* Entries go through the journal: a failure leaves them pending, nothing is given up. */
  if (verdict.error == 0) {
    kl_sim_names_sync(&sim->names, path);
    kl_sim_collect(sim);
  } else {
    status = sim_fail(sim, verdict.error, path, "cannot sync the directory of", err);
  }
  kl_mutex_unlock(&sim->mutex);
  return status;
}

/* ---- content ---- */

/* What a virtual system call under one os call may still do. */
typedef struct sim_transfer {
  kl_sim *sim;
  kl_file *file;
  kl_sim_verdict verdict;
  uint64_t budget;  /* bytes until it stops early */
  int after_budget; /* what it answers then: an errno, or EINTR once and on it goes */
} sim_transfer;

/* How many of `size` bytes the next virtual call moves; a negative errno when none. */
static int64_t sim_transfer_take(sim_transfer *transfer, uint64_t size) {
  uint64_t take = size < transfer->budget ? size : transfer->budget;
  if (take == 0 && size > 0) {
    if (transfer->after_budget == EINTR) transfer->budget = UINT64_MAX;
    return -transfer->after_budget;
  }
  transfer->budget -= take;
  return (int64_t)take;
}

static int64_t sim_raw_read(void *context, void *buffer, size_t size, uint64_t offset) {
  sim_transfer *transfer = context;
  int64_t take = sim_transfer_take(transfer, size);
  if (take <= 0) return take;
  return (int64_t)kl_sim_image_read(&sim_file_node(transfer->sim, transfer->file)->current, offset, buffer,
                                    (size_t)take);
}

static kl_status sim_read(kl_os *os, kl_file *file, void *buffer, size_t size, uint64_t offset, size_t *out_read,
                          kl_error *err) {
  kl_sim *sim = sim_of(os);
  kl_mutex_lock(&sim->mutex);
  sim_transfer transfer = {sim, file, sim_file_step(sim, file, KL_SIM_CALL_READ, false), UINT64_MAX, EINTR};
  if (transfer.verdict.crash) kl_sim_crash(sim);
  if (transfer.verdict.error != 0) {
    transfer.budget = 0;
    transfer.after_budget = transfer.verdict.error;
  } else if (transfer.verdict.short_call) {
    transfer.budget = kl_rng_below(&sim->fault_rng, size);
  }
  kl_status status = kl_transfer_read(sim_raw_read, &transfer, file->path, buffer, size, offset, out_read, err);
  if (status != KL_OK && sim->crashed) status = sim_fail(sim, EIO, file->path, "cannot read", err);
  kl_mutex_unlock(&sim->mutex);
  return status;
}

static int64_t sim_raw_write(void *context, const kl_slice *parts, size_t count, uint64_t offset) {
  sim_transfer *transfer = context;
  kl_sim *sim = transfer->sim;
  kl_sim_bytes *bytes;
  uint64_t size = 0;
  for (size_t i = 0; i < count; i++) size += parts[i].size;
  int64_t take = sim_transfer_take(transfer, size);
  if (take <= 0) return take;
  kl_sim_node *node = sim_file_node(sim, transfer->file); /* after the check: a dead file has none */
  if (!kl_sim_bytes_new(parts, count, (size_t)take, &bytes) ||
      !kl_sim_node_write(node, sim->operations, offset, bytes, (uint64_t)take)) {
    return -kl_sim_exhaust(sim);
  }
  /* A write that fails promises nothing, so what it stored stays pending. */
  if ((transfer->file->flags & KL_OPEN_DSYNC) == 0 || transfer->verdict.error != 0) return take;
  if (transfer->verdict.sync_fails) {
    bool ok = kl_sim_node_sync_failed(node, offset, (uint64_t)take, sim->tear_bytes, &sim->fault_rng);
    return ok ? -EIO : -kl_sim_exhaust(sim);
  }
  return kl_sim_node_sync_range(node, offset, (uint64_t)take) ? take : -kl_sim_exhaust(sim);
}

/* How much of what could be stored a failing write has stored: often nothing. */
static uint64_t sim_write_part(kl_sim *sim, uint64_t most) {
  return kl_rng_below(&sim->fault_rng, 3) == 0 ? 0 : kl_rng_below(&sim->fault_rng, most);
}

/* How much of a write is stored before it fails, if it does. */
static void sim_write_plan(sim_transfer *transfer, uint64_t offset, uint64_t size) {
  kl_sim *sim = transfer->sim;
  const kl_sim_verdict *verdict = &transfer->verdict;
  if (verdict->crash) {
    /* All of it is on its way when the power goes; restart decides what arrives. */
  } else if (verdict->error != 0) {
    bool starts = verdict->error == EIO && !sim->crashed && !sim_file_is_dead(sim, transfer->file);
    transfer->budget = starts ? sim_write_part(sim, size) : 0;
    transfer->after_budget = verdict->error;
  } else if (offset > KL_SIM_FILE_MAX || size > KL_SIM_FILE_MAX - offset) {
    transfer->budget = 0;
    transfer->after_budget = EFBIG;
  } else if (sim->full) {
    const kl_sim_image *image = &sim_file_node(sim, transfer->file)->current;
    uint64_t end = offset + size, fits = end < image->size ? end : image->size;
    fits = fits > offset ? kl_sim_image_first_hole(image, offset, fits) - offset : 0;
    if (fits < size) {
      transfer->budget = sim_write_part(sim, fits + 1);
      transfer->after_budget = sim_no_space(sim);
    }
  } else if (verdict->short_call) {
    transfer->budget = kl_rng_below(&sim->fault_rng, size);
  }
}

static kl_status sim_write_any(kl_os *os, kl_file *file, const kl_slice *parts, size_t count, uint64_t offset,
                               bool inside, kl_error *err) {
  kl_sim *sim = sim_of(os);
  uint64_t size = 0;
  kl_status status = kl_check_writable(file->path, (file->flags & KL_OPEN_WRITE) != 0, err);
  for (size_t i = 0; i < count && status == KL_OK; i++) {
    status = kl_check_range(file->path, size, parts[i].size, err);
    size += parts[i].size;
  }
  if (status == KL_OK) status = kl_check_range(file->path, offset, size, err);
  if (status != KL_OK) return status;
  kl_mutex_lock(&sim->mutex);
  uint64_t there = sim_file_is_dead(sim, file) ? UINT64_MAX : sim_file_node(sim, file)->current.size;
  if (inside && there < offset + size) { /* a mapping ends with the file; the real one would write, and grow it */
    kl_mutex_unlock(&sim->mutex);
    return kl_fail(err, KL_E_INVALID, "\"%s\" has %llu bytes: those up to %llu cannot be overwritten", file->path,
                   (unsigned long long)there, (unsigned long long)(offset + size));
  }
  bool syncs = (file->flags & KL_OPEN_DSYNC) != 0;
  sim_transfer transfer = {sim, file, sim_file_step(sim, file, KL_SIM_CALL_WRITE, syncs), UINT64_MAX, EINTR};
  sim_write_plan(&transfer, offset, size);
  status = kl_transfer_write(sim_raw_write, &transfer, file->path, parts, count, offset, err);
  if (transfer.verdict.crash) kl_sim_crash(sim);
  if (sim->crashed) status = sim_fail(sim, EIO, file->path, "cannot write", err);
  kl_mutex_unlock(&sim->mutex);
  return status;
}

static kl_status sim_write(kl_os *os, kl_file *file, const kl_slice *parts, size_t count, uint64_t offset,
                           kl_error *err) {
  return sim_write_any(os, file, parts, count, offset, false, err);
}

/* A store into a mapping is a write that neither stops early nor fails; so a write does all that it may do, and more. */
static kl_status sim_overwrite(kl_os *os, kl_file *file, const kl_slice *parts, size_t count, uint64_t offset,
                               kl_error *err) {
  return sim_write_any(os, file, parts, count, offset, true, err);
}

static kl_status sim_sync(kl_os *os, kl_file *file, bool data_only, kl_error *err) {
  kl_sim *sim = sim_of(os);
  kl_status status = KL_OK;
  kl_mutex_lock(&sim->mutex);
  kl_sim_verdict verdict = sim_file_step(sim, file, KL_SIM_CALL_SYNC, true);
  int error = verdict.error;
  bool tried = !sim_file_is_dead(sim, file) && !sim->crashed && !verdict.crash && error != ENOMEM;
  if (verdict.crash) kl_sim_crash(sim);
  if (tried && (error != 0 || verdict.sync_fails)) {
    error = EIO;
    if (!kl_sim_node_sync_failed(sim_file_node(sim, file), 0, UINT64_MAX, sim->tear_bytes, &sim->fault_rng)) {
      error = kl_sim_exhaust(sim);
    }
  } else if (error == 0 && !kl_sim_node_sync(sim_file_node(sim, file), data_only)) {
    error = kl_sim_exhaust(sim);
  }
  if (error != 0) status = sim_fail(sim, error, file->path, "cannot sync", err);
  kl_mutex_unlock(&sim->mutex);
  return status;
}

/* ---- sizes and locks ---- */

static kl_status sim_size(kl_os *os, kl_file *file, uint64_t *out_size, kl_error *err) {
  kl_sim *sim = sim_of(os);
  kl_status status = KL_OK;
  kl_mutex_lock(&sim->mutex);
  kl_sim_verdict verdict = sim_file_step(sim, file, KL_SIM_CALL_QUERY, false);
  if (verdict.crash) kl_sim_crash(sim);
  if (verdict.error != 0) {
    status = sim_fail(sim, verdict.error, file->path, "cannot examine", err);
  } else {
    *out_size = sim_file_node(sim, file)->current.size;
  }
  kl_mutex_unlock(&sim->mutex);
  return status;
}

/* Truncation (size 0 of the range, offset the new size) and allocation. 0 or an errno. */
static int sim_set_size(kl_sim *sim, kl_file *file, bool allocate, uint64_t offset, uint64_t size) {
  kl_sim_verdict verdict = sim_file_step(sim, file, KL_SIM_CALL_CHANGE, false);
  if (verdict.error != 0 && !verdict.crash) return verdict.error;
  kl_sim_node *node = sim_file_node(sim, file);
  uint64_t end = offset + size;
  int error = end > KL_SIM_FILE_MAX ? EFBIG : 0;
  /* A truncation that grows makes a hole, which takes no space. */
  if (error == 0 && allocate && sim->full && kl_sim_image_first_hole(&node->current, offset, end) < end) {
    error = sim_no_space(sim);
  }
  if (error == 0) {
    bool ok = allocate ? kl_sim_node_allocate(node, sim->operations, offset, size)
                       : kl_sim_node_resize(node, sim->operations, offset);
    if (!ok) error = kl_sim_exhaust(sim);
  }
  if (verdict.crash) kl_sim_crash(sim);
  return verdict.crash ? EIO : error;
}

static kl_status sim_truncate(kl_os *os, kl_file *file, uint64_t size, kl_error *err) {
  kl_sim *sim = sim_of(os);
  kl_status status = kl_check_writable(file->path, (file->flags & KL_OPEN_WRITE) != 0, err);
  if (status == KL_OK) status = kl_check_range(file->path, 0, size, err);
  if (status != KL_OK) return status;
  kl_mutex_lock(&sim->mutex);
  int error = sim_set_size(sim, file, false, size, 0);
  if (error != 0) status = sim_fail(sim, error, file->path, "cannot set the size of", err);
  kl_mutex_unlock(&sim->mutex);
  return status;
}

static kl_status sim_allocate(kl_os *os, kl_file *file, uint64_t offset, uint64_t size, kl_error *err) {
  kl_sim *sim = sim_of(os);
  kl_status status = kl_check_writable(file->path, (file->flags & KL_OPEN_WRITE) != 0, err);
  if (status == KL_OK) status = kl_check_range(file->path, offset, size, err);
  if (status != KL_OK || size == 0) return status;
  kl_mutex_lock(&sim->mutex);
  int error = sim_set_size(sim, file, true, offset, size);
  if (error != 0) status = sim_fail(sim, error, file->path, "cannot reserve space in", err);
  kl_mutex_unlock(&sim->mutex);
  return status;
}

static kl_status sim_lock(kl_os *os, kl_file *file, kl_lock_mode mode, kl_error *err) {
  kl_sim *sim = sim_of(os);
  bool writable = (file->flags & KL_OPEN_WRITE) != 0;
  kl_status status = kl_check_writable(file->path, writable || mode == KL_LOCK_SHARED, err);
  if (status != KL_OK) return status;
  kl_mutex_lock(&sim->mutex);
  kl_sim_verdict verdict = sim_file_step(sim, file, KL_SIM_CALL_QUERY, false);
  int error = verdict.error;
  for (const kl_file *other = sim->files; other != NULL && error == 0; other = other->next) {
    bool excludes = mode == KL_LOCK_EXCLUSIVE || other->lock == KL_LOCK_EXCLUSIVE;
    if (other != file && other->node == file->node && other->locked && excludes) error = EAGAIN;
  }
  if (verdict.crash) kl_sim_crash(sim);
  if (error == 0) {
    file->locked = true;
    file->lock = mode;
  } else {
    status = sim_fail(sim, error, file->path, "cannot lock", err);
  }
  kl_mutex_unlock(&sim->mutex);
  return status;
}

void kl_sim_os_init(kl_os *os) {
  os->open = sim_open;
  os->close = sim_close;
  os->read = sim_read;
  os->write = sim_write;
  os->overwrite = sim_overwrite;
  os->sync = sim_sync;
  os->size = sim_size;
  os->truncate = sim_truncate;
  os->allocate = sim_allocate;
  os->lock = sim_lock;
  os->stat = sim_stat;
  os->remove = sim_remove;
  os->rename = sim_rename;
  os->sync_directory = sim_sync_directory;
  os->working_directory = sim_working_directory;
}
