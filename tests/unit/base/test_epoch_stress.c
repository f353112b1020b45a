/* Epochs by several threads: writers replace shared objects and retire the old ones, readers follow the links under a
 * guard. A reclaimed object is overwritten and freed, so that a reader that still sees it finds wrong contents, and the
 * sanitizers report it. At the end each retired object has been reclaimed exactly once. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "cmocka_all.h"
#include "core/base/epoch.h"
#include "core/base/rng.h"
#include "seed.h"

enum { LINKS = 8, WRITERS = 2, READERS = 3, REPLACEMENTS = 200000, MAGIC = 0x5afe, DEAD = 0xdead };

typedef struct node {
  kl_epoch_entry entry; /* first: reclaim casts back */
  uint32_t magic;
  uint64_t number, check; /* check == ~number while the node lives */
} node;

static struct {
  kl_epoch *epoch;
  _Atomic(node *) links[LINKS];
  atomic_bool stop;
  _Atomic uint64_t made, reclaimed, wrong, reads;
  uint64_t seed;
} shared;

static void reclaim_node(kl_epoch_entry *entry, void *context) {
  (void)context;
  node *n = (node *)entry;
  if (n->magic != MAGIC) atomic_fetch_add(&shared.wrong, 1); /* reclaimed twice */
  n->magic = DEAD;
  n->check = n->number;
  free(n);
  atomic_fetch_add_explicit(&shared.reclaimed, 1, memory_order_relaxed);
}

static node *make_node(void) {
  node *n = calloc(1, sizeof *n);
  if (n == NULL) abort();
  n->entry.reclaim = reclaim_node;
  n->magic = MAGIC;
  n->number = atomic_fetch_add_explicit(&shared.made, 1, memory_order_relaxed);
  n->check = ~n->number;
  return n;
}

static void *write_links(void *context) {
  kl_rng rng;
  kl_rng_init(&rng, shared.seed + *(const uint64_t *)context);
  for (int i = 0; i < REPLACEMENTS; i++) {
    node *old = atomic_exchange_explicit(&shared.links[kl_rng_below(&rng, LINKS)], make_node(), memory_order_acq_rel);
    kl_epoch_retire(shared.epoch, &old->entry);
    if (kl_rng_below(&rng, 100) == 0) (void)kl_epoch_collect(shared.epoch);
    if (kl_rng_below(&rng, 1000) == 0) sched_yield();
  }
  return NULL;
}

static void look_at(const node *n) {
  if (n->magic != MAGIC || n->check != ~n->number) atomic_fetch_add(&shared.wrong, 1);
}

static void *read_links(void *context) {
  kl_rng rng;
  kl_rng_init(&rng, shared.seed + *(const uint64_t *)context);
  while (!atomic_load_explicit(&shared.stop, memory_order_relaxed)) {
    kl_epoch_guard guard = kl_epoch_enter(shared.epoch);
    uint64_t link = kl_rng_below(&rng, LINKS);
    const node *n = atomic_load_explicit(&shared.links[link], memory_order_acquire);
    look_at(n);
    if (kl_rng_below(&rng, 64) == 0) sched_yield(); /* hold on to it while the writers go on */
    kl_epoch_guard inner = kl_epoch_enter(shared.epoch);
    look_at(atomic_load_explicit(&shared.links[(link + 1) % LINKS], memory_order_acquire));
    kl_epoch_leave(shared.epoch, inner);
    look_at(n);
    kl_epoch_leave(shared.epoch, guard);
    atomic_fetch_add_explicit(&shared.reads, 1, memory_order_relaxed);
  }
  return NULL;
}

static void test_readers_never_see_what_was_reclaimed(void **state) {
  (void)state;
  shared.seed = test_seed(51);
  assert_int_equal(kl_epoch_new(kl_allocator_libc(), &shared.epoch, NULL), KL_OK);
  for (int i = 0; i < LINKS; i++) atomic_store(&shared.links[i], make_node());
  pthread_t threads[WRITERS + READERS];
  uint64_t numbers[WRITERS + READERS];
  for (int i = 0; i < WRITERS + READERS; i++) {
    numbers[i] = (uint64_t)i;
    assert_int_equal(pthread_create(&threads[i], NULL, i < READERS ? read_links : write_links, &numbers[i]), 0);
  }
  for (int i = READERS; i < WRITERS + READERS; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
  atomic_store(&shared.stop, true);
  for (int i = 0; i < READERS; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
  /* Reclaiming kept pace: it did not all wait for the end. */
  assert_true(atomic_load(&shared.reclaimed) > 0);
  for (int i = 0; i < LINKS; i++) {
    node *last = atomic_load(&shared.links[i]);
    kl_epoch_retire(shared.epoch, &last->entry);
  }
  kl_epoch_free(shared.epoch);
  assert_int_equal(atomic_load(&shared.wrong), 0);
  assert_int_equal(atomic_load(&shared.made), (uint64_t)WRITERS * REPLACEMENTS + LINKS);
  assert_int_equal(atomic_load(&shared.reclaimed), atomic_load(&shared.made));
  assert_true(atomic_load(&shared.reads) > 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_readers_never_see_what_was_reclaimed)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
