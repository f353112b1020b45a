/* The simulated os stays sound when several threads use one machine. */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "cmocka_all.h"
#include "core/os/sim/sim.h"
#include "core/os/thread.h"

enum { THREADS = 3, ROUNDS = 300 };

typedef struct worker {
  kl_sim *sim;
  int number;
  atomic_bool failed;
} worker;

/* A file of its own, checked byte for byte, and one that all write to. */
static void work(void *context) {
  worker *me = context;
  kl_os *os = kl_sim_os(me->sim);
  char path[32], text[32], read[32];
  kl_file *own = NULL, *shared = NULL;
  (void)snprintf(path, sizeof path, "/own-%d", me->number);
  bool good = kl_os_open(os, path, KL_OPEN_WRITE | KL_OPEN_CREATE, 0, &own, NULL) == KL_OK &&
              kl_os_open(os, "/shared", KL_OPEN_WRITE | KL_OPEN_CREATE, 0, &shared, NULL) == KL_OK;
  for (int i = 0; i < ROUNDS && good; i++) {
    size_t size = 0;
    int length = snprintf(text, sizeof text, "thread %d round %d", me->number, i);
    kl_slice part = kl_slice_make(text, (size_t)length);
    good = kl_os_write(os, own, &part, 1, (uint64_t)i * 100, NULL) == KL_OK &&
           kl_os_write(os, shared, &part, 1, (uint64_t)(i % 7) * 10, NULL) == KL_OK &&
           (i % 5 != 0 || kl_os_sync(os, shared, true, NULL) == KL_OK) &&
           (i % 50 != 0 || kl_os_sync_directory(os, path, NULL) == KL_OK) &&
           kl_os_read(os, own, read, (size_t)length, (uint64_t)i * 100, &size, NULL) == KL_OK &&
           size == (size_t)length && memcmp(read, text, size) == 0;
    kl_free(os->allocator, kl_alloc(os->allocator, 10), 10);
    kl_os_random(os, read, sizeof read);
    kl_os_sleep_ns(os, 1);
  }
  kl_os_close(os, own);
  kl_os_close(os, shared);
  if (!good) atomic_store(&me->failed, true);
}

/* Clones of a machine that is in use, and machines that share contents, on another thread. */
static void clone_often(void *context) {
  worker *me = context;
  for (int i = 0; i < ROUNDS / 10; i++) {
    kl_sim *clone = NULL;
    char byte;
    size_t size;
    bool good = kl_sim_clone(me->sim, &clone) == KL_OK && kl_sim_poke(clone, "/shared", 0, "poked", 5) == KL_OK;
    if (good) {
      kl_sim_restart(clone, (uint64_t)i);
      (void)kl_sim_peek(clone, "/own-0", 0, &byte, 1, &size);
      kl_sim_free(clone);
    }
    if (!good) atomic_store(&me->failed, true);
  }
}

static void test_threads_share_a_machine(void **state) {
  (void)state;
  kl_sim *sim = NULL;
  worker workers[THREADS + 1];
  kl_thread *threads[THREADS + 1];
  assert_int_equal(kl_sim_new(1, &sim, NULL), KL_OK);
  for (int i = 0; i <= THREADS; i++) {
    workers[i].sim = sim;
    workers[i].number = i;
    atomic_init(&workers[i].failed, false);
    assert_int_equal(
        kl_thread_start(kl_os_posix(), "test", i < THREADS ? work : clone_often, &workers[i], &threads[i], NULL),
        KL_OK);
  }
  for (int i = 0; i <= THREADS; i++) {
    kl_thread_join(threads[i]);
    assert_false(atomic_load(&workers[i].failed));
  }
  assert_int_equal(kl_sim_live_bytes(sim), 0);
  kl_sim_free(sim);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_threads_share_a_machine)};
  return cmocka_run_group_tests_name("os_sim_threads", tests, NULL, NULL);
}
