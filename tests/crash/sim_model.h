/* tests/crash/sim_model.h: the plain model that a recovered database is compared with.
 *
 * Three keyspaces of 48 keys each; a state says, per keyspace, whether it exists, and per key the tag of its value (0: none).
 * A tag determines every byte of its value, so that a state is small, all states of a run are kept, and "equal" means byte for
 * byte. State i is the state after the i-th commit; a recovered database must equal one of them. */
#ifndef TESTS_CRASH_SIM_MODEL_H
#define TESTS_CRASH_SIM_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MODEL_KEYSPACES = 3, MODEL_KEYS = 48, MODEL_KEY_MAX = 1024, MODEL_VALUE_MAX = 24 * 1024 };

typedef struct model_state {
  bool exists[MODEL_KEYSPACES];
  uint32_t tags[MODEL_KEYSPACES][MODEL_KEYS];
} model_state;

extern const char *const model_keyspace_names[MODEL_KEYSPACES];

/* Writes key `index` (keys are ordered by index; some are 1024 bytes long, one is empty); returns its size. */
size_t model_key(uint32_t index, uint8_t out[MODEL_KEY_MAX]);
/* Writes the value of `tag` (> 0); returns its size, 0 ... MODEL_VALUE_MAX. */
size_t model_value(uint32_t tag, uint8_t *out);

bool model_equal(const model_state *a, const model_state *b);

#endif
