/* examples/demo/near.c: which cities lie near a point? The question that C answers about the demo's database.
 *
 * near DATABASE LATITUDE LONGITUDE KILOMETRES
 *
 * Scans the keyspace by_cell (key: latitude and longitude in tenths of a degree, two bytes each, big-endian; then the city's id)
 * over the cells around the point, looks the cities up with one keel_get_many, and prints the nearest ones. */
#include <inttypes.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "keel/keel.h"

enum { CELLS_PER_DEGREE = 10, CELL_KEY = 8, ID_KEY = 4, SHOWN = 8 };

typedef struct city {
  double kilometres;
  char name[64];
  long population;
} city;

typedef struct search {
  keel_db db;
  keel_txn txn;
  keel_keyspace cities, by_cell;
  keel_batch batch;
  double latitude, longitude, kilometres;
  uint8_t *ids; /* packed keys of cities */
  uint64_t *id_offsets;
  size_t count, capacity;
  uint64_t rows;
  city *found;
  size_t found_count;
} search;

static void fail(const char *what, const keel_error *error) {
  fprintf(stderr, "near: %s: %s (%s)\n", what, error->message, keel_status_name(error->code));
  exit(1);
}

static double radians(double degrees) {
  return degrees * 3.14159265358979323846 / 180;
}

/* Great-circle distance by the haversine formula, on a sphere of the Earth's mean radius. */
static double distance_km(double latitude1, double longitude1, double latitude2, double longitude2) {
  double a = sin(radians(latitude2 - latitude1) / 2), b = sin(radians(longitude2 - longitude1) / 2);
  double h = a * a + cos(radians(latitude1)) * cos(radians(latitude2)) * b * b;
  return 2 * 6371.0088 * asin(sqrt(h));
}

static uint16_t cell(double degrees, double offset) {
  double tenths = floor((degrees + offset) * CELLS_PER_DEGREE);
  double last = 2 * offset * CELLS_PER_DEGREE;
  return (uint16_t)(tenths < 0 ? 0 : tenths > last ? last : tenths);
}

static void put_u16(uint8_t *out, uint16_t value) {
  out[0] = (uint8_t)(value >> 8);
  out[1] = (uint8_t)value;
}

static void add_id(search *self, const uint8_t *id) {
  if (self->count == self->capacity) {
    self->capacity = self->capacity == 0 ? 1024 : self->capacity * 2;
    self->ids = realloc(self->ids, self->capacity * ID_KEY);
    self->id_offsets = realloc(self->id_offsets, (self->capacity + 1) * sizeof *self->id_offsets);
    if (self->ids == NULL || self->id_offsets == NULL) exit(1);
    self->id_offsets[0] = 0;
  }
  memcpy(self->ids + self->count * ID_KEY, id, ID_KEY);
  self->count++;
  self->id_offsets[self->count] = self->count * ID_KEY;
}

/* One row of cells: a range of keys from the western to the eastern edge. */
static void scan_row(search *self, uint16_t row, uint16_t west, uint16_t east) {
  uint8_t lower[4], upper[4 + ID_KEY];
  put_u16(lower, row);
  put_u16(lower + 2, west);
  put_u16(upper, row);
  put_u16(upper + 2, east);
  memset(upper + 4, 0xff, ID_KEY);
  keel_cursor_options options = KEEL_CURSOR_OPTIONS_INIT;
  options.lower = lower;
  options.lower_size = sizeof lower;
  options.upper = upper;
  options.upper_size = sizeof upper;
  keel_error error = {0};
  keel_cursor cursor = 0;
  if (keel_cursor_open(self->txn, self->by_cell, &options, &cursor, &error) != KEEL_OK) fail("cursor", &error);
  for (;;) {
    if (keel_cursor_next_batch(cursor, 1000, 0, self->batch, &error) != KEEL_OK) fail("scan", &error);
    keel_batch_view rows = KEEL_BATCH_VIEW_INIT;
    if (keel_batch_data(self->batch, &rows, &error) != KEEL_OK) fail("batch", &error);
    if (rows.count == 0) break;
    for (size_t i = 0; i < rows.count; i++) add_id(self, (const uint8_t *)rows.keys + rows.key_offsets[i] + 4);
    self->rows += rows.count;
  }
  keel_cursor_close(cursor, NULL);
}

/* A record is "name TAB country TAB admin TAB feature TAB population TAB latitude TAB longitude". */
static void take_city(search *self, const char *record, size_t size) {
  char text[512], *field[7], *rest = text;
  if (size >= sizeof text) return;
  memcpy(text, record, size);
  text[size] = '\0';
  for (int i = 0; i < 7; i++) {
    field[i] = rest != NULL ? strsep(&rest, "\t") : NULL;
    if (field[i] == NULL) return;
  }
  double away = distance_km(self->latitude, self->longitude, strtod(field[5], NULL), strtod(field[6], NULL));
  if (away > self->kilometres) return;
  city *next = &self->found[self->found_count++];
  next->kilometres = away;
  next->population = strtol(field[4], NULL, 10);
  snprintf(next->name, sizeof next->name, "%s, %s", field[0], field[1]);
}

static void look_up(search *self) {
  keel_error error = {0};
  self->found = calloc(self->count + 1, sizeof *self->found);
  if (self->found == NULL) exit(1);
  if (self->count == 0) return;
  if (keel_get_many(self->txn, self->cities, self->ids, self->id_offsets, self->count, self->batch, &error) !=
      KEEL_OK) {
    fail("get_many", &error);
  }
  keel_batch_view rows = KEEL_BATCH_VIEW_INIT;
  if (keel_batch_data(self->batch, &rows, &error) != KEEL_OK) fail("batch", &error);
  for (size_t i = 0; i < rows.count; i++) {
    const char *record = (const char *)rows.values + rows.value_offsets[i];
    if (rows.found[i]) take_city(self, record, (size_t)(rows.value_offsets[i + 1] - rows.value_offsets[i]));
  }
}

static int by_distance(const void *a, const void *b) {
  double x = ((const city *)a)->kilometres, y = ((const city *)b)->kilometres;
  return (x > y) - (x < y);
}

static void open_all(search *self, const char *path) {
  keel_error error = {0};
  keel_options options = KEEL_OPTIONS_INIT;
  options.flags = KEEL_OPEN_READ_ONLY;
  keel_txn_options reading = KEEL_TXN_OPTIONS_INIT;
  reading.flags = KEEL_TXN_READ_ONLY;
  keel_keyspace_options existing = KEEL_KEYSPACE_OPTIONS_INIT;
  existing.flags = KEEL_KEYSPACE_NO_CREATE;
  if (keel_open(path, &options, &self->db, &error) != KEEL_OK) fail(path, &error);
  if (keel_keyspace_open(self->db, "cities", 6, &existing, &self->cities, &error) != KEEL_OK) fail("cities", &error);
  if (keel_keyspace_open(self->db, "by_cell", 7, &existing, &self->by_cell, &error) != KEEL_OK) fail("by_cell", &error);
  if (keel_begin(self->db, &reading, &self->txn, &error) != KEEL_OK) fail("begin", &error);
  if (keel_batch_new(&self->batch, &error) != KEEL_OK) fail("batch", &error);
}

int main(int argc, char **argv) {
  if (argc != 5) {
    fputs("usage: near DATABASE LATITUDE LONGITUDE KILOMETRES\n", stderr);
    return 2;
  }
  search self = {
      .latitude = strtod(argv[2], NULL), .longitude = strtod(argv[3], NULL), .kilometres = strtod(argv[4], NULL)};
  open_all(&self, argv[1]);
  struct timespec begin, end;
  clock_gettime(CLOCK_MONOTONIC, &begin);
  double high = self.kilometres / 111.0, wide = high / fmax(0.05, cos(radians(self.latitude)));
  uint16_t last_row = cell(self.latitude + high, 90);
  for (uint16_t row = cell(self.latitude - high, 90); row <= last_row; row++) {
    scan_row(&self, row, cell(self.longitude - wide, 180), cell(self.longitude + wide, 180));
  }
  look_up(&self);
  clock_gettime(CLOCK_MONOTONIC, &end);
  qsort(self.found, self.found_count, sizeof *self.found, by_distance);
  printf("%zu places within %.0f km of %.4f, %.4f; the nearest:\n", self.found_count, self.kilometres, self.latitude,
         self.longitude);
  for (size_t i = 0; i < self.found_count && i < SHOWN; i++) {
    printf("  %6.1f km  %-32s %10ld people\n", self.found[i].kilometres, self.found[i].name, self.found[i].population);
  }
  double seconds = (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9;
  printf("read %" PRIu64 " index rows and %zu records in %.2f ms\n", self.rows, self.count, seconds * 1e3);
  keel_batch_free(self.batch, NULL);
  keel_rollback(self.txn, NULL);
  keel_keyspace_close(self.by_cell, NULL);
  keel_keyspace_close(self.cities, NULL);
  keel_close(self.db, NULL);
  free(self.ids);
  free(self.id_offsets);
  free(self.found);
  return 0;
}
