/* Epochs by one thread: when things are reclaimed, and when not (BASE-EPOCH-1 ... 3). */
#include <stdlib.h>

#include "cmocka_all.h"
#include "core/base/epoch.h"
#include "failing_allocator.h"

typedef struct object {
  kl_epoch_entry entry; /* first: reclaim casts back */
  int reclaimed;
  kl_epoch *retire_in; /* when set, reclaiming retires `child` there */
  struct object *child;
} object;

static void reclaim(kl_epoch_entry *entry, void *context) {
  object *o = (object *)entry;
  o->reclaimed++;
  if (context != NULL) ++*(int *)context;
  if (o->retire_in != NULL) kl_epoch_retire(o->retire_in, &o->child->entry);
}

static void object_init(object *o, int *count) {
  *o = (object){.entry = {.reclaim = reclaim, .context = count}};
}

static kl_epoch *new_epoch(failing_allocator *a) {
  failing_allocator_init(a);
  kl_epoch *epoch = NULL;
  assert_int_equal(kl_epoch_new(&a->base, &epoch, NULL), KL_OK);
  return epoch;
}

static void test_nothing_is_inside_so_it_goes_at_once(void **state) {
  (void)state;
  failing_allocator a;
  kl_epoch *epoch = new_epoch(&a);
  object o;
  object_init(&o, NULL);
  assert_int_equal(kl_epoch_collect(epoch), 0);
  kl_epoch_retire(epoch, &o.entry);
  assert_int_equal(o.reclaimed, 0);
  assert_int_equal(kl_epoch_collect(epoch), 1);
  assert_int_equal(o.reclaimed, 1);
  assert_int_equal(kl_epoch_collect(epoch), 0);
  assert_true(a.live_bytes < 8192); /* an open database has one: it must be small */
  kl_epoch_free(epoch);
  assert_int_equal(a.live_bytes, 0);
}

static void test_a_reader_that_was_inside_keeps_it(void **state) {
  (void)state;
  failing_allocator a;
  kl_epoch *epoch = new_epoch(&a);
  object o;
  object_init(&o, NULL);
  kl_epoch_guard guard = kl_epoch_enter(epoch);
  kl_epoch_retire(epoch, &o.entry);
  for (int i = 0; i < 10; i++) assert_int_equal(kl_epoch_collect(epoch), 0);
  /* A reader that enters later does not keep it, nor does its leaving free it. */
  kl_epoch_guard later = kl_epoch_enter(epoch);
  assert_int_equal(kl_epoch_collect(epoch), 0);
  kl_epoch_leave(epoch, guard);
  assert_int_equal(kl_epoch_collect(epoch), 1);
  assert_int_equal(o.reclaimed, 1);
  kl_epoch_leave(epoch, later);
  kl_epoch_free(epoch);
}

static void test_entries_nest(void **state) {
  (void)state;
  failing_allocator a;
  kl_epoch *epoch = new_epoch(&a);
  object o;
  object_init(&o, NULL);
  kl_epoch_guard outer = kl_epoch_enter(epoch);
  kl_epoch_retire(epoch, &o.entry);
  kl_epoch_guard inner = kl_epoch_enter(epoch);
  kl_epoch_leave(epoch, inner);
  assert_int_equal(kl_epoch_collect(epoch), 0);
  kl_epoch_leave(epoch, outer);
  assert_int_equal(kl_epoch_collect(epoch), 1);
  kl_epoch_free(epoch);
}

static void test_more_readers_than_slots(void **state) {
  (void)state;
  enum { READERS = 500 };
  failing_allocator a;
  kl_epoch *epoch = new_epoch(&a);
  static kl_epoch_guard guards[READERS];
  static object objects[READERS];
  int count = 0;
  /* Each reader can see its own object and all later ones: with slots shared, none may go while its reader is in. */
  for (int i = 0; i < READERS; i++) {
    guards[i] = kl_epoch_enter(epoch);
    object_init(&objects[i], &count);
    kl_epoch_retire(epoch, &objects[i].entry);
    assert_int_equal(kl_epoch_collect(epoch), 0);
  }
  for (int i = 0; i < READERS; i++) {
    (void)kl_epoch_collect(epoch);
    for (int j = i; j < READERS; j++) assert_int_equal(objects[j].reclaimed, 0);
    kl_epoch_leave(epoch, guards[i]);
  }
  (void)kl_epoch_collect(epoch);
  assert_int_equal(count, READERS);
  kl_epoch_free(epoch);
}

static void test_retiring_collects_by_itself(void **state) {
  (void)state;
  enum { OBJECTS = 1000 };
  failing_allocator a;
  kl_epoch *epoch = new_epoch(&a);
  static object objects[OBJECTS];
  int count = 0;
  for (int i = 0; i < OBJECTS; i++) {
    object_init(&objects[i], &count);
    kl_epoch_retire(epoch, &objects[i].entry);
    assert_true(i - count < 200); /* bounded garbage without anybody calling collect */
  }
  kl_epoch_free(epoch);
  for (int i = 0; i < OBJECTS; i++) assert_int_equal(objects[i].reclaimed, 1);
}

static void test_reclaiming_may_retire(void **state) {
  (void)state;
  failing_allocator a;
  kl_epoch *epoch = new_epoch(&a);
  object objects[3];
  for (int i = 0; i < 3; i++) object_init(&objects[i], NULL);
  for (int i = 0; i < 2; i++) {
    objects[i].retire_in = epoch;
    objects[i].child = &objects[i + 1];
  }
  kl_epoch_retire(epoch, &objects[0].entry);
  kl_epoch_free(epoch); /* frees what is retired while it frees */
  for (int i = 0; i < 3; i++) assert_int_equal(objects[i].reclaimed, 1);
  assert_int_equal(a.live_bytes, 0);
}

static void test_no_memory(void **state) {
  (void)state;
  failing_allocator a;
  failing_allocator_init(&a);
  failing_allocator_arm(&a, 1);
  kl_epoch *epoch = NULL;
  kl_error err = {0};
  assert_int_equal(kl_epoch_new(&a.base, &epoch, &err), KL_E_NO_MEMORY);
  assert_int_equal(err.code, KL_E_NO_MEMORY);
  assert_null(epoch);
  kl_epoch_free(NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_nothing_is_inside_so_it_goes_at_once),
      cmocka_unit_test(test_a_reader_that_was_inside_keeps_it),
      cmocka_unit_test(test_entries_nest),
      cmocka_unit_test(test_more_readers_than_slots),
      cmocka_unit_test(test_retiring_collects_by_itself),
      cmocka_unit_test(test_reclaiming_may_retire),
      cmocka_unit_test(test_no_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
