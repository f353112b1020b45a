/* tests/unit/keyspace/test_record.c: the bytes of the catalogue and the names of keyspaces. */
#include <string.h>

#include "cmocka_all.h"
#include "core/keyspace/record.h"

/* The table of docs/format.md, byte by byte. */
static void test_bytes(void **state) {
  (void)state;
  const catalogue_record record = {.id = 0x01020304, .created_ns = 0x1112131415161718};
  static const uint8_t expected[CATALOGUE_RECORD_SIZE] = {1,    0,    0,    0,    4,    3,    2, 1, 0x18, 0x17,
                                                          0x16, 0x15, 0x14, 0x13, 0x12, 0x11, 0, 0, 0,    0};
  uint8_t bytes[CATALOGUE_RECORD_SIZE];
  catalogue_record_encode(&record, bytes);
  assert_memory_equal(bytes, expected, sizeof bytes);
  catalogue_record back;
  assert_int_equal(catalogue_record_decode(kl_slice_make(bytes, sizeof bytes), &back, NULL), KL_OK);
  assert_int_equal(back.id, record.id);
  assert_int_equal(back.created_ns, record.created_ns);

  static const uint8_t expected_next[CATALOGUE_NEXT_ID_SIZE] = {1, 0, 0, 0, 9, 0, 0, 0};
  uint8_t next[CATALOGUE_NEXT_ID_SIZE];
  uint32_t id = 0;
  catalogue_next_id_encode(9, next);
  assert_memory_equal(next, expected_next, sizeof next);
  assert_int_equal(catalogue_next_id_decode(kl_slice_make(next, sizeof next), &id, NULL), KL_OK);
  assert_int_equal(id, 9);

  static const uint8_t expected_drop[CATALOGUE_DROP_SIZE] = {1, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0};
  uint8_t drop[CATALOGUE_DROP_SIZE];
  catalogue_drop_encode(5, drop);
  assert_memory_equal(drop, expected_drop, sizeof drop);

  uint8_t key[CATALOGUE_NAME_KEY_MAX];
  kl_slice name_key = catalogue_name_key(kl_slice_make("ab", 2), key);
  assert_int_equal(name_key.size, 3);
  assert_memory_equal(name_key.data, "nab", 3);
}

/* No single damaged byte, and no wrong length, is taken for a record of this version. */
static void test_damage(void **state) {
  (void)state;
  const catalogue_record record = {.id = 7, .created_ns = 1};
  uint8_t bytes[CATALOGUE_RECORD_SIZE + 8] = {0};
  catalogue_record back;
  kl_error err;
  catalogue_record_encode(&record, bytes);
  for (size_t size = 0; size <= sizeof bytes; size++) {
    kl_status status = catalogue_record_decode(kl_slice_make(bytes, size), &back, &err);
    assert_int_equal(status, size == CATALOGUE_RECORD_SIZE ? KL_OK : KL_E_CORRUPT);
  }
  bytes[0] = 2; /* a newer version, or flags that we do not know: not ours to guess */
  assert_int_equal(catalogue_record_decode(kl_slice_make(bytes, CATALOGUE_RECORD_SIZE), &back, &err), KL_E_VERSION);
  bytes[0] = 1;
  bytes[2] = 1;
  assert_int_equal(catalogue_record_decode(kl_slice_make(bytes, CATALOGUE_RECORD_SIZE), &back, &err), KL_E_VERSION);
  bytes[2] = 0;
  bytes[0] = 0;
  assert_int_equal(catalogue_record_decode(kl_slice_make(bytes, CATALOGUE_RECORD_SIZE), &back, &err), KL_E_CORRUPT);
  bytes[0] = 1;
  bytes[16] = 8; /* options, and they are there: of a newer version */
  assert_int_equal(catalogue_record_decode(kl_slice_make(bytes, sizeof bytes), &back, &err), KL_E_VERSION);
  bytes[16] = 0;
  bytes[4] = 0; /* id 0 */
  assert_int_equal(catalogue_record_decode(kl_slice_make(bytes, CATALOGUE_RECORD_SIZE), &back, &err), KL_E_CORRUPT);

  uint8_t next[CATALOGUE_NEXT_ID_SIZE + 1] = {0};
  uint32_t id;
  catalogue_next_id_encode(3, next);
  for (size_t size = 0; size <= sizeof next; size++) {
    kl_status status = catalogue_next_id_decode(kl_slice_make(next, size), &id, &err);
    assert_int_equal(status, size == CATALOGUE_NEXT_ID_SIZE ? KL_OK : KL_E_CORRUPT);
  }
  catalogue_next_id_encode(0, next);
  assert_int_equal(catalogue_next_id_decode(kl_slice_make(next, CATALOGUE_NEXT_ID_SIZE), &id, &err), KL_E_CORRUPT);
}

static bool name_is_valid(const char *bytes, size_t size) {
  kl_status status = catalogue_name_check(kl_slice_make(bytes, size), NULL);
  assert_true(status == KL_OK || status == KL_E_INVALID);
  return status == KL_OK;
}
#define VALID(literal) name_is_valid(literal, sizeof(literal) - 1)

static void test_names(void **state) {
  (void)state;
  char longest[256];
  memset(longest, 'x', sizeof longest);
  assert_true(name_is_valid(longest, 255));
  assert_false(name_is_valid(longest, 256));
  assert_false(name_is_valid(longest, SIZE_MAX));
  assert_false(VALID(""));
  assert_true(VALID("a"));
  assert_true(VALID("a\0b")); /* NUL is a character like any other */
  assert_true(VALID("\xc3\xa9t\xc3\xa9"));
  assert_true(VALID("\xe2\x82\xac"));
  assert_true(VALID("\xf0\x9f\x94\x91"));
  assert_true(VALID("\xf4\x8f\xbf\xbf"));  /* the last character there is */
  assert_false(VALID("\xf4\x90\x80\x80")); /* one more */
  assert_false(VALID("\xed\xa0\x80"));     /* a surrogate */
  assert_false(VALID("\xc0\x80"));         /* overlong */
  assert_false(VALID("\xe0\x80\x80"));
  assert_false(VALID("\xf0\x80\x80\x80"));
  assert_false(VALID("\x80"));         /* begins in the middle */
  assert_false(VALID("a\xe2\x82"));    /* cut */
  assert_false(VALID("\xe2\x28\xa1")); /* no continuation */
  assert_false(VALID("\xff"));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_bytes), cmocka_unit_test(test_damage),
                                     cmocka_unit_test(test_names)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
