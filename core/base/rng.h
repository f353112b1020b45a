/* core/base/rng.h: a seeded pseudo-random generator for simulation, tests, jitter and skip-list heights.
 *
 * xoshiro256** 1.0 (D. Blackman, S. Vigna, "Scrambled linear pseudorandom number generators", ACM TOMS 47, 2021),
 * seeded by splitmix64. One seed gives one sequence on every machine. Not for secrets: identities of databases come
 * from kl_os_random. Thread rules: a generator belongs to one thread at a time. */
#ifndef KL_BASE_RNG_H
#define KL_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

typedef struct kl_rng {
  uint64_t state[4];
} kl_rng;

void kl_rng_init(kl_rng *rng, uint64_t seed); /* any seed, 0 included */
uint64_t kl_rng_next(kl_rng *rng);            /* 64 uniform bits */
/* Uniform in [0, bound), without bias; 0 when bound is 0. */
uint64_t kl_rng_below(kl_rng *rng, uint64_t bound);
void kl_rng_fill(kl_rng *rng, void *out, size_t size);

/* splitmix64's mixing step: a cheap, good hash of an integer. */
uint64_t kl_mix64(uint64_t value);

#endif
