/* tests/unit/os/os_suite.h: what every implementation of kl_os must do, as one suite that runs over each of them. */
#ifndef KEEL_TESTS_OS_SUITE_H
#define KEEL_TESTS_OS_SUITE_H

#include "cmocka_all.h"
#include "core/os/os.h"

typedef struct os_fixture {
  kl_os *os;
  char directory[64]; /* exists, is empty at the start of a test, and is this test's alone */
  /* Makes a directory of that path. */
  void (*make_directory)(struct os_fixture *fixture, const char *path);
} os_fixture;

/* Runs the suite; setup leaves an os_fixture in *state. Returns the number of failed tests. */
int os_suite_run(const char *name, CMFixtureFunction setup, CMFixtureFunction teardown);

/* The path of `name` in the fixture's directory; valid until the fourth next call. */
const char *os_path(const os_fixture *fixture, const char *name);
kl_file *os_must_open(const os_fixture *fixture, const char *name, uint32_t flags);
void os_must_write(const os_fixture *fixture, kl_file *file, uint64_t offset, const void *bytes, size_t size);

#endif
