/* core/os/sim/sim_names.c: directory entries. See sim_private.h.
 *
 * Directories are not listed: each exists, and a path belongs to the one that its text names. What is pending is a list
 * of whole steps (a rename is one), of which a crash keeps any subset. */
#include <string.h>

#include "../path.h"
#include "sim_private.h"

uint32_t kl_sim_names_find(const kl_sim_names *names, const char *path) {
  for (size_t i = 0; i < names->count; i++) {
    if (strcmp(names->items[i].path, path) == 0) return (uint32_t)i;
  }
  return KL_SIM_NONE;
}

/* Room for one more item of `item_size` in an array of the C library's allocator. */
static bool sim_names_room(void **items, size_t count, size_t *capacity, size_t item_size) {
  if (count < *capacity) return true;
  size_t wanted = *capacity * 2 + 8;
  void *grown = kl_realloc(kl_allocator_libc(), *items, *capacity * item_size, wanted * item_size);
  if (grown == NULL) return false;
  *items = grown;
  *capacity = wanted;
  return true;
}

bool kl_sim_names_intern(kl_sim_names *names, const char *path, uint32_t *out) {
  *out = kl_sim_names_find(names, path);
  if (*out != KL_SIM_NONE) return true;
  void *items = names->items;
  bool room = sim_names_room(&items, names->count, &names->capacity, sizeof *names->items);
  names->items = items;
  if (!room) return false;
  size_t size = strlen(path) + 1;
  char *copy = kl_alloc(kl_allocator_libc(), size);
  if (copy == NULL) return false;
  memcpy(copy, path, size);
  names->items[names->count] =
      (kl_sim_name){.path = copy, .path_size = size, .current = KL_SIM_NONE, .durable = KL_SIM_NONE};
  *out = (uint32_t)names->count++;
  return true;
}

bool kl_sim_names_change(kl_sim_names *names, uint64_t operation, uint32_t from, uint32_t to, uint32_t node) {
  void *pending = names->pending;
  bool room = sim_names_room(&pending, names->pending_count, &names->pending_capacity, sizeof *names->pending);
  names->pending = pending;
  if (!room) return false;
  names->pending[names->pending_count++] = (kl_sim_entry_change){operation, from, to, node};
  if (from != KL_SIM_NONE) names->items[from].current = KL_SIM_NONE;
  if (to != KL_SIM_NONE) names->items[to].current = node;
  return true;
}

void kl_sim_names_apply(kl_sim_names *names, const kl_sim_entry_change *change) {
  /* The entry may name another file when steps before this one were lost: then there is nothing to take away. */
  if (change->from != KL_SIM_NONE && names->items[change->from].durable == change->node) {
    names->items[change->from].durable = KL_SIM_NONE;
  }
  if (change->to != KL_SIM_NONE) names->items[change->to].durable = change->node;
}

static bool sim_names_share_directory(const char *a, const char *b) {
  size_t size = kl_path_directory_size(a);
  return size == kl_path_directory_size(b) && memcmp(a, b, size) == 0;
}

void kl_sim_names_sync(kl_sim_names *names, const char *path) {
  size_t kept = 0;
  for (size_t i = 0; i < names->pending_count; i++) {
    kl_sim_entry_change change = names->pending[i];
    uint32_t name = change.from != KL_SIM_NONE ? change.from : change.to;
    if (sim_names_share_directory(names->items[name].path, path)) {
      kl_sim_names_apply(names, &change);
    } else {
      names->pending[kept++] = change;
    }
  }
  names->pending_count = kept;
}

bool kl_sim_names_use(const kl_sim_names *names, uint32_t node) {
  for (size_t i = 0; i < names->count; i++) {
    if (names->items[i].current == node || names->items[i].durable == node) return true;
  }
  for (size_t i = 0; i < names->pending_count; i++) {
    if (names->pending[i].node == node) return true;
  }
  return false;
}

bool kl_sim_names_clone(const kl_sim_names *from, kl_sim_names *to) {
  for (size_t i = 0; i < from->count; i++) {
    uint32_t name;
    if (!kl_sim_names_intern(to, from->items[i].path, &name)) return false;
    to->items[name].current = from->items[i].current;
    to->items[name].durable = from->items[i].durable;
    to->items[name].directory = from->items[i].directory;
  }
  if (from->pending_count == 0) return true;
  to->pending = kl_alloc(kl_allocator_libc(), from->pending_count * sizeof *to->pending);
  if (to->pending == NULL) return false;
  memcpy(to->pending, from->pending, from->pending_count * sizeof *to->pending);
  to->pending_count = to->pending_capacity = from->pending_count;
  return true;
}

void kl_sim_names_free(kl_sim_names *names) {
  for (size_t i = 0; i < names->count; i++) {
    kl_free(kl_allocator_libc(), names->items[i].path, names->items[i].path_size);
  }
  kl_free(kl_allocator_libc(), names->items, names->capacity * sizeof *names->items);
  kl_free(kl_allocator_libc(), names->pending, names->pending_capacity * sizeof *names->pending);
  *names = (kl_sim_names){NULL, 0, 0, NULL, 0, 0};
}
