/* Readers and writers of one tree, interleaved load by load and store by store, from a seed.
 *
 * The delta's sources are compiled into this program with their atomic operations redefined: before each one, the
 * actor (a coroutine on a stack of its own) may be put aside for another. So a reader meets every state that a writer
 * passes through, and whole insertions happen between two loads of a reader, which real threads on few cores hardly
 * ever show. The interleavings are sequentially consistent; that the orders in the code are strong enough for real
 * CPUs is argued in core/delta/README.md and looked after by the thread sanitizer in test_delta_threads.
 *
 * What is checked: a key whose insertion was complete before an operation began is not missed, and nothing is met
 * that was never begun. */
#include <stdatomic.h>
#include <ucontext.h>

#include "core/base/arena.h"
#include "core/base/assert.h"
#include "core/base/counter.h"
#include "core/base/endian.h"
#include "core/os/thread.h"
#include "delta_testing.h"

static void interleave_step(void);
static bool interleave_outcome(bool exchanged) {
  return exchanged;
} /* its result may be ignored, an operator's not */

#undef atomic_load_explicit
#undef atomic_store_explicit
#undef atomic_compare_exchange_strong_explicit
#undef atomic_compare_exchange_weak_explicit
#define atomic_load_explicit(object, order) (interleave_step(), *(object))
#define atomic_store_explicit(object, value, order) (interleave_step(), (void)(*(object) = (value)))
/* All actors share one thread: nothing comes between the comparison and the store. */
#define atomic_compare_exchange_strong_explicit(object, expected, value, success, failure)               \
  (interleave_step(), *(object) == *(expected) ? ((void)(*(object) = (value)), interleave_outcome(true)) \
                                               : ((void)(*(expected) = *(object)), interleave_outcome(false)))
#define atomic_compare_exchange_weak_explicit atomic_compare_exchange_strong_explicit

/* A writer that waits for a lock gives way at its next load of the lock, like everyone. */
#define kl_thread_yield() ((void)0)

#include "core/delta/cursor.c"
#include "core/delta/delta.c"
#include "core/delta/node.c"
#include "core/delta/tree_insert.c"
#include "core/delta/tree_many.c"
#include "core/delta/tree_read.c"
#include "core/delta/version.c"

enum {
  ACTORS = 4,
  WRITERS = 2,
  UNIVERSE = 400,
  INTERLEAVE_STACK = 256 * 1024,
  INTERLEAVE_OPERATIONS = 12,
  INTERLEAVE_KEY = UNIVERSE,
  SHAPES = 4
};

typedef enum key_state { KEY_NONE, KEY_BEGUN, KEY_COMPLETE } key_state;

typedef struct interleave {
  uint64_t seed;
  kl_rng rng;
  kl_delta *delta;
  unsigned shape;
  unsigned char state[UNIVERSE]; /* per key, in key order */
  bool done[ACTORS];
  unsigned current; /* the actor that runs */
  unsigned left;    /* atomic operations until the next change of actor */
  bool active;      /* false while the test itself uses the delta */
  const char *failed;
} interleave;

static interleave world; /* the steps below have no argument */
static ucontext_t actor_context[ACTORS], main_context;
static unsigned char actor_stack[ACTORS][INTERLEAVE_STACK];

static void interleave_switch(unsigned to) {
  unsigned from = world.current;
  world.current = to;
  /* Sometimes long stretches, so that whole insertions fit between two loads; mostly short ones. */
  world.left = (unsigned)kl_rng_below(&world.rng, kl_rng_below(&world.rng, 4) == 0 ? 600 : 12);
  if (to != from) swapcontext(&actor_context[from], &actor_context[to]);
}

static unsigned interleave_pick(void) {
  for (;;) {
    unsigned actor = (unsigned)kl_rng_below(&world.rng, ACTORS);
    if (!world.done[actor]) return actor;
  }
}

static void interleave_step(void) {
  if (!world.active) return;
  if (world.left-- == 0) interleave_switch(interleave_pick());
}

/* --- keys: number `id` of the universe, in order of id
 * ------------------------------------------------------------------ */

static kl_slice interleave_key(unsigned id, unsigned char out[INTERLEAVE_KEY]) {
  switch (world.shape) {
    case 0: /* heads tell all */
      kl_store_u64_be(out, id * UINT64_C(0x0020000000000000) / UNIVERSE + id);
      return kl_slice_make(out, 8);
    case 1: /* a common beginning, longer than a head */
      return kl_slice_make(out, (size_t)snprintf((char *)out, INTERLEAVE_KEY, "tenant/0001/%06u", id));
    case 2: /* two families, so that nodes with and without a prefix stand side by side */
      return kl_slice_make(out, (size_t)snprintf((char *)out, INTERLEAVE_KEY,
                                                 id < UNIVERSE / 2 ? "a/%04u" : "some longer family/%04u", id));
    default: /* each key is a prefix of the next; most heads are equal */
      memset(out, 'x', id);
      return kl_slice_make(out, id);
  }
}

static void interleave_fail(const char *what) {
  if (world.failed == NULL) world.failed = what;
}

static unsigned interleave_id(kl_slice key) {
  unsigned char bytes[INTERLEAVE_KEY];
  unsigned low = 0, high = UNIVERSE;
  while (low < high) {
    unsigned middle = (low + high) / 2;
    if (kl_slice_compare(interleave_key(middle, bytes), key) < 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  if (low == UNIVERSE || !kl_slice_equal(interleave_key(low, bytes), key)) interleave_fail("a key that is none");
  return low;
}

/* --- the actors
 * ----------------------------------------------------------------------------------------------------------- */

static void interleave_insert(unsigned id) {
  unsigned char bytes[INTERLEAVE_KEY];
  kl_version version = testing_put(1, kl_slice_make(&id, sizeof id));
  if (world.state[id] == KEY_NONE) world.state[id] = KEY_BEGUN;
  if (kl_delta_insert(world.delta, 3, interleave_key(id, bytes), &version, NULL) != KL_OK) {
    interleave_fail("an insertion");
  }
  world.state[id] = KEY_COMPLETE;
}

static void writer_run(void) {
  unsigned base = (unsigned)kl_rng_below(&world.rng, UNIVERSE);
  uint64_t style = kl_rng_below(&world.rng, 3);
  for (unsigned i = 0; i < INTERLEAVE_OPERATIONS; i++) {
    unsigned id = style == 0   ? (base + i) % UNIVERSE
                  : style == 1 ? (base + UNIVERSE - i) % UNIVERSE
                               : (unsigned)kl_rng_below(&world.rng, UNIVERSE);
    interleave_insert(id);
  }
}

/* A cursor operation led to `cursor`, and was to stand on the nearest key in [low, high] at the side of low
 * (`forward`) or of high. `before` are the states when it began. */
static void reader_check(const kl_delta_cursor *cursor, const unsigned char *before, unsigned low, unsigned high,
                         bool forward) {
  unsigned at = forward ? high : low; /* where the operation ended, exclusive when it found nothing */
  if (cursor->valid) {
    at = interleave_id(cursor->key);
    if (at < low || at > high) interleave_fail("a key on the wrong side");
    if (at < UNIVERSE && world.state[at] == KEY_NONE) interleave_fail("a key that nobody inserted");
    if (forward ? at == 0 : at == UNIVERSE - 1) return;
    at = forward ? at - 1 : at + 1;
  }
  for (unsigned id = forward ? low : at; id <= (forward ? at : high) && id < UNIVERSE; id++) {
    if (before[id] == KEY_COMPLETE) interleave_fail("a key was missed");
  }
}

static void reader_walk(kl_delta_cursor *cursor) {
  unsigned char before[UNIVERSE];
  for (uint64_t steps = kl_rng_below(&world.rng, 30); steps > 0 && cursor->valid; steps--) {
    unsigned at = interleave_id(cursor->key);
    bool forward = kl_rng_below(&world.rng, 2) == 0;
    memcpy(before, world.state, sizeof before);
    if (forward) {
      kl_delta_cursor_next(cursor);
      reader_check(cursor, before, at + 1, UNIVERSE - 1, true);
    } else {
      kl_delta_cursor_prev(cursor);
      if (at == 0 ? cursor->valid : false) interleave_fail("a key before the first");
      if (at != 0) reader_check(cursor, before, 0, at - 1, false);
    }
  }
}

static void reader_get(void) {
  unsigned char before[UNIVERSE], bytes[4][INTERLEAVE_KEY];
  kl_slice keys[4];
  kl_version many[4], got;
  unsigned ids[4];
  for (unsigned i = 0; i < 4; i++) {
    ids[i] = (unsigned)kl_rng_below(&world.rng, UNIVERSE);
    keys[i] = interleave_key(ids[i], bytes[i]);
  }
  memcpy(before, world.state, sizeof before);
  bool found = kl_delta_get(world.delta, 3, keys[0], 1, &got);
  if (before[ids[0]] == KEY_COMPLETE && !found) interleave_fail("get missed a key");
  if (found && world.state[ids[0]] == KEY_NONE) interleave_fail("get found a key that nobody inserted");
  memcpy(before, world.state, sizeof before);
  kl_delta_get_many(world.delta, 3, keys, 4, 1, many);
  for (unsigned i = 0; i < 4; i++) {
    if (before[ids[i]] == KEY_COMPLETE && many[i].ts == 0) interleave_fail("get_many missed a key");
    if (many[i].ts != 0 && world.state[ids[i]] == KEY_NONE) interleave_fail("get_many found what nobody inserted");
  }
}

static void reader_run(void) {
  unsigned char before[UNIVERSE], bytes[INTERLEAVE_KEY];
  for (unsigned i = 0; i < INTERLEAVE_OPERATIONS; i++) {
    kl_delta_cursor cursor;
    kl_delta_cursor_init(&cursor, world.delta, 3, 1);
    unsigned id = (unsigned)kl_rng_below(&world.rng, UNIVERSE);
    memcpy(before, world.state, sizeof before);
    switch (kl_rng_below(&world.rng, 5)) {
      case 0:
        kl_delta_cursor_first(&cursor);
        reader_check(&cursor, before, 0, UNIVERSE - 1, true);
        break;
      case 1:
        kl_delta_cursor_last(&cursor);
        reader_check(&cursor, before, 0, UNIVERSE - 1, false);
        break;
      case 2:
        kl_delta_cursor_seek_ge(&cursor, interleave_key(id, bytes));
        reader_check(&cursor, before, id, UNIVERSE - 1, true);
        break;
      case 3:
        kl_delta_cursor_seek_le(&cursor, interleave_key(id, bytes));
        reader_check(&cursor, before, 0, id, false);
        break;
      default:
        reader_get();
    }
    reader_walk(&cursor);
  }
}

static void actor_main(void) {
  unsigned self = world.current;
  if (self < WRITERS) {
    writer_run();
  } else {
    reader_run();
  }
  world.done[self] = true;
  for (unsigned i = 0; i < ACTORS; i++) {
    if (!world.done[i]) interleave_switch(interleave_pick());
  }
  setcontext(&main_context); /* all are done; nobody comes back here */
}

/* Some keys first: a part of a leaf, a leaf that is about to split, several leaves. */
static void interleave_prepare(uint64_t seed, unsigned shape) {
  memset(&world, 0, sizeof world);
  world.seed = seed;
  world.shape = shape;
  kl_rng_init(&world.rng, seed);
  assert_int_equal(kl_delta_new(kl_allocator_libc(), &world.delta, NULL), KL_OK);
  static const unsigned fills[] = {0, 5, 50, 62, 100, 250};
  unsigned fill = fills[kl_rng_below(&world.rng, sizeof fills / sizeof *fills)];
  for (unsigned i = 0; i < fill; i++) interleave_insert((unsigned)kl_rng_below(&world.rng, UNIVERSE));
}

static void interleave_run(void) {
  /* getcontext may return twice as far as the compiler knows: the loop keeps its count outside of the registers. */
  for (world.current = 0; world.current < ACTORS; world.current++) {
    getcontext(&actor_context[world.current]);
    actor_context[world.current].uc_stack.ss_sp = actor_stack[world.current];
    actor_context[world.current].uc_stack.ss_size = INTERLEAVE_STACK;
    actor_context[world.current].uc_link = NULL;
    makecontext(&actor_context[world.current], actor_main, 0);
  }
  world.active = true;
  world.current = 0;
  swapcontext(&main_context, &actor_context[0]); /* until all are done */
  world.active = false;
}

static void interleave_trial(uint64_t seed, unsigned shape) {
  interleave_prepare(seed, shape);
  interleave_run();
  CHECK_SEED(world.failed == NULL, seed);
  uint64_t keys = 0;
  for (unsigned id = 0; id < UNIVERSE; id++) keys += world.state[id] == KEY_COMPLETE;
  kl_delta_stats stats;
  kl_delta_get_stats(world.delta, &stats);
  CHECK_SEED(stats.keys == keys, seed);
  kl_delta_unref(world.delta);
}

static void test_interleavings(void **state) {
  (void)state;
  for (uint64_t i = 0; i < 4000; i++) interleave_trial(testing_seed() + i, (unsigned)(i % SHAPES));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_interleavings)};
  return cmocka_run_group_tests_name("delta interleavings", tests, NULL, NULL);
}
