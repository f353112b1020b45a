/* core/db/check.c: what verification and salvage share. See check_private.h. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "../base/endian.h"
#include "../keyspace/record.h"
#include "check_private.h"

/* -------- the reader -------- */

kl_status check_read(check_reader *reader, uint64_t address, void *buffer, size_t length, kl_error *err) {
  reader->bytes += length;
  if (reader->store != NULL) return kl_store_read(reader->store, address, buffer, length, err);
  size_t got = 0;
  kl_status status = KL_OK;
  bool possible = address >= (uint64_t)KL_SUPERBLOCKS * KL_BLOCK_SIZE && address <= (uint64_t)INT64_MAX - length;
  if (possible) status = kl_os_read(reader->os, reader->file, buffer, length, address, &got, err);
  if (status != KL_OK || (possible && got == length)) return status;
  return kl_fail(err, KL_E_CORRUPT, "'%s': a pointer names %zu bytes at block %" PRIu64 ", where there are none",
                 reader->path, length, address / KL_BLOCK_SIZE);
}

static kl_status check_birth(const check_reader *reader, uint64_t address, uint64_t birth, kl_error *err) {
  if (birth <= reader->birth_most) return KL_OK;
  return kl_fail(err, KL_E_CORRUPT,
                 "'%s': a pointer to block %" PRIu64 " was made by checkpoint %" PRIu64
                 ", after that of number %" PRIu64 " which reaches it",
                 reader->path, address / KL_BLOCK_SIZE, birth, reader->birth_most);
}

static kl_status check_load(void *context, const kl_tree_pointer *pointer, const uint8_t **out_page, kl_error *err) {
  check_reader *reader = context;
  kl_status status = kl_stored_check_pointer(reader->path, pointer, reader->page_size, err);
  if (status == KL_OK) status = check_birth(reader, pointer->address, pointer->birth, err);
  if (status == KL_OK) status = check_read(reader, pointer->address, reader->page, pointer->length, err);
  if (status == KL_OK) status = kl_stored_check_page(reader->path, pointer, reader->page, err);
  *out_page = reader->page;
  return status;
}

kl_status check_reader_init(check_reader *reader, kl_error *err) {
  reader->source = (kl_tree_source){.load = check_load, .context = reader};
  reader->page = kl_alloc_aligned(reader->allocator, KL_PAGE_SIZE_MAX, 64);
  reader->part = kl_alloc(reader->allocator, CHECK_PART);
  if (reader->page != NULL && reader->part != NULL) return KL_OK;
  check_reader_destroy(reader);
  return kl_fail(err, KL_E_NO_MEMORY, "no memory to read '%s'; free some and try again", reader->path);
}

void check_reader_destroy(check_reader *reader) {
  kl_free(reader->allocator, reader->page, KL_PAGE_SIZE_MAX);
  kl_free(reader->allocator, reader->part, CHECK_PART);
  reader->page = reader->part = NULL;
}

static kl_status check_read_table(void *context, uint64_t address, void *buffer, size_t length, kl_error *err) {
  return check_read(context, address, buffer, length, err);
}

kl_status check_value_begin(check_reader *reader, const kl_tree_extent *extent, check_value *out, kl_error *err) {
  out->left = extent->length;
  kl_status status = kl_extent_check_begin(&out->check, reader->path, extent, check_read_table, reader, err);
  return status == KL_OK ? check_birth(reader, extent->address, extent->birth, err) : status;
}

kl_status check_value_part(check_reader *reader, check_value *value, uint8_t *to, kl_error *err) {
  size_t size = value->left < CHECK_PART ? (size_t)value->left : CHECK_PART;
  uint64_t address = value->check.extent.address + (value->check.extent.length - value->left);
  if (to == NULL) to = reader->part;
  kl_status status = check_read(reader, address, to, size, err);
  if (status != KL_OK) return status;
  value->left -= size;
  return kl_extent_check_add(&value->check, to, size, err);
}

/* -------- problems -------- */

void check_problems_destroy(check_problems *problems) {
  for (size_t i = 0; i < KL_CHECK_PROBLEMS; i++) kl_free(problems->allocator, problems->text[i], KL_CHECK_TEXT);
}

void check_problem(check_problems *problems, const char *format, ...) {
  uint64_t number = problems->count++;
  if (number >= KL_CHECK_PROBLEMS) return;
  char *text = kl_alloc(problems->allocator, KL_CHECK_TEXT);
  if (text == NULL) return; /* it is counted all the same */
  va_list arguments;
  va_start(arguments, format);
  (void)vsnprintf(text, KL_CHECK_TEXT, format, arguments);
  va_end(arguments);
  problems->text[number] = text;
}

const char *check_problem_text(const check_problems *problems, uint64_t index) {
  return index < KL_CHECK_PROBLEMS ? problems->text[index] : NULL;
}

void check_show_space(const check_space *space, char out[CHECK_WHERE]) {
  if (space == NULL) {
    (void)snprintf(out, CHECK_WHERE, "the catalogue");
  } else if (space->name == NULL && space->is_load) {
    (void)snprintf(out, CHECK_WHERE, "keyspace number %" PRIu32 " (of a load that has not ended)", space->id);
  } else if (space->name == NULL) {
    (void)snprintf(out, CHECK_WHERE, "keyspace number %" PRIu32 " (its name is lost)", space->id);
  } else {
    (void)snprintf(out, CHECK_WHERE, "keyspace \"%.*s\"", (int)space->name_size, space->name);
  }
}

void check_problem_page(check_problems *problems, const check_space *space, const kl_tree_item *item) {
  char where[CHECK_WHERE], low[KL_SHOW_SIZE(CHECK_KEYS)], high[KL_SHOW_SIZE(CHECK_KEYS)];
  check_show_space(space, where);
  kl_show_bytes(item->low, CHECK_KEYS, low);
  kl_show_bytes(item->high, CHECK_KEYS, high);
  if (item->rows != 0) {
    check_problem(problems, "%s: %" PRIu64 " rows with keys from %s %s%s are lost: %s", where, item->rows, low,
                  item->has_high ? "to before " : "on", item->has_high ? high : "", item->cause.message);
  } else {
    check_problem(problems, "%s: all rows are lost: %s", where, item->cause.message);
  }
}

void check_problem_value(check_problems *problems, const check_space *space, kl_slice key, const kl_error *cause) {
  char where[CHECK_WHERE], shown[KL_SHOW_SIZE(CHECK_KEYS)];
  check_show_space(space, where);
  kl_show_bytes(key, CHECK_KEYS, shown);
  check_problem(problems, "%s: the value of key %s is lost: %s", where, shown, cause->message);
}

/* -------- keyspaces -------- */

void check_spaces_destroy(check_spaces *spaces) {
  for (size_t i = 0; i < spaces->count; i++) {
    kl_free(spaces->allocator, spaces->list[i].name, spaces->list[i].name_size);
  }
  kl_free(spaces->allocator, spaces->list, spaces->capacity * sizeof *spaces->list);
}

/* The first whose id is not below. */
static size_t check_spaces_search(const check_spaces *spaces, uint32_t id) {
  size_t low = 0, high = spaces->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (spaces->list[middle].id < id) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

check_space *check_spaces_find(check_spaces *spaces, uint32_t id) {
  size_t at = check_spaces_search(spaces, id);
  return at < spaces->count && spaces->list[at].id == id ? &spaces->list[at] : NULL;
}

check_space *check_spaces_add(check_spaces *spaces, uint32_t id, kl_error *err) {
  size_t at = check_spaces_search(spaces, id), size = sizeof *spaces->list;
  if (at < spaces->count && spaces->list[at].id == id) return &spaces->list[at];
  if (spaces->count == spaces->capacity) {
    size_t capacity = spaces->capacity == 0 ? 16 : 2 * spaces->capacity;
    void *grown = kl_realloc(spaces->allocator, spaces->list, spaces->capacity * size, capacity * size);
    if (grown == NULL) {
      (void)kl_fail(err, KL_E_NO_MEMORY, "no memory for a list of %zu keyspaces; free some and try again", capacity);
      return NULL;
    }
    spaces->list = grown;
    spaces->capacity = capacity;
  }
  memmove(spaces->list + at + 1, spaces->list + at, (spaces->count - at) * size);
  spaces->count++;
  spaces->list[at] = (check_space){.id = id};
  return &spaces->list[at];
}

kl_status check_space_rename(check_spaces *spaces, check_space *space, kl_slice name, kl_error *err) {
  char *copy = kl_alloc(spaces->allocator, name.size);
  if (copy == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory for the name of a keyspace; free some");
  memcpy(copy, name.data, name.size);
  kl_free(spaces->allocator, space->name, space->name_size);
  space->name = copy;
  space->name_size = (uint32_t)name.size;
  return KL_OK;
}

static kl_status check_spaces_take_name(check_spaces *spaces, kl_slice name, kl_slice value, kl_error *err) {
  catalogue_record record;
  kl_status status = catalogue_record_decode(value, &record, err);
  if (status == KL_OK) status = catalogue_name_check(name, err);
  if (status != KL_OK) return status == KL_E_INVALID ? KL_E_CORRUPT : status;
  check_space *space = check_spaces_add(spaces, record.id, err);
  if (space == NULL) return KL_E_NO_MEMORY;
  if (space->name != NULL) {
    return kl_fail(err, KL_E_CORRUPT, "the catalogue has two names for keyspace number %" PRIu32, record.id);
  }
  return check_space_rename(spaces, space, name, err);
}

static kl_status check_spaces_take_load(check_spaces *spaces, kl_slice key, kl_error *err) {
  uint32_t id;
  kl_status status = catalogue_load_key_decode(key, &id, err);
  if (status != KL_OK) return status;
  check_space *space = check_spaces_add(spaces, id, err);
  if (space == NULL) return KL_E_NO_MEMORY;
  space->is_load = true;
  return KL_OK;
}

kl_status check_spaces_take(check_spaces *spaces, kl_slice key, kl_slice value, kl_error *err) {
  const uint8_t *bytes = key.data;
  if (key.size == 0) return kl_fail(err, KL_E_CORRUPT, "the catalogue has a row with an empty key");
  if (bytes[0] == CATALOGUE_NAME_PREFIX) {
    return check_spaces_take_name(spaces, kl_slice_make(bytes + 1, key.size - 1), value, err);
  }
  if (bytes[0] == CATALOGUE_LOAD_PREFIX) return check_spaces_take_load(spaces, key, err);
  if (bytes[0] != KL_TREE_RECORD_PREFIX) return KL_OK;
  kl_tree_record record;
  if (key.size != KL_TREE_RECORD_KEY) {
    return kl_fail(err, KL_E_CORRUPT, "the catalogue has a tree record with a key of %zu bytes", key.size);
  }
  uint32_t id = kl_load_u32_be(bytes + 1);
  kl_status status = kl_tree_record_decode(value, id, &record, err);
  if (status != KL_OK) return status;
  check_space *space = check_spaces_add(spaces, id, err);
  if (space == NULL) return KL_E_NO_MEMORY;
  space->has_tree = true;
  space->tree = record;
  return KL_OK;
}
