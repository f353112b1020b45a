/* tests/abi/abi_support.c: see abi_support.h. */
#include "abi_support.h"

#include <ftw.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

void folder_make(folder *f) {
  const char *base = getenv("TMPDIR");
  (void)snprintf(f->path, sizeof f->path, "%s/keel-abi-XXXXXX", base != NULL ? base : "/tmp");
  if (mkdtemp(f->path) == NULL) fail_msg("cannot make %s", f->path);
}

static int remove_one(const char *path, const struct stat *info, int flag, struct FTW *walk) {
  (void)info, (void)flag, (void)walk;
  return remove(path);
}

void folder_remove(folder *f) {
  if (nftw(f->path, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0) fail_msg("cannot remove %s", f->path);
}

const char *folder_file(const folder *f, const char *name) {
  static char paths[4][512];
  static unsigned next;
  char *path = paths[next++ % 4];
  (void)snprintf(path, sizeof paths[0], "%s/%s", f->path, name);
  return path;
}

file_sum file_sum_of(const char *path) {
  file_sum result = {0, 0};
  FILE *file = fopen(path, "rb");
  if (file == NULL) return result;
  uint64_t sum = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
  int byte;
  while ((byte = getc(file)) != EOF) {
    sum = (sum ^ (uint64_t)byte) * UINT64_C(0x100000001b3);
    result.size++;
  }
  assert_int_equal(fclose(file), 0);
  result.sum = sum;
  return result;
}

void file_write(const char *path, const void *bytes, size_t size) {
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  if (size != 0) assert_int_equal(fwrite(bytes, 1, size, file), size);
  assert_int_equal(fclose(file), 0);
}

void file_patch(const char *path, size_t offset, const void *bytes, size_t size) {
  FILE *file = fopen(path, "r+b");
  assert_non_null(file);
  assert_int_equal(fseek(file, (long)offset, SEEK_SET), 0);
  assert_int_equal(fwrite(bytes, 1, size, file), size);
  assert_int_equal(fclose(file), 0);
}

uint64_t file_size(const char *path) {
  struct stat info;
  return stat(path, &info) == 0 ? (uint64_t)info.st_size : 0;
}

void put_row(keel_db db, keel_keyspace keyspace, const char *key, const char *value) {
  keel_txn txn;
  OK(keel_begin(db, NULL, &txn, &error));
  OK(keel_put(txn, keyspace, key, strlen(key), value, strlen(value), &error));
  OK(keel_commit(txn, NULL, &error));
}

void check_row(keel_db db, keel_keyspace keyspace, const char *key, const char *value) {
  keel_txn txn;
  const void *found;
  size_t size;
  OK(keel_begin(db, NULL, &txn, &error));
  if (value == NULL) {
    EXPECT(KEEL_E_NOT_FOUND, keel_get(txn, keyspace, key, strlen(key), &found, &size, &error));
  } else {
    OK(keel_get(txn, keyspace, key, strlen(key), &found, &size, &error));
    assert_int_equal(size, strlen(value));
    assert_memory_equal(found, value, size);
  }
  OK(keel_rollback(txn, &error));
}

void in_child(int (*body)(void *context), void *context) {
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) _exit(body(context));
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    fail_msg("the child ended with %s %d", WIFEXITED(status) ? "exit code" : "signal",
             WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
  }
}
