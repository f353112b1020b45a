/* core/os/sim/sim_machine.c: the machine around the disk: clock, random bytes, process, memory. */
#include <stdio.h>

#include "sim_private.h"

#define SIM_BOOT_NS UINT64_C(1000000000)          /* the monotonic clock at the start: not 0, which programs reserve */
#define SIM_WALL_NS UINT64_C(1700000000000000000) /* the wall clock is so far ahead of it: November 2023 */
#define SIM_PHYSICAL_MEMORY (UINT64_C(1) << 30)

static kl_sim *sim_machine_of(kl_os *os) {
  return (kl_sim *)(void *)os;
}

static uint64_t sim_monotonic_ns(kl_os *os) {
  kl_sim *sim = sim_machine_of(os);
  kl_mutex_lock(&sim->mutex);
  uint64_t now = sim->clock_ns;
  kl_mutex_unlock(&sim->mutex);
  return now;
}

static uint64_t sim_wall_ns(kl_os *os) {
  return SIM_WALL_NS + sim_monotonic_ns(os);
}

static void sim_sleep_ns(kl_os *os, uint64_t ns) {
  kl_sim_advance_clock(sim_machine_of(os), ns);
}

void kl_sim_advance_clock(kl_sim *sim, uint64_t ns) {
  kl_mutex_lock(&sim->mutex);
  sim->clock_ns += ns;
  kl_mutex_unlock(&sim->mutex);
}

static void sim_random(kl_os *os, void *out, size_t size) {
  kl_sim *sim = sim_machine_of(os);
  kl_mutex_lock(&sim->mutex);
  kl_rng_fill(&sim->program_rng, out, size);
  kl_mutex_unlock(&sim->mutex);
}

/* Another number after each restart, as a program that comes back has. */
static uint64_t sim_process_id(kl_os *os) {
  kl_sim *sim = sim_machine_of(os);
  kl_mutex_lock(&sim->mutex);
  uint64_t id = 1000 + sim->boots;
  kl_mutex_unlock(&sim->mutex);
  return id;
}

static void sim_process_name(kl_os *os, char *out, size_t capacity) {
  (void)os;
  (void)snprintf(out, capacity, "simulation");
}

static uint64_t sim_physical_memory(kl_os *os) {
  (void)os;
  return SIM_PHYSICAL_MEMORY;
}

static uint32_t sim_processors(kl_os *os) {
  (void)os;
  return 1;
}

static void *sim_alloc(kl_allocator *face, size_t size, size_t align) {
  kl_sim_allocator *allocator = (kl_sim_allocator *)(void *)face;
  uint64_t number = atomic_fetch_add(&allocator->allocations, 1) + 1;
  if (number == atomic_load(&allocator->fail_at)) return NULL;
  void *memory = kl_alloc_aligned(kl_allocator_libc(), size, align);
  if (memory != NULL) atomic_fetch_add(&allocator->live_bytes, size);
  return memory;
}

static void sim_free(kl_allocator *face, void *memory, size_t size) {
  kl_sim_allocator *allocator = (kl_sim_allocator *)(void *)face;
  if (memory == NULL) return;
  atomic_fetch_sub(&allocator->live_bytes, size);
  kl_free(kl_allocator_libc(), memory, size);
}

/* Real memory, as for allocations: what is simulated is that it runs out. Taking address space and committing both
 * count as allocations, and the address space counts as live. */
static kl_status sim_memory_step(kl_sim *sim, uint64_t size, kl_error *err) {
  uint64_t number = atomic_fetch_add(&sim->allocator.allocations, 1) + 1;
  if (number != atomic_load(&sim->allocator.fail_at)) return KL_OK;
  return kl_fail(err, KL_E_NO_MEMORY, "memory of %llu bytes is refused; free some memory or raise the limit",
                 (unsigned long long)size);
}

static kl_status sim_map(kl_os *os, uint64_t size, void **out_memory, kl_error *err) {
  kl_sim *sim = sim_machine_of(os);
  kl_status status = sim_memory_step(sim, size, err);
  if (status == KL_OK) status = kl_os_map(kl_os_posix(), size, out_memory, err);
  if (status == KL_OK) atomic_fetch_add(&sim->allocator.live_bytes, size);
  return status;
}

static void sim_unmap(kl_os *os, void *memory, uint64_t size) {
  if (memory == NULL) return;
  atomic_fetch_sub(&sim_machine_of(os)->allocator.live_bytes, size);
  kl_os_unmap(kl_os_posix(), memory, size);
}

static kl_status sim_commit(kl_os *os, void *memory, uint64_t size, bool huge, kl_error *err) {
  kl_status status = sim_memory_step(sim_machine_of(os), size, err);
  return status == KL_OK ? kl_os_commit(kl_os_posix(), memory, size, huge, err) : status;
}

static void sim_release(kl_os *os, void *memory, uint64_t size) {
  (void)os;
  kl_os_release(kl_os_posix(), memory, size);
}

void kl_sim_fail_allocation(kl_sim *sim, uint64_t n) {
  atomic_store(&sim->allocator.fail_at, n == 0 ? 0 : atomic_load(&sim->allocator.allocations) + n);
}

uint64_t kl_sim_allocations(const kl_sim *sim) {
  return atomic_load(&sim->allocator.allocations);
}
uint64_t kl_sim_live_bytes(const kl_sim *sim) {
  return atomic_load(&sim->allocator.live_bytes);
}

static void sim_machine_wire(kl_sim *sim) {
  sim->allocator.face.alloc = sim_alloc;
  sim->allocator.face.free = sim_free;
  sim->allocator.face.reuse = NULL;
  sim->os.allocator = &sim->allocator.face;
  sim->os.has_threads = false;
  sim->os.monotonic_ns = sim_monotonic_ns;
  sim->os.monotonic_coarse_ns = sim_monotonic_ns;
  sim->os.wall_ns = sim_wall_ns;
  sim->os.sleep_ns = sim_sleep_ns;
  sim->os.random = sim_random;
  sim->os.process_id = sim_process_id;
  sim->os.process_name = sim_process_name;
  sim->os.physical_memory = sim_physical_memory;
  sim->os.processors = sim_processors;
  sim->os.map = sim_map;
  sim->os.unmap = sim_unmap;
  sim->os.commit = sim_commit;
  sim->os.release = sim_release;
}

void kl_sim_machine_init(kl_sim *sim, uint64_t seed) {
  sim_machine_wire(sim);
  sim->seed = seed;
  sim->clock_ns = SIM_BOOT_NS;
  kl_rng_init(&sim->fault_rng, seed);
  kl_rng_init(&sim->program_rng, kl_mix64(seed));
}

void kl_sim_machine_clone(const kl_sim *from, kl_sim *to) {
  sim_machine_wire(to);
  to->seed = from->seed;
  to->clock_ns = from->clock_ns;
  to->fault_rng = from->fault_rng;
  to->program_rng = from->program_rng;
}
