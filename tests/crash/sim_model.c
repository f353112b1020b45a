#include "sim_model.h"

#include <string.h>

#include "core/base/rng.h"

const char *const model_keyspace_names[MODEL_KEYSPACES] = {"accounts", "log", "scratch"};

size_t model_key(uint32_t index, uint8_t out[MODEL_KEY_MAX]) {
  if (index == 0) return 0;
  /* Two digits keep the order; long keys share a long prefix with nobody, medium ones with their neighbours. */
  out[0] = (uint8_t)('a' + index / 10);
  out[1] = (uint8_t)('0' + index % 10);
  size_t size = index % 16 == 5 ? MODEL_KEY_MAX : 2 + (size_t)(index * 7) % 40;
  memset(out + 2, 'k', size - 2);
  return size;
}

size_t model_value(uint32_t tag, uint8_t *out) {
  kl_rng rng;
  kl_rng_init(&rng, tag);
  uint64_t shape = kl_rng_below(&rng, 100);
  /* Mostly small; some empty; some larger than a page and than a sync step. */
  size_t size = 0;
  if (shape >= 97) {
    size = 4096 + (size_t)kl_rng_below(&rng, MODEL_VALUE_MAX - 4096 + 1);
  } else if (shape >= 5) {
    size = (size_t)kl_rng_below(&rng, 300);
  }
  for (size_t i = 0; i < size; i += sizeof(uint64_t)) {
    uint64_t word = kl_rng_next(&rng);
    size_t part = size - i < sizeof word ? size - i : sizeof word;
    memcpy(out + i, &word, part);
  }
  return size;
}

bool model_equal(const model_state *a, const model_state *b) {
  return memcmp(a->exists, b->exists, sizeof a->exists) == 0 && memcmp(a->tags, b->tags, sizeof a->tags) == 0;
}
