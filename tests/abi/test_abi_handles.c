/* tests/abi/test_abi_handles.c: the handle tables from inside: capi/README.md, CAPI-1 ... CAPI-8. The races are for TSan. */
#include "capi/handles.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "seed.h"

enum { MAGIC = 0x5EED0B1E, GONE = 0x0DEAD0DE };

typedef struct thing {
  capi_object object;
  _Atomic(uint32_t) magic;
  uint64_t inside; /* changed by one thread at a time, where exclusive; plain, so that TSan sees it */
} thing;

static _Atomic(uint64_t) things_made, things_destroyed;

static kl_status thing_destroy(capi_object *self, kl_error *err) {
  (void)err;
  thing *t = (thing *)self;
  assert_int_equal(atomic_exchange(&t->magic, GONE), MAGIC);
  atomic_fetch_add(&things_destroyed, 1);
  free(t);
  return KL_OK;
}

static uint64_t make(capi_kind kind) {
  thing *t = calloc(1, sizeof *t);
  assert_non_null(t);
  t->object.destroy = thing_destroy;
  atomic_init(&t->magic, MAGIC);
  atomic_fetch_add(&things_made, 1);
  uint64_t handle = 0;
  kl_error err;
  assert_int_equal(capi_handle_new(kind, &t->object, &handle, &err), KL_OK);
  return handle;
}

static int setup(void **state) {
  (void)state;
  (void)kl_os_posix();
  return 0;
}

/* CAPI-1: a handle is below 2^53, never 0, and carries its kind. */
static void test_shape(void **state) {
  (void)state;
  for (int kind = CAPI_DB; kind <= CAPI_KINDS; kind++) {
    uint64_t handle = make((capi_kind)kind);
    assert_true(handle != 0 && handle < UINT64_C(1) << 53);
    assert_int_equal(capi_handle_kind(handle), kind);
    bool exclusive = kind == CAPI_TXN || kind == CAPI_CURSOR || kind == CAPI_BATCH || kind >= CAPI_CHECK;
    kl_error err;
    if (exclusive) {
      assert_int_equal(capi_close_exclusive((capi_kind)kind, handle, &err), KL_OK);
    } else {
      assert_int_equal(capi_close_shared((capi_kind)kind, handle, &err), KL_OK);
    }
  }
}

/* CAPI-2: a slot that is used again refuses the handles that it had before. */
static void test_stale(void **state) {
  (void)state;
  kl_error err;
  capi_slot *slot;
  uint64_t first = make(CAPI_VIEW);
  assert_int_equal(capi_close_shared(CAPI_VIEW, first, &err), KL_OK);
  uint64_t second = make(CAPI_VIEW);
  assert_int_equal(capi_handle_slot(first), capi_handle_slot(second));
  assert_int_not_equal(first, second);
  assert_int_equal(capi_enter_shared(CAPI_VIEW, first, &slot, &err), KL_E_HANDLE);
  assert_int_equal(capi_close_shared(CAPI_VIEW, first, &err), KL_E_HANDLE);
  assert_int_equal(capi_enter_shared(CAPI_VIEW, second, &slot, &err), KL_OK);
  capi_leave_shared(slot);
  assert_int_equal(capi_close_shared(CAPI_VIEW, second, &err), KL_OK);
}

/* CAPI-3: a transaction that has ended is told from a number that never was one. */
static void test_finished(void **state) {
  (void)state;
  kl_error err;
  capi_slot *slot;
  uint64_t txn = make(CAPI_TXN);
  assert_int_equal(capi_close_exclusive(CAPI_TXN, txn, &err), KL_OK);
  assert_int_equal(capi_enter_exclusive(CAPI_TXN, txn, &slot, &err), KL_E_FINISHED);
  uint64_t next = make(CAPI_TXN);
  assert_int_equal(capi_enter_exclusive(CAPI_TXN, txn, &slot, &err), KL_E_FINISHED);
  uint64_t future = next + (UINT64_C(1) << CAPI_SLOT_BITS);
  assert_int_equal(capi_enter_exclusive(CAPI_TXN, future, &slot, &err), KL_E_HANDLE);
  assert_int_equal(capi_close_exclusive(CAPI_TXN, next, &err), KL_OK);
}

/* CAPI-4: closing while someone is inside destroys when the last one leaves. */
static void test_close_inside(void **state) {
  (void)state;
  kl_error err;
  capi_slot *slot, *other, *none;
  uint64_t handle = make(CAPI_DB);
  assert_int_equal(capi_enter_shared(CAPI_DB, handle, &slot, &err), KL_OK);
  assert_int_equal(capi_enter_shared(CAPI_DB, handle, &other, &err), KL_OK);
  uint64_t destroyed = atomic_load(&things_destroyed);
  assert_int_equal(capi_close_shared(CAPI_DB, handle, &err), KL_OK);
  assert_false(capi_is_open(slot, handle));
  assert_int_equal(capi_close_shared(CAPI_DB, handle, &err), KL_E_HANDLE);
  assert_int_equal(capi_enter_shared(CAPI_DB, handle, &none, &err), KL_E_HANDLE);
  capi_leave_shared(slot);
  assert_int_equal(atomic_load(&things_destroyed), destroyed);
  capi_leave_shared(other);
  assert_int_equal(atomic_load(&things_destroyed), destroyed + 1);
}

/* CAPI-5: one thread inside an exclusive object; the second is refused and changes nothing. */
static void test_exclusive(void **state) {
  (void)state;
  kl_error err;
  capi_slot *slot, *other;
  uint64_t handle = make(CAPI_CURSOR);
  assert_int_equal(capi_enter_exclusive(CAPI_CURSOR, handle, &slot, &err), KL_OK);
  assert_int_equal(capi_enter_exclusive(CAPI_CURSOR, handle, &other, &err), KL_E_CONCURRENT_USE);
  assert_int_equal(capi_close_exclusive(CAPI_CURSOR, handle, &err), KL_E_CONCURRENT_USE);
  capi_leave_exclusive(slot);
  assert_int_equal(capi_enter_exclusive(CAPI_CURSOR, handle, &slot, &err), KL_OK);
  assert_int_equal(capi_end_exclusive(slot, &err), KL_OK);
  assert_int_equal(capi_enter_exclusive(CAPI_CURSOR, handle, &slot, &err), KL_E_HANDLE);
}

/* CAPI-6: a slot whose count is used up is retired, so that no old handle becomes valid again. */
static void test_retired(void **state) {
  (void)state;
  kl_error err;
  uint64_t handle = make(CAPI_BATCH);
  capi_slot *slot = capi_slot_of(CAPI_BATCH, handle);
  assert_non_null(slot);
  assert_int_equal(capi_close_exclusive(CAPI_BATCH, handle, &err), KL_OK);
  atomic_store(&slot->word, (CAPI_COUNT_MAX - 1) << (CAPI_WORD_LIVE_SHIFT + 1));
  uint64_t last = make(CAPI_BATCH);
  assert_ptr_equal(capi_slot_of(CAPI_BATCH, last), slot);
  assert_int_equal(capi_handle_count(last), CAPI_COUNT_MAX);
  assert_true(last < UINT64_C(1) << 53);
  assert_int_equal(capi_close_exclusive(CAPI_BATCH, last, &err), KL_OK);
  uint64_t next = make(CAPI_BATCH);
  assert_ptr_not_equal(capi_slot_of(CAPI_BATCH, next), slot);
  assert_int_equal(capi_enter_exclusive(CAPI_BATCH, last, &slot, &err), KL_E_HANDLE);
  assert_int_equal(capi_close_exclusive(CAPI_BATCH, next, &err), KL_OK);
}

/* The last slot is the last; beyond it KL_E_LIMIT, and the object stays the caller's. */
static void test_limit(void **state) {
  (void)state;
  capi_table *table = &capi_tables[CAPI_KEYSPACE];
  uint64_t keep = make(CAPI_KEYSPACE); /* the free list is empty now */
  uint32_t fresh = atomic_load(&table->fresh);
  atomic_store(&table->fresh, (uint32_t)CAPI_FIRST_SEGMENT * ((1U << CAPI_SEGMENTS) - 1U));
  thing unused = {.object = {thing_destroy}};
  uint64_t handle = 77;
  kl_error err;
  assert_int_equal(capi_handle_new(CAPI_KEYSPACE, &unused.object, &handle, &err), KL_E_LIMIT);
  assert_int_equal(handle, 77);
  atomic_store(&table->fresh, fresh);
  assert_int_equal(capi_close_shared(CAPI_KEYSPACE, keep, &err), KL_OK);
}

/* ---- Races ---- */

enum { THREADS = 4, ROUNDS = 100000, SHARED_HANDLES = 4 };

typedef struct race {
  _Atomic(uint64_t) handles[SHARED_HANDLES];
  _Atomic(uint32_t) entered, refused;
  _Atomic(bool) failed;
} race;

typedef struct racer {
  race *race;
  uint64_t random;
} racer;

static uint64_t next_random(racer *r) {
  r->random = r->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
  return r->random >> 33;
}

/* CAPI-2, CAPI-4: enters what it finds; now and then closes it and puts a new one in its place. */
static void *race_shared(void *context) {
  racer *r = context;
  for (int i = 0; i < ROUNDS; i++) {
    _Atomic(uint64_t) *place = &r->race->handles[next_random(r) % SHARED_HANDLES];
    uint64_t handle = atomic_load(place);
    capi_slot *slot;
    if (next_random(r) % 8 == 0) {
      if (capi_close_shared(CAPI_VIEW, handle, NULL) == KL_OK) atomic_store(place, make(CAPI_VIEW));
    } else if (capi_enter_shared(CAPI_VIEW, handle, &slot, NULL) == KL_OK) {
      thing *t = capi_slot_object(slot);
      if (atomic_load(&t->magic) != MAGIC) atomic_store(&r->race->failed, true);
      capi_leave_shared(slot);
      atomic_fetch_add(&r->race->entered, 1);
    } else {
      atomic_fetch_add(&r->race->refused, 1);
    }
  }
  return NULL;
}

/* CAPI-5. */
static void *race_exclusive(void *context) {
  racer *r = context;
  for (int i = 0; i < ROUNDS; i++) {
    _Atomic(uint64_t) *place = &r->race->handles[next_random(r) % SHARED_HANDLES];
    uint64_t handle = atomic_load(place);
    capi_slot *slot;
    if (capi_enter_exclusive(CAPI_TXN, handle, &slot, NULL) != KL_OK) {
      atomic_fetch_add(&r->race->refused, 1);
      continue;
    }
    thing *t = capi_slot_object(slot);
    t->inside++; /* a data race if two are inside */
    if (atomic_load(&t->magic) != MAGIC) atomic_store(&r->race->failed, true);
    atomic_fetch_add(&r->race->entered, 1);
    if (next_random(r) % 8 == 0) {
      (void)capi_end_exclusive(slot, NULL);
      atomic_store(place, make(CAPI_TXN));
    } else {
      capi_leave_exclusive(slot);
    }
  }
  return NULL;
}

static void run_race(capi_kind kind, void *(*run)(void *context)) {
  race shared;
  memset(&shared, 0, sizeof shared);
  uint64_t made = atomic_load(&things_made), destroyed = atomic_load(&things_destroyed);
  for (int i = 0; i < SHARED_HANDLES; i++) atomic_store(&shared.handles[i], make(kind));
  pthread_t threads[THREADS];
  racer racers[THREADS];
  uint64_t seed = test_seed(20240611);
  for (int i = 0; i < THREADS; i++) {
    racers[i] = (racer){&shared, seed + (uint64_t)i};
    assert_int_equal(pthread_create(&threads[i], NULL, run, &racers[i]), 0);
  }
  for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
  assert_false(atomic_load(&shared.failed));
  assert_true(atomic_load(&shared.entered) > 0);
  for (int i = 0; i < SHARED_HANDLES; i++) {
    uint64_t handle = atomic_load(&shared.handles[i]);
    kl_status status =
        kind == CAPI_TXN ? capi_close_exclusive(kind, handle, NULL) : capi_close_shared(kind, handle, NULL);
    assert_int_equal(status, KL_OK);
  }
  assert_int_equal(atomic_load(&things_made) - made, atomic_load(&things_destroyed) - destroyed);
}

static void test_race_shared(void **state) {
  (void)state;
  run_race(CAPI_VIEW, race_shared);
}

static void test_race_exclusive(void **state) {
  (void)state;
  run_race(CAPI_TXN, race_exclusive);
}

enum { GROWTH = 3000 };

static void *grow(void *context) {
  uint64_t *handles = context;
  for (int i = 0; i < GROWTH; i++) handles[i] = make(CAPI_CURSOR);
  return NULL;
}

static int compare_handles(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

/* CAPI-7: threads that grow a table at once get slots of their own. */
static void test_growth(void **state) {
  (void)state;
  uint64_t *handles = calloc((size_t)THREADS * GROWTH, sizeof *handles);
  assert_non_null(handles);
  pthread_t threads[THREADS];
  for (int i = 0; i < THREADS; i++) {
    assert_int_equal(pthread_create(&threads[i], NULL, grow, handles + (size_t)i * GROWTH), 0);
  }
  for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
  qsort(handles, (size_t)THREADS * GROWTH, sizeof *handles, compare_handles);
  for (size_t i = 0; i < (size_t)THREADS * GROWTH; i++) {
    if (i > 0) assert_int_not_equal(handles[i - 1], handles[i]);
    assert_int_equal(capi_close_exclusive(CAPI_CURSOR, handles[i], NULL), KL_OK);
  }
  free(handles);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_shape),        cmocka_unit_test(test_stale),       cmocka_unit_test(test_finished),
      cmocka_unit_test(test_close_inside), cmocka_unit_test(test_exclusive),   cmocka_unit_test(test_retired),
      cmocka_unit_test(test_limit),        cmocka_unit_test(test_race_shared), cmocka_unit_test(test_race_exclusive),
      cmocka_unit_test(test_growth),
  };
  return cmocka_run_group_tests(tests, setup, NULL);
}
