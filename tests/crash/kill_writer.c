/* tests/crash/kill_writer.c: the program that gets killed. It writes until SIGKILL, over the public C API.
 *
 * kill_writer PATH THREADS DURABILITY: opens PATH, starts THREADS threads, each going on after the last transaction that the database
 * has of it, and reports each acknowledged commit on standard output as a kill_ack. Ends by itself only on an error. */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "keel/keel.h"
#include "kill_model.h"

typedef struct kill_thread {
  keel_db db;
  keel_keyspace events, state, shared;
  uint64_t index;
  uint32_t durability;
  pthread_t thread;
} kill_thread;

static keel_status kill_read_u64(keel_txn txn, keel_keyspace keyspace, const void *key, size_t size, uint64_t *out,
                                 keel_error *error) {
  size_t got = 0;
  *out = 0;
  keel_status status = keel_get_copy(txn, keyspace, key, size, out, sizeof *out, &got, error);
  return status == KEEL_E_NOT_FOUND ? KEEL_OK : status;
}

static keel_status kill_write(const kill_thread *self, keel_txn txn, uint64_t n, keel_error *error) {
  static _Thread_local uint8_t value[KILL_VALUE_MAX];
  uint8_t key[KILL_EVENT_KEY], twin[2] = {(uint8_t)self->index, '\''};
  kill_event_key(self->index, n, key);
  size_t size = kill_event_value(self->index, n, value);
  keel_status status = keel_put(txn, self->events, key, sizeof key, value, size, error);
  if (status == KEEL_OK && n > KILL_WINDOW) {
    kill_event_key(self->index, n - KILL_WINDOW, key);
    status = keel_del(txn, self->events, key, sizeof key, error);
  }
  uint64_t inverse = ~n;
  if (status == KEEL_OK) status = keel_put(txn, self->state, twin, 1, &n, sizeof n, error);
  if (status == KEEL_OK) status = keel_put(txn, self->state, twin, 2, &inverse, sizeof inverse, error);
  if (status == KEEL_OK && n % 4 == 0) {
    uint64_t counter;
    status = kill_read_u64(txn, self->shared, "n", 1, &counter, error);
    counter++;
    if (status == KEEL_OK) status = keel_put(txn, self->shared, "n", 1, &counter, sizeof counter, error);
  }
  return status;
}

/* One transaction, again after each conflict. */
static keel_status kill_commit(const kill_thread *self, uint64_t n, keel_error *error) {
  keel_txn_options options = KEEL_TXN_OPTIONS_INIT;
  options.durability = self->durability;
  for (;;) {
    keel_txn txn = 0;
    keel_status status = keel_begin(self->db, &options, &txn, error);
    if (status != KEEL_OK) return status;
    status = kill_write(self, txn, n, error);
    if (status == KEEL_OK) {
      status = keel_commit(txn, NULL, error);
    } else {
      keel_rollback(txn, NULL);
    }
    if (status != KEEL_E_CONFLICT) return status;
  }
}

static keel_status kill_start_at(const kill_thread *self, uint64_t *out_n, keel_error *error) {
  uint8_t key = (uint8_t)self->index;
  keel_txn txn = 0;
  keel_status status = keel_begin(self->db, NULL, &txn, error);
  if (status != KEEL_OK) return status;
  status = kill_read_u64(txn, self->state, &key, 1, out_n, error);
  keel_rollback(txn, NULL);
  return status;
}

static void *kill_run(void *context) {
  const kill_thread *self = context;
  keel_error error = {0};
  kill_ack ack = {.thread = self->index};
  keel_status status = kill_start_at(self, &ack.n, &error);
  while (status == KEEL_OK) {
    ack.n++;
    status = kill_commit(self, ack.n, &error);
    if (status == KEEL_OK && write(STDOUT_FILENO, &ack, sizeof ack) != (ssize_t)sizeof ack) break;
  }
  fprintf(stderr, "kill_writer: thread %llu ends: %s\n", (unsigned long long)self->index, error.message);
  exit(3);
}

int main(int argc, char **argv) {
  if (argc != 4) {
    fputs("usage: kill_writer PATH THREADS DURABILITY\n", stderr);
    return 2;
  }
  uint64_t threads = strtoull(argv[2], NULL, 10);
  if (threads < 1 || threads > KILL_THREADS_MAX) return 2;
  keel_error error = {0};
  kill_thread all[KILL_THREADS_MAX] = {{0}};
  kill_thread first = {.durability = (uint32_t)strtoul(argv[3], NULL, 10)};
  keel_options options = KEEL_OPTIONS_INIT;
  options.delta_size = UINT64_C(16384) << ((unsigned)getpid() % 8); /* some are killed in the middle of a drain */
  options.log_segment_size = 65536;
  bool good = keel_open(argv[1], &options, &first.db, &error) == KEEL_OK &&
              keel_keyspace_open(first.db, "events", 6, NULL, &first.events, &error) == KEEL_OK &&
              keel_keyspace_open(first.db, "state", 5, NULL, &first.state, &error) == KEEL_OK &&
              keel_keyspace_open(first.db, "shared", 6, NULL, &first.shared, &error) == KEEL_OK;
  if (!good) {
    fprintf(stderr, "kill_writer: %s\n", error.message);
    return 3;
  }
  for (uint64_t i = 0; i < threads; i++) {
    all[i] = first;
    all[i].index = i;
    if (pthread_create(&all[i].thread, NULL, kill_run, &all[i]) != 0) return 3;
  }
  pthread_join(all[0].thread, NULL);
  return 3;
}
