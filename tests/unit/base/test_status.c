/* Errors: what kl_fail stores, cutting, one line, names. */
#include <errno.h>
#include <string.h>

#include "cmocka_all.h"
#include "core/base/status.h"

static void test_fail_fills_and_returns_the_code(void **state) {
  (void)state;
  kl_error err = {0};
  assert_int_equal(kl_fail(&err, KL_E_LOCKED, "%s is locked by process %d", "a.keel", 7), KL_E_LOCKED);
  assert_int_equal(err.code, KL_E_LOCKED);
  assert_int_equal(err.system_errno, 0);
  assert_string_equal(err.message, "a.keel is locked by process 7");
  assert_int_equal(kl_fail(NULL, KL_E_IO, "nobody listens"), KL_E_IO);
  assert_int_equal(kl_fail_errno(NULL, KL_E_IO, EIO, "nobody listens"), KL_E_IO);
}

static void test_errno_is_kept_and_named(void **state) {
  (void)state;
  kl_error err = {0};
  assert_int_equal(kl_fail_errno(&err, KL_E_DISK_FULL, ENOSPC, "cannot grow %s", "a"), KL_E_DISK_FULL);
  assert_int_equal(err.system_errno, ENOSPC);
  assert_non_null(strstr(err.message, "cannot grow a: "));
  assert_non_null(strstr(err.message, strerror(ENOSPC)));
}

static void test_long_messages_are_cut_visibly(void **state) {
  (void)state;
  char text[1000];
  memset(text, 'x', sizeof text - 1);
  text[sizeof text - 1] = '\0';
  for (int with_errno = 0; with_errno < 2; with_errno++) {
    kl_error err = {0};
    kl_fail_errno(&err, KL_E_IO, with_errno ? EIO : 0, "%s", text);
    assert_int_equal(strlen(err.message), KL_ERROR_MESSAGE - 1);
    assert_string_equal(err.message + KL_ERROR_MESSAGE - 4, "...");
  }
  /* The text fits, what is appended does not. */
  kl_error err = {0};
  kl_fail_errno(&err, KL_E_IO, EIO, "%.*s", KL_ERROR_MESSAGE - 5, text);
  assert_string_equal(err.message + strlen(err.message) - 3, "...");
  /* Exactly full is not cut. */
  kl_fail(&err, KL_E_IO, "%.*s", KL_ERROR_MESSAGE - 1, text);
  assert_int_equal(strlen(err.message), KL_ERROR_MESSAGE - 1);
  assert_null(strchr(err.message, '.'));
}

static void test_cutting_keeps_utf8_whole(void **state) {
  (void)state;
  for (int lead = 0; lead < 4; lead++) { /* a three-byte sequence across the cut, at each offset */
    char text[600];
    size_t n = 0;
    for (int i = 0; i < lead; i++) text[n++] = 'a';
    while (n + 3 < sizeof text) {
      memcpy(text + n, "\xE2\x82\xAC", 3);
      n += 3;
    }
    text[n] = '\0';
    kl_error err = {0};
    kl_fail(&err, KL_E_IO, "%s", text);
    size_t length = strlen(err.message);
    assert_string_equal(err.message + length - 3, "...");
    assert_int_equal((length - 3 - (size_t)lead) % 3, 0);
  }
}

static void test_a_message_is_one_line(void **state) {
  (void)state;
  kl_error err = {0};
  kl_fail(&err, KL_E_NO_FILE, "no file %s", "evil\nname\x1b[31m\x7f");
  assert_string_equal(err.message, "no file evil?name?[31m?");
}

static void test_names(void **state) {
  (void)state;
  assert_string_equal(kl_status_name(KL_OK), "ok");
  assert_string_equal(kl_status_name(KL_E_SNAPSHOT_TOO_OLD), "snapshot_too_old");
  assert_string_equal(kl_status_name(KL_E_INTERNAL), "internal");
  assert_string_equal(kl_status_name(-1), "unknown");
  assert_string_equal(kl_status_name(1), "unknown");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_fail_fills_and_returns_the_code), cmocka_unit_test(test_errno_is_kept_and_named),
      cmocka_unit_test(test_long_messages_are_cut_visibly),   cmocka_unit_test(test_cutting_keeps_utf8_whole),
      cmocka_unit_test(test_a_message_is_one_line),           cmocka_unit_test(test_names),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
