/* core/os/sim/sim.c: the simulated machine as a whole. See sim.h and sim_private.h. */
#include "sim.h"

#include <errno.h>
#include <string.h>

#include "../error.h"
#include "sim_private.h"

enum { SIM_TEAR_BYTES = 512 };
#define SIM_CALL_NS UINT64_C(1000)   /* virtual time that a call takes */
#define SIM_SYNC_NS UINT64_C(100000) /* and one that syncs */

/* ---- lifetime ---- */

static kl_sim *sim_new_empty(kl_error *err) {
  kl_sim *sim = kl_alloc_aligned(kl_allocator_libc(), sizeof *sim, _Alignof(kl_sim));
  if (sim == NULL) {
    (void)kl_fail(err, KL_E_NO_MEMORY, "a simulated machine cannot be made; free some memory");
    return NULL;
  }
  if (kl_mutex_init(&sim->mutex, err) != KL_OK) {
    kl_free(kl_allocator_libc(), sim, sizeof *sim);
    return NULL;
  }
  kl_sim_os_init(&sim->os);
  sim->tear_bytes = SIM_TEAR_BYTES;
  return sim;
}

kl_status kl_sim_new(uint64_t seed, kl_sim **out_sim, kl_error *err) {
  kl_sim *sim = sim_new_empty(err);
  if (sim == NULL) return KL_E_NO_MEMORY;
  kl_sim_machine_init(sim, seed);
  *out_sim = sim;
  return KL_OK;
}

void kl_sim_free(kl_sim *sim) {
  if (sim == NULL) return;
  for (size_t i = 0; i < sim->node_count; i++) kl_sim_node_free(sim->nodes[i]);
  kl_free(kl_allocator_libc(), sim->nodes, sim->node_capacity * sizeof *sim->nodes);
  kl_sim_names_free(&sim->names);
  kl_mutex_destroy(&sim->mutex);
  kl_free(kl_allocator_libc(), sim, sizeof *sim);
}

kl_os *kl_sim_os(kl_sim *sim) {
  return &sim->os;
}

static bool sim_clone_disk(const kl_sim *from, kl_sim *to) {
  if (!kl_sim_names_clone(&from->names, &to->names)) return false;
  if (from->node_count == 0) return true;
  to->nodes = kl_alloc(kl_allocator_libc(), from->node_count * sizeof(kl_sim_node *));
  if (to->nodes == NULL) return false;
  to->node_count = to->node_capacity = from->node_count;
  for (size_t i = 0; i < from->node_count; i++) {
    if (from->nodes[i] == NULL) continue;
    to->nodes[i] = kl_sim_node_clone(from->nodes[i]);
    if (to->nodes[i] == NULL) return false;
  }
  return true;
}

kl_status kl_sim_clone(const kl_sim *sim, kl_sim **out_sim) {
  kl_sim *from = (kl_sim *)(uintptr_t)sim; /* its mutex is taken; nothing else of it changes */
  kl_sim *clone = sim_new_empty(NULL);
  if (clone == NULL) return KL_E_NO_MEMORY;
  kl_mutex_lock(&from->mutex);
  kl_sim_machine_clone(from, clone);
  clone->operations = from->operations;
  clone->fault = from->fault;
  clone->fault_at = from->fault_at;
  clone->crashed = from->crashed;
  clone->struck = from->struck;
  clone->full = from->full;
  clone->exhausted = from->exhausted;
  clone->boots = from->boots;
  clone->tear_bytes = from->tear_bytes;
  clone->garbage = from->garbage;
  bool ok = sim_clone_disk(from, clone);
  kl_mutex_unlock(&from->mutex);
  if (!ok) {
    kl_sim_free(clone);
    return KL_E_NO_MEMORY;
  }
  kl_sim_collect(clone); /* files that were only held open */
  *out_sim = clone;
  return KL_OK;
}

/* ---- files without a name ---- */

bool kl_sim_node_new(kl_sim *sim, uint32_t *out_node) {
  if (sim->node_count == sim->node_capacity) {
    size_t capacity = sim->node_capacity * 2 + 8;
    kl_sim_node **grown =
        kl_realloc(kl_allocator_libc(), sim->nodes, sim->node_capacity * sizeof *grown, capacity * sizeof *grown);
    if (grown == NULL) return false;
    sim->nodes = grown;
    sim->node_capacity = capacity;
  }
  kl_sim_node *node = kl_alloc(kl_allocator_libc(), sizeof *node);
  if (node == NULL) return false;
  *out_node = (uint32_t)sim->node_count;
  sim->nodes[sim->node_count++] = node;
  return true;
}

static bool sim_node_is_open(const kl_sim *sim, uint32_t node) {
  for (const kl_file *file = sim->files; file != NULL; file = file->next) {
    if (file->node == node) return true;
  }
  return false;
}

void kl_sim_collect(kl_sim *sim) {
  for (size_t i = 0; i < sim->node_count; i++) {
    uint32_t node = (uint32_t)i;
    if (sim->nodes[i] == NULL || kl_sim_names_use(&sim->names, node) || sim_node_is_open(sim, node)) continue;
    kl_sim_node_free(sim->nodes[i]);
    sim->nodes[i] = NULL;
  }
}

/* ---- operations and faults ---- */

void kl_sim_crash(kl_sim *sim) {
  sim->crashed = true;
}

int kl_sim_exhaust(kl_sim *sim) {
  sim->exhausted = true;
  return ENOMEM;
}

/* Whether a fault that lasts strikes a call that is of its kind. */
static bool sim_fault_strikes(kl_sim *sim, kl_sim_fault fault, bool fits) {
  bool strikes = sim->fault == fault && sim->operations >= sim->fault_at && fits;
  if (strikes) sim->struck = true;
  return strikes;
}

/* Likewise for one that strikes once. */
static bool sim_fault_spend(kl_sim *sim, kl_sim_fault fault, bool fits) {
  bool strikes = sim_fault_strikes(sim, fault, fits);
  if (strikes) sim->fault = KL_SIM_FAULT_NONE;
  return strikes;
}

kl_sim_verdict kl_sim_step(kl_sim *sim, kl_sim_call call, bool syncs) {
  kl_sim_verdict verdict = {0, false, false, false};
  if (sim->exhausted || sim->crashed) {
    verdict.error = sim->exhausted ? ENOMEM : EIO;
    return verdict;
  }
  bool changes = call == KL_SIM_CALL_WRITE || call == KL_SIM_CALL_CHANGE;
  sim->operations++;
  sim->clock_ns += syncs ? SIM_SYNC_NS : SIM_CALL_NS;
  if (sim_fault_spend(sim, KL_SIM_FAULT_IO_ERROR, true)) verdict.error = EIO;
  if (sim_fault_spend(sim, KL_SIM_FAULT_CRASH, true)) {
    verdict.crash = true;
    verdict.error = EIO;
  }
  if (sim_fault_strikes(sim, KL_SIM_FAULT_READ_ONLY, changes)) verdict.error = EROFS;
  if (sim->fault == KL_SIM_FAULT_DISK_FULL && sim->operations >= sim->fault_at) sim->full = true;
  verdict.sync_fails =
      sim_fault_spend(sim, KL_SIM_FAULT_SYNC_FAILS, syncs) || sim_fault_strikes(sim, KL_SIM_FAULT_SYNC_BROKEN, syncs);
  verdict.short_call = sim_fault_spend(sim, KL_SIM_FAULT_SHORT_READ, call == KL_SIM_CALL_READ) ||
                       sim_fault_spend(sim, KL_SIM_FAULT_SHORT_WRITE, call == KL_SIM_CALL_WRITE);
  return verdict;
}

void kl_sim_inject(kl_sim *sim, kl_sim_fault fault, uint64_t at_operation) {
  kl_mutex_lock(&sim->mutex);
  sim->fault = fault;
  sim->fault_at = at_operation;
  sim->struck = sim->full = false;
  kl_mutex_unlock(&sim->mutex);
}

bool kl_sim_fault_waits(const kl_sim *sim) {
  kl_sim *locked = (kl_sim *)(uintptr_t)sim;
  kl_mutex_lock(&locked->mutex);
  bool waits = locked->fault != KL_SIM_FAULT_NONE && !locked->struck;
  kl_mutex_unlock(&locked->mutex);
  return waits;
}

void kl_sim_give_space(kl_sim *sim) {
  kl_mutex_lock(&sim->mutex);
  if (sim->fault == KL_SIM_FAULT_DISK_FULL) sim->fault = KL_SIM_FAULT_NONE;
  sim->full = false;
  kl_mutex_unlock(&sim->mutex);
}

void kl_sim_set_tear_bytes(kl_sim *sim, uint32_t tear_bytes) {
  kl_mutex_lock(&sim->mutex);
  sim->tear_bytes = tear_bytes != 0 ? tear_bytes : SIM_TEAR_BYTES;
  kl_mutex_unlock(&sim->mutex);
}

void kl_sim_set_garbage(kl_sim *sim, bool garbage) {
  kl_mutex_lock(&sim->mutex);
  sim->garbage = garbage;
  kl_mutex_unlock(&sim->mutex);
}

uint64_t kl_sim_operations(const kl_sim *sim) {
  kl_sim *locked = (kl_sim *)(uintptr_t)sim;
  kl_mutex_lock(&locked->mutex);
  uint64_t operations = locked->operations;
  kl_mutex_unlock(&locked->mutex);
  return operations;
}

bool kl_sim_crashed(const kl_sim *sim) {
  kl_sim *locked = (kl_sim *)(uintptr_t)sim;
  kl_mutex_lock(&locked->mutex);
  bool crashed = locked->crashed;
  kl_mutex_unlock(&locked->mutex);
  return crashed;
}

void kl_sim_restart(kl_sim *sim, uint64_t choice) {
  kl_sim_plan plan;
  bool ok = true;
  kl_mutex_lock(&sim->mutex);
  while (sim->files != NULL) { /* they belong to a program that is no more; it still has to free them */
    kl_file *file = sim->files;
    sim->files = file->next;
    file->next = file->previous = NULL;
    file->node = KL_SIM_NONE;
  }
  kl_sim_plan_init(&plan, sim, choice);
  kl_sim_settle_names(&sim->names, &plan);
  kl_sim_collect(sim);
  for (size_t i = 0; i < sim->node_count; i++) {
    if (sim->nodes[i] != NULL && sim->nodes[i]->pending.count > 0) ok = kl_sim_settle_node(sim->nodes[i], &plan) && ok;
  }
  sim->crashed = sim->full = false;
  sim->fault = KL_SIM_FAULT_NONE;
  sim->boots++;
  if (!ok) (void)kl_sim_exhaust(sim);
  kl_mutex_unlock(&sim->mutex);
}

/* ---- from outside the simulated program ---- */

/* The file of that name; made, durably, when there is none. */
static bool sim_poke_find(kl_sim *sim, const char *path, kl_sim_node **out) {
  uint32_t name, node;
  if (!kl_sim_names_intern(&sim->names, path, &name)) return false;
  node = sim->names.items[name].current;
  if (node == KL_SIM_NONE) {
    if (!kl_sim_node_new(sim, &node)) return false;
    sim->names.items[name].current = sim->names.items[name].durable = node;
  }
  *out = sim->nodes[node];
  return true;
}

kl_status kl_sim_poke(kl_sim *sim, const char *path, uint64_t offset, const void *bytes, size_t size) {
  kl_slice part = kl_slice_make(bytes, size);
  kl_sim_bytes *copy;
  kl_sim_node *node;
  if (offset > KL_SIM_FILE_MAX || size > KL_SIM_FILE_MAX - offset) return KL_E_INVALID;
  kl_mutex_lock(&sim->mutex);
  bool ok = sim_poke_find(sim, path, &node);
  if (ok && size > 0) {
    ok = kl_sim_bytes_new(&part, 1, size, &copy) && kl_sim_node_write(node, sim->operations, offset, copy, size) &&
         kl_sim_node_sync_range(node, offset, size);
  }
  if (!ok) (void)kl_sim_exhaust(sim);
  kl_mutex_unlock(&sim->mutex);
  return ok ? KL_OK : KL_E_NO_MEMORY;
}

kl_status kl_sim_peek(kl_sim *sim, const char *path, uint64_t offset, void *out, size_t size, size_t *out_read) {
  kl_status status = KL_E_NO_FILE;
  *out_read = 0;
  kl_mutex_lock(&sim->mutex);
  uint32_t name = kl_sim_names_find(&sim->names, path);
  if (name != KL_SIM_NONE && sim->names.items[name].current != KL_SIM_NONE) {
    *out_read = kl_sim_image_read(&sim->nodes[sim->names.items[name].current]->current, offset, out, size);
    status = KL_OK;
  }
  kl_mutex_unlock(&sim->mutex);
  return status;
}

kl_status kl_sim_make_directory(kl_sim *sim, const char *path) {
  uint32_t name;
  kl_mutex_lock(&sim->mutex);
  kl_status status = kl_sim_names_intern(&sim->names, path, &name) ? KL_OK : KL_E_NO_MEMORY;
  if (status == KL_OK && sim->names.items[name].current != KL_SIM_NONE) status = KL_E_EXISTS;
  if (status == KL_OK) sim->names.items[name].directory = true;
  kl_mutex_unlock(&sim->mutex);
  return status;
}
