/* tests/support/format_tables.h: the tables of docs/format.md, for tests that decode files by nothing else.
 *
 * A program that includes it is compiled with KEEL_SOURCE_FOLDER, and loads the document before its first test:
 * cmocka_run_group_tests(tests, format_load_document, format_free_document). */
#ifndef KEEL_TESTS_FORMAT_TABLES_H
#define KEEL_TESTS_FORMAT_TABLES_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"

#ifndef KEEL_SOURCE_FOLDER
#error "KEEL_SOURCE_FOLDER names the project's folder"
#endif

static char *format_document;

static inline int format_load_document(void **state) {
  (void)state;
  FILE *file = fopen(KEEL_SOURCE_FOLDER "/docs/format.md", "rb");
  assert_non_null(file);
  format_document = calloc(1, 1 << 20);
  assert_non_null(format_document);
  assert_true(fread(format_document, 1, (1 << 20) - 1, file) > 1000);
  (void)fclose(file);
  return 0;
}

static inline int format_free_document(void **state) {
  (void)state;
  free(format_document);
  return 0;
}

typedef struct format_field {
  size_t offset, size;
} format_field;

/* The row of a field in the first table after a heading. A size that is no number is given as 0. */
static inline format_field format_row(const char *heading, const char *field) {
  char title[64];
  (void)snprintf(title, sizeof title, "# %s\n", heading);
  const char *line = strstr(format_document, title);
  if (line == NULL) fail_msg("docs/format.md has no heading \"%s\"", heading);
  line = strchr(line, '\n') + 1;
  for (; *line != 0 && *line != '#'; line = strchr(line, '\n') + 1) {
    char offset[32], size[32], name[64];
    if (sscanf(line, "| %31[^|] | %31[^|] | %63[^ |] |", offset, size, name) == 3 && strcmp(name, field) == 0) {
      return (format_field){strtoul(offset, NULL, 10), strtoul(size, NULL, 10)};
    }
  }
  fail_msg("docs/format.md, \"%s\", has no field \"%s\"", heading, field);
  return (format_field){0, 0};
}

static inline uint64_t format_number(const uint8_t *structure, const char *heading, const char *field) {
  format_field row = format_row(heading, field);
  assert_in_range(row.size, 1, 8);
  uint64_t value = 0;
  for (size_t i = row.size; i > 0; i--) value = value << 8 | structure[row.offset + i - 1];
  return value;
}

static inline uint32_t format_crc(uint32_t crc, const uint8_t *bytes, size_t size) {
  crc = ~crc;
  for (size_t i = 0; i < size; i++) {
    crc ^= bytes[i];
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
  }
  return ~crc;
}

#endif
