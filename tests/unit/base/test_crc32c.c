/* CRC-32C: the RFC's vectors, the definition bit by bit, both implementations, every split. */
#include <string.h>

#include "cmocka_all.h"
#include "core/base/crc32c.h"
#include "core/base/rng.h"
#include "seed.h"

typedef uint32_t (*crc_function)(uint32_t crc, const void *data, size_t size);
static const crc_function implementations[] = {kl_crc32c, kl_crc32c_portable};
enum { IMPLEMENTATIONS = sizeof implementations / sizeof *implementations };

/* The definition: one bit at a time. */
static uint32_t crc_by_bits(uint32_t crc, const uint8_t *p, size_t size) {
  crc = ~crc;
  for (size_t i = 0; i < size; i++) {
    crc ^= p[i];
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ ((crc & 1) != 0 ? UINT32_C(0x82f63b78) : 0);
  }
  return ~crc;
}

static void test_vectors_of_rfc_3720(void **state) {
  (void)state;
  uint8_t zeros[32] = {0};
  uint8_t ones[32];
  uint8_t up[32];
  uint8_t down[32];
  memset(ones, 0xff, sizeof ones);
  for (uint8_t i = 0; i < 32; i++) {
    up[i] = i;
    down[i] = (uint8_t)(31 - i);
  }
  static const uint8_t read_command[48] = {0x01, 0xc0, 0, 0, 0, 0, 0,    0, 0,    0, 0, 0,    0, 0, 0, 0,
                                           0x14, 0,    0, 0, 0, 0, 0x04, 0, 0,    0, 0, 0x14, 0, 0, 0, 0x18,
                                           0x28, 0,    0, 0, 0, 0, 0,    0, 0x02, 0, 0, 0,    0, 0, 0, 0};
  for (int i = 0; i < IMPLEMENTATIONS; i++) {
    crc_function crc = implementations[i];
    assert_int_equal(crc(0, zeros, 32), 0x8a9136aa);
    assert_int_equal(crc(0, ones, 32), 0x62a8ab43);
    assert_int_equal(crc(0, up, 32), 0x46dd794e);
    assert_int_equal(crc(0, down, 32), 0x113fdb5c);
    assert_int_equal(crc(0, read_command, 48), 0xd9963a56);
    assert_int_equal(crc(0, "123456789", 9), 0xe3069283);
    assert_int_equal(crc(0, NULL, 0), 0);
    assert_int_equal(crc(77, NULL, 0), 77);
  }
}

static void test_every_length_and_alignment_equals_the_definition(void **state) {
  (void)state;
  static uint8_t data[8192];
  kl_rng rng;
  kl_rng_init(&rng, test_seed(31));
  kl_rng_fill(&rng, data, sizeof data);
  for (int i = 0; i < IMPLEMENTATIONS; i++) {
    for (size_t start = 0; start < 9; start++) {
      for (size_t size = 0; size < 900; size++) {
        uint32_t seed = (uint32_t)kl_rng_next(&rng);
        assert_int_equal(implementations[i](seed, data + start, size), crc_by_bits(seed, data + start, size));
      }
    }
    for (size_t size = 3000; size < sizeof data; size += 61) { /* long lanes, short lanes and the rest */
      assert_int_equal(implementations[i](5, data, size), crc_by_bits(5, data, size));
    }
  }
}

static void test_splits_continue(void **state) {
  (void)state;
  static uint8_t data[4000];
  kl_rng rng;
  kl_rng_init(&rng, test_seed(32));
  kl_rng_fill(&rng, data, sizeof data);
  uint32_t whole = kl_crc32c(0, data, sizeof data);
  for (size_t cut = 0; cut <= sizeof data; cut += 13) {
    uint32_t head = kl_crc32c(0, data, cut);
    assert_int_equal(kl_crc32c(head, data + cut, sizeof data - cut), whole);
    assert_int_equal(kl_crc32c_portable(head, data + cut, sizeof data - cut), whole);
  }
}

static void test_every_table_entry_counts(void **state) {
  (void)state;
  /* Eight bytes of which one is not zero read one entry of each of the eight tables. */
  for (size_t position = 0; position < 8; position++) {
    for (unsigned value = 0; value < 256; value++) {
      uint8_t data[8] = {0};
      data[position] = (uint8_t)value;
      assert_int_equal(kl_crc32c_portable(UINT32_MAX, data, 8), crc_by_bits(UINT32_MAX, data, 8));
    }
  }
}

int main(void) {
  print_message("hardware: %s\n", kl_crc32c_is_hardware() ? "yes" : "no");
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_vectors_of_rfc_3720),
      cmocka_unit_test(test_every_length_and_alignment_equals_the_definition),
      cmocka_unit_test(test_splits_continue),
      cmocka_unit_test(test_every_table_entry_counts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
