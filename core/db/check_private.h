/* core/db/check_private.h: what verification and salvage share: reading past the cache, and the list of problems.
 *
 *   check.c     the reader, the catalogue as it is found, problems
 *   verify.c    verification
 *   salvage.c   salvage: choosing, trees        salvage_log.c   the log, and writing the new database */
#ifndef KL_DB_CHECK_PRIVATE_H
#define KL_DB_CHECK_PRIVATE_H

#include "../base/show.h"
#include "../drain/extent.h"
#include "../drain/stored.h"
#include "../drain/tree_record.h"
#include "../keyspace/keyspace.h"
#include "../store/store.h"
#include "check.h"

/* -------- the reader -------- */

enum { CHECK_PART = 256 << 10 }; /* bytes of a value that are read at once */

/* Pages and values straight from a store, or, without one, from the file. */
typedef struct check_reader {
  kl_os *os;
  kl_allocator *allocator;
  kl_store *store; /* NULL: `file` */
  kl_file *file;
  const char *path; /* for messages */
  uint32_t page_size;
  uint64_t birth_most; /* no pointer is younger */
  uint64_t bytes;      /* read so far */
  uint8_t *page;       /* KL_PAGE_SIZE_MAX bytes, aligned */
  uint8_t *part;       /* CHECK_PART bytes */
  kl_tree_source source;
} check_reader;

/* The other fields are set. KL_E_NO_MEMORY. */
kl_status check_reader_init(check_reader *reader, kl_error *err);
void check_reader_destroy(check_reader *reader);
/* `length` bytes at `address` of the file: KL_E_CORRUPT when they are not there, KL_E_IO. */
kl_status check_read(check_reader *reader, uint64_t address, void *buffer, size_t length, kl_error *err);

/* A value that is read in parts: begin, then parts until `left` is 0. */
typedef struct check_value {
  kl_extent_check check;
  uint64_t left;
} check_value;
/* Checks the reference. */
kl_status check_value_begin(check_reader *reader, const kl_tree_extent *extent, check_value *out, kl_error *err);
/* The next at most CHECK_PART bytes, into reader->part or `to`; only with the last part all is known to be right. */
kl_status check_value_part(check_reader *reader, check_value *value, uint8_t *to, kl_error *err);

/* KL_E_CORRUPT, KL_E_IO, KL_E_VERSION: something is wrong with what was read. */
static inline bool check_is_damage(kl_status status) {
  return status == KL_E_CORRUPT || status == KL_E_IO || status == KL_E_VERSION;
}

/* -------- problems -------- */

typedef struct check_problems {
  kl_allocator *allocator;
  uint64_t count;
  char *text[KL_CHECK_PROBLEMS];
} check_problems;

void check_problems_destroy(check_problems *problems);
/* Counts a problem and keeps its text while there is room (and memory for it). */
void check_problem(check_problems *problems, const char *format, ...) __attribute__((format(printf, 2, 3)));
const char *check_problem_text(const check_problems *problems, uint64_t index);

/* -------- keyspaces -------- */

typedef struct check_space {
  uint32_t id;
  bool has_tree;
  kl_tree_record tree;
  bool is_load; /* of a load that has not ended: it has no name yet */
  char *name;   /* NULL: no row of the catalogue names it */
  uint32_t name_size;
  kl_keyspace *target; /* of a salvage; NULL: not made yet */
} check_space;

/* The keyspaces of a catalogue, ascending by id. Zeroed, it is empty. */
typedef struct check_spaces {
  kl_allocator *allocator;
  check_space *list;
  size_t count, capacity;
} check_spaces;

void check_spaces_destroy(check_spaces *spaces); /* the targets have been released */
check_space *check_spaces_find(check_spaces *spaces, uint32_t id);
/* The keyspace of that id, added when it is not there. NULL: no memory, and err says so. Others may move. */
check_space *check_spaces_add(check_spaces *spaces, uint32_t id, kl_error *err);
kl_status check_space_rename(check_spaces *spaces, check_space *space, kl_slice name, kl_error *err);
/* A row of the catalogue's tree; rows of other kinds are nothing to it. KL_E_CORRUPT and KL_E_VERSION, KL_E_NO_MEMORY. */
kl_status check_spaces_take(check_spaces *spaces, kl_slice key, kl_slice value, kl_error *err);

enum { CHECK_KEYS = 32, CHECK_WHERE = 400 }; /* bytes of a key that are shown; room for what check_show_space writes */

/* "keyspace "name"", or what is known of it. `space` NULL: the catalogue. */
void check_show_space(const check_space *space, char out[CHECK_WHERE]);
/* What is lost with a damaged page. */
void check_problem_page(check_problems *problems, const check_space *space, const kl_tree_item *item);
/* ... with a damaged value. */
void check_problem_value(check_problems *problems, const check_space *space, kl_slice key, const kl_error *cause);

#endif
