/* The suite over the real file system, and what only a real one can show. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "failing_allocator.h"
#include "os_suite.h"

typedef struct posix_fixture {
  os_fixture base; /* first: the suite sees this part */
  int open_fds;    /* at the start */
} posix_fixture;

static int count_open_fds(void) {
  int count = 0;
  DIR *directory = opendir("/proc/self/fd");
  assert_non_null(directory);
  while (readdir(directory) != NULL) count++;
  closedir(directory);
  return count;
}

static void make_directory(os_fixture *fixture, const char *path) {
  (void)fixture;
  assert_int_equal(mkdir(path, 0700), 0);
}

static int setup(void **state) {
  posix_fixture *fixture = calloc(1, sizeof *fixture);
  assert_non_null(fixture);
  fixture->base.os = kl_os_posix();
  fixture->base.make_directory = make_directory;
  (void)snprintf(fixture->base.directory, sizeof fixture->base.directory, "os_posix_XXXXXX");
  assert_non_null(mkdtemp(fixture->base.directory));
  assert_int_equal(chmod(fixture->base.directory, 0755), 0);
  fixture->open_fds = count_open_fds();
  *state = fixture;
  return 0;
}

static int teardown(void **state) {
  posix_fixture *fixture = *state;
  assert_int_equal(count_open_fds(), fixture->open_fds);
  DIR *directory = opendir(fixture->base.directory);
  assert_non_null(directory);
  for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
      (void)remove(os_path(&fixture->base, entry->d_name));
    }
  }
  closedir(directory);
  assert_int_equal(rmdir(fixture->base.directory), 0);
  free(fixture);
  return 0;
}

/* The descriptor that is open on the file, found from outside; -1: none. */
static int find_fd(const os_fixture *f, const char *name) {
  struct stat wanted, have;
  assert_int_equal(stat(os_path(f, name), &wanted), 0);
  for (int fd = 0; fd < 256; fd++) {
    if (fstat(fd, &have) == 0 && have.st_ino == wanted.st_ino && have.st_dev == wanted.st_dev) return fd;
  }
  return -1;
}

/* OS-5: this one, the standard streams and the special files below. */
static void test_descriptors_do_not_reach_other_programs(void **state) {
  const os_fixture *f = *state;
  kl_file *file = os_must_open(f, "a", KL_OPEN_WRITE | KL_OPEN_CREATE);
  int fd = find_fd(f, "a");
  assert_true(fd >= 0);
  assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
  kl_os_close(f->os, file);
}

static void test_dsync_reaches_the_kernel(void **state) {
  const os_fixture *f = *state;
  kl_file *file = os_must_open(f, "a", KL_OPEN_WRITE | KL_OPEN_CREATE | KL_OPEN_DSYNC);
  assert_true((fcntl(find_fd(f, "a"), F_GETFL) & O_DSYNC) != 0);
  kl_os_close(f->os, file);
}

/* Runs `body` in a child, which exits with 0 when all held. */
static void in_child(const os_fixture *f, bool (*body)(const os_fixture *)) {
  int status = -1;
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) _exit(body(f) ? 0 : 1);
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static bool body_without_standard_streams(const os_fixture *f) {
  kl_file *file = NULL;
  for (int fd = 0; fd <= 2; fd++) (void)close(fd);
  if (kl_os_open(f->os, os_path(f, "a"), KL_OPEN_WRITE | KL_OPEN_CREATE, 0, &file, NULL) != KL_OK) return false;
  bool free_streams = fcntl(0, F_GETFD) < 0 && fcntl(1, F_GETFD) < 0 && fcntl(2, F_GETFD) < 0;
  int fd = find_fd(f, "a");
  bool above = fd > 2 && (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0;
  kl_os_close(f->os, file);
  return free_streams && above;
}

static void test_files_never_stand_in_for_standard_streams(void **state) {
  in_child(*state, body_without_standard_streams);
}

static bool body_file_size_limit(const os_fixture *f) {
  struct rlimit limit = {10000, 10000};
  kl_file *file = NULL;
  kl_error error = {0};
  static const char bytes[8192];
  kl_slice parts[2] = {{bytes, sizeof bytes}, {bytes, sizeof bytes}};
  (void)signal(SIGXFSZ, SIG_IGN);
  if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return false;
  if (kl_os_open(f->os, os_path(f, "a"), KL_OPEN_WRITE | KL_OPEN_CREATE, 0, &file, NULL) != KL_OK) return false;
  /* The kernel takes 10000 bytes, a short write, and refuses the next: the loop has gone on and met the error. */
  uint64_t size = 0;
  bool good = kl_os_write(f->os, file, parts, 2, 0, &error) == KL_E_LIMIT && strstr(error.message, "10000") != NULL &&
              kl_os_size(f->os, file, &size, NULL) == KL_OK && size == 10000 &&
              kl_os_truncate(f->os, file, 20000, &error) == KL_E_LIMIT &&
              kl_os_allocate(f->os, file, 0, 20000, &error) == KL_E_LIMIT;
  kl_os_close(f->os, file);
  return good;
}

static void test_a_real_short_write_is_continued(void **state) {
  in_child(*state, body_file_size_limit);
}

static bool body_other_user(const os_fixture *f) {
  kl_file *file = NULL;
  kl_error error = {0};
  if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) return false;
  return kl_os_open(f->os, os_path(f, "secret"), KL_OPEN_READ, 0, &file, &error) == KL_E_PERMISSION &&
         strstr(error.message, "/secret\"") != NULL &&
         kl_os_open(f->os, os_path(f, "new"), KL_OPEN_WRITE | KL_OPEN_CREATE, 0, &file, &error) == KL_E_PERMISSION;
}

static void test_permission(void **state) {
  const os_fixture *f = *state;
  kl_os_close(f->os, os_must_open(f, "secret", KL_OPEN_WRITE | KL_OPEN_CREATE));
  assert_int_equal(chmod(os_path(f, "secret"), 0), 0);
  assert_int_equal(chmod(f->directory, 0555), 0);
  in_child(f, body_other_user);
  assert_int_equal(chmod(f->directory, 0755), 0);
}

static void test_modes(void **state) {
  const os_fixture *f = *state;
  struct stat info;
  kl_file *file = NULL;
  mode_t before = umask(027);
  kl_os_close(f->os, os_must_open(f, "private", KL_OPEN_WRITE | KL_OPEN_CREATE));
  assert_int_equal(kl_os_open(f->os, os_path(f, "shared"), KL_OPEN_WRITE | KL_OPEN_CREATE, 0666, &file, NULL), KL_OK);
  kl_os_close(f->os, file);
  umask(before);
  assert_int_equal(stat(os_path(f, "private"), &info), 0);
  assert_int_equal(info.st_mode & 0777, 0600);
  assert_int_equal(stat(os_path(f, "shared"), &info), 0);
  assert_int_equal(info.st_mode & 0777, 0640);
}

/* A database at the path of a FIFO must be an error at once, not a wait for somebody to write into it. */
static void test_special_files(void **state) {
  const os_fixture *f = *state;
  kl_file *file = NULL;
  kl_file_info info;
  assert_int_equal(mkfifo(os_path(f, "fifo"), 0600), 0);
  assert_int_equal(kl_os_open(f->os, os_path(f, "fifo"), KL_OPEN_READ, 0, &file, NULL), KL_E_NOT_A_FILE);
  assert_int_equal(kl_os_open(f->os, os_path(f, "fifo"), KL_OPEN_WRITE, 0, &file, NULL), KL_E_NOT_A_FILE);
  assert_int_equal(kl_os_stat(f->os, os_path(f, "fifo"), &info, NULL), KL_OK);
  assert_int_equal(info.kind, KL_FILE_OTHER);
  assert_int_equal(kl_os_open(f->os, "/dev/full", KL_OPEN_WRITE, 0, &file, NULL), KL_E_NOT_A_FILE);
}

static void test_symbolic_links(void **state) {
  const os_fixture *f = *state;
  kl_file_info file_info, link_info;
  kl_os_close(f->os, os_must_open(f, "a", KL_OPEN_WRITE | KL_OPEN_CREATE));
  assert_int_equal(symlink("a", os_path(f, "link")), 0);
  kl_file *file = os_must_open(f, "link", KL_OPEN_WRITE);
  os_must_write(f, file, 0, "through", 7);
  kl_os_close(f->os, file);
  assert_int_equal(kl_os_stat(f->os, os_path(f, "a"), &file_info, NULL), KL_OK);
  assert_int_equal(kl_os_stat(f->os, os_path(f, "link"), &link_info, NULL), KL_OK);
  assert_int_equal(file_info.size, 7);
  assert_true(file_info.inode == link_info.inode && file_info.device == link_info.device);
}

static void test_missing_directories(void **state) {
  const os_fixture *f = *state;
  kl_file *file = NULL;
  kl_file_info info;
  assert_int_equal(kl_os_open(f->os, os_path(f, "no/a"), KL_OPEN_WRITE | KL_OPEN_CREATE, 0, &file, NULL), KL_E_NO_FILE);
  assert_int_equal(kl_os_stat(f->os, os_path(f, "no/a"), &info, NULL), KL_OK);
  assert_int_equal(info.kind, KL_FILE_ABSENT);
  assert_int_equal(kl_os_sync_directory(f->os, os_path(f, "no/a"), NULL), KL_E_NO_FILE);
  kl_os_close(f->os, os_must_open(f, "a", KL_OPEN_WRITE | KL_OPEN_CREATE));
  assert_int_equal(kl_os_open(f->os, os_path(f, "a/b"), KL_OPEN_READ, 0, &file, NULL), KL_E_NO_FILE);
  assert_int_equal(kl_os_stat(f->os, os_path(f, "a/b"), &info, NULL), KL_OK);
  assert_int_equal(info.kind, KL_FILE_ABSENT);
}

static void test_allocation_failures(void **state) {
  const os_fixture *f = *state;
  failing_allocator allocator;
  failing_allocator_init(&allocator);
  kl_os os = *f->os;
  os.allocator = &allocator.base;
  for (uint64_t n = 1;; n++) {
    kl_file *file = NULL;
    failing_allocator_arm(&allocator, n);
    kl_status opened = kl_os_open(&os, os_path(f, "a"), KL_OPEN_WRITE | KL_OPEN_CREATE, 0, &file, NULL);
    kl_status synced = opened == KL_OK ? kl_os_sync_directory(&os, os_path(f, "a"), NULL) : KL_OK;
    assert_true(opened == KL_OK || opened == KL_E_NO_MEMORY);
    assert_true(synced == KL_OK || synced == KL_E_NO_MEMORY);
    if (opened == KL_OK) kl_os_close(&os, file);
    assert_int_equal(atomic_load(&allocator.live_bytes), 0);
    if (opened == KL_OK && synced == KL_OK) {
      assert_int_equal(n, 3); /* one for the file, one for the directory's name */
      break;
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_descriptors_do_not_reach_other_programs, setup, teardown),
      cmocka_unit_test_setup_teardown(test_dsync_reaches_the_kernel, setup, teardown),
      cmocka_unit_test_setup_teardown(test_files_never_stand_in_for_standard_streams, setup, teardown),
      cmocka_unit_test_setup_teardown(test_a_real_short_write_is_continued, setup, teardown),
      cmocka_unit_test_setup_teardown(test_permission, setup, teardown),
      cmocka_unit_test_setup_teardown(test_modes, setup, teardown),
      cmocka_unit_test_setup_teardown(test_special_files, setup, teardown),
      cmocka_unit_test_setup_teardown(test_symbolic_links, setup, teardown),
      cmocka_unit_test_setup_teardown(test_missing_directories, setup, teardown),
      cmocka_unit_test_setup_teardown(test_allocation_failures, setup, teardown),
  };
  int failed = os_suite_run("os_posix suite", setup, teardown);
  return failed + cmocka_run_group_tests_name("os_posix", tests, NULL, NULL);
}
