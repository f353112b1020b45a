/* The suite over the simulated os, and that it leaks nothing. */
#include <stdlib.h>
#include <string.h>

#include "core/os/sim/sim.h"
#include "os_suite.h"

typedef struct sim_fixture {
  os_fixture base; /* first: the suite sees this part */
  kl_sim *sim;
} sim_fixture;

static void make_directory(os_fixture *fixture, const char *path) {
  sim_fixture *sim = (sim_fixture *)(void *)fixture;
  assert_int_equal(kl_sim_make_directory(sim->sim, path), KL_OK);
}

static int setup(void **state) {
  sim_fixture *fixture = calloc(1, sizeof *fixture);
  assert_non_null(fixture);
  assert_int_equal(kl_sim_new(1, &fixture->sim, NULL), KL_OK);
  fixture->base.os = kl_sim_os(fixture->sim);
  fixture->base.make_directory = make_directory;
  memcpy(fixture->base.directory, "/simulated", sizeof "/simulated");
  *state = fixture;
  return 0;
}

static int teardown(void **state) {
  sim_fixture *fixture = *state;
  assert_int_equal(kl_sim_live_bytes(fixture->sim), 0);
  kl_sim_free(fixture->sim);
  free(fixture);
  return 0;
}

int main(void) {
  return os_suite_run("os_sim", setup, teardown);
}
