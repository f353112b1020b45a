/* The loops over short and interrupted system calls (OS-1), and the words of errors and paths. */
#include <errno.h>
#include <string.h>

#include "cmocka_all.h"
#include "core/os/error.h"
#include "core/os/path.h"
#include "core/os/transfer.h"

enum { FILE_SIZE = 1000 };

/* A file in memory whose calls move a few bytes at a time and are interrupted every third time. */
typedef struct slow_file {
  unsigned char bytes[FILE_SIZE];
  size_t step;
  int calls, interruptions, fail_at_call;
  int error;
  size_t most_parts;
} slow_file;

static int64_t slow_answer(slow_file *file, size_t size) {
  file->calls++;
  if (file->calls == file->fail_at_call) return -file->error;
  if (file->calls % 3 == 0) {
    file->interruptions++;
    return -EINTR;
  }
  return (int64_t)(size < file->step ? size : file->step);
}

static int64_t slow_read(void *context, void *buffer, size_t size, uint64_t offset) {
  slow_file *file = context;
  size_t left = offset < FILE_SIZE ? FILE_SIZE - (size_t)offset : 0;
  int64_t moved = slow_answer(file, size < left ? size : left);
  if (moved > 0) memcpy(buffer, file->bytes + offset, (size_t)moved);
  return moved;
}

static int64_t slow_write(void *context, const kl_slice *parts, size_t count, uint64_t offset) {
  slow_file *file = context;
  size_t size = 0;
  if (count > file->most_parts) file->most_parts = count;
  for (size_t i = 0; i < count; i++) {
    assert_true(parts[i].size > 0);
    size += parts[i].size;
  }
  int64_t moved = slow_answer(file, size);
  for (int64_t left = moved, at = 0; left > 0; parts++) {
    size_t take = (size_t)left < parts->size ? (size_t)left : parts->size;
    memcpy(file->bytes + offset + at, parts->data, take);
    left -= (int64_t)take;
    at += (int64_t)take;
  }
  return moved;
}

static void test_reads_to_the_end(void **state) {
  (void)state;
  static const size_t steps[] = {1, 7, 999, 1000, 5000};
  for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
    slow_file file = {.step = steps[i]};
    unsigned char read[FILE_SIZE + 50];
    size_t size = 0;
    for (size_t b = 0; b < FILE_SIZE; b++) file.bytes[b] = (unsigned char)(b * 7);
    assert_int_equal(kl_transfer_read(slow_read, &file, "f", read, sizeof read, 0, &size, NULL), KL_OK);
    assert_int_equal(size, FILE_SIZE);
    assert_memory_equal(read, file.bytes, FILE_SIZE);
    if (steps[i] < 10) assert_true(file.interruptions > 10);
    file.calls = 0;
    assert_int_equal(kl_transfer_read(slow_read, &file, "f", read, 10, FILE_SIZE - 5, &size, NULL), KL_OK);
    assert_int_equal(size, 5);
  }
}

static void test_writes_every_byte_once(void **state) {
  (void)state;
  static const size_t steps[] = {1, 3, 64, 333, 1000};
  unsigned char source[FILE_SIZE];
  for (size_t b = 0; b < FILE_SIZE; b++) source[b] = (unsigned char)(b * 13 + 1);
  for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
    slow_file file = {.step = steps[i]};
    kl_slice parts[301];
    size_t count = 0, at = 0;
    for (; count < 300; count++) { /* sizes 0 to 5, so that steps end inside and at the ends of parts */
      parts[count] = kl_slice_make(source + at, count % 6);
      at += count % 6;
    }
    parts[count++] = kl_slice_make(source + at, FILE_SIZE - at);
    assert_int_equal(kl_transfer_write(slow_write, &file, "f", parts, count, 0, NULL), KL_OK);
    assert_memory_equal(file.bytes, source, FILE_SIZE);
    assert_true(file.most_parts == KL_TRANSFER_PARTS);
  }
}

static void test_errors_end_the_loop(void **state) {
  (void)state;
  unsigned char bytes[100] = {1};
  size_t size = 77;
  kl_error error = {0};
  slow_file file = {.step = 10, .fail_at_call = 4, .error = ENOSPC};
  kl_slice part = kl_slice_make(bytes, sizeof bytes);
  assert_int_equal(kl_transfer_write(slow_write, &file, "dir/f", &part, 1, 50, &error), KL_E_DISK_FULL);
  assert_int_equal(error.system_errno, ENOSPC);
  assert_non_null(strstr(error.message, "dir/f"));
  assert_non_null(strstr(error.message, "80 bytes at offset 70")); /* two calls had moved ten bytes each */
  file = (slow_file){.step = 10, .fail_at_call = 2, .error = EIO};
  assert_int_equal(kl_transfer_read(slow_read, &file, "f", bytes, sizeof bytes, 0, &size, &error), KL_E_IO);
  assert_int_equal(size, 0);
  file = (slow_file){.step = 0};
  assert_int_equal(kl_transfer_write(slow_write, &file, "f", &part, 1, 0, &error), KL_E_IO); /* no endless loop */
}

static void test_errno_to_status(void **state) {
  (void)state;
  static const struct {
    int system_errno;
    kl_status status;
  } rows[] = {{ENOSPC, KL_E_DISK_FULL},
              {EDQUOT, KL_E_DISK_FULL},
              {EACCES, KL_E_PERMISSION},
              {EPERM, KL_E_PERMISSION},
              {ENOENT, KL_E_NO_FILE},
              {ENOTDIR, KL_E_NO_FILE},
              {EROFS, KL_E_READ_ONLY_MEDIA},
              {EEXIST, KL_E_EXISTS},
              {EISDIR, KL_E_NOT_A_FILE},
              {ENXIO, KL_E_NOT_A_FILE},
              {ENOMEM, KL_E_NO_MEMORY},
              {EFBIG, KL_E_LIMIT},
              {EMFILE, KL_E_LIMIT},
              {ENFILE, KL_E_LIMIT},
              {ENAMETOOLONG, KL_E_INVALID},
              {EAGAIN, KL_E_LOCKED},
              {EWOULDBLOCK, KL_E_LOCKED},
              {EIO, KL_E_IO},
              {EBADF, KL_E_IO}};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    kl_error error = {0};
    assert_int_equal(kl_os_fail(&error, rows[i].system_errno, "p", "cannot try %d of", 3), rows[i].status);
    assert_int_equal(error.code, rows[i].status);
    assert_int_equal(error.system_errno, rows[i].system_errno);
    assert_non_null(strstr(error.message, "cannot try 3 of \"p\" ("));
    assert_int_equal(kl_os_fail(NULL, rows[i].system_errno, "p", "x"), rows[i].status);
  }
}

static void test_long_paths_show_their_end(void **state) {
  (void)state;
  char path[600], shown[KL_PATH_SHOWN];
  kl_error error = {0};
  for (size_t i = 0; i + 3 < sizeof path; i += 3) memcpy(path + i, "\xE2\x82\xAC", 3); /* a character of three bytes */
  for (size_t shift = 0; shift < 4; shift++) {
    memcpy(path + sizeof path - 12, "x/data.keel", 12);
    (void)kl_path_shown(path + 3 * shift, shown);
    assert_memory_equal(shown, "...", 3);
    assert_true(((unsigned char)shown[3] & 0xC0) != 0x80);
    assert_string_equal(shown + strlen(shown) - 9, "data.keel");
    memmove(path + 1, path, sizeof path - 13); /* another cut on the next round */
    path[0] = 'y';
  }
  (void)kl_os_fail(&error, ENOSPC, path, "cannot write %d bytes at offset %d of", 1000000, 1000000);
  assert_non_null(strstr(error.message, "data.keel\" (free some disk space): "));
}

static void test_directories_of_paths(void **state) {
  (void)state;
  assert_int_equal(kl_path_directory_size("/a/b//c"), 4);
  assert_int_equal(kl_path_directory_size("/c"), 1);
  assert_int_equal(kl_path_directory_size("//c"), 1);
  assert_int_equal(kl_path_directory_size("c"), 0);
  assert_int_equal(kl_path_directory_size("a/c"), 1);
  assert_int_equal(kl_path_directory_size("./c"), 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_reads_to_the_end),          cmocka_unit_test(test_writes_every_byte_once),
      cmocka_unit_test(test_errors_end_the_loop),       cmocka_unit_test(test_errno_to_status),
      cmocka_unit_test(test_long_paths_show_their_end), cmocka_unit_test(test_directories_of_paths),
  };
  return cmocka_run_group_tests_name("os_transfer", tests, NULL, NULL);
}
