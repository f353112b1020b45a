/* core/drain/pages_cursor.h: what the two files of kl_pages_cursor share. */
#ifndef KL_DRAIN_PAGES_CURSOR_H
#define KL_DRAIN_PAGES_CURSOR_H

#include "../tree/leaf.h"
#include "pages_private.h"

enum {
  PAGES_AHEAD_FIRST = 12, /* rows of the first refill, as ten are a usual page of results; then four times as many */
  PAGES_AHEAD_MOST = 64,
  PAGES_AHEAD_LINES = 16,     /* lines of rows that a seek asks for ahead of a batch */
  PAGES_ROOM_FIRST = 2 << 10, /* bytes of rows, likewise */
  PAGES_ROOM_MOST = 32 << 10, /* a single row may have more */
  PAGES_RUN_SCAN = 16         /* refills in one direction after which it is a scan, for the cache */
};

/* Rows in ascending order, whichever way they were read. */
typedef struct pages_buffer {
  uint8_t *data; /* keys and values */
  size_t capacity, used;
  uint32_t low, high; /* rows[low ... high - 1] */
  bool begins, ends;  /* there is no row before the first, behind the last */
  kl_pages_row rows[PAGES_AHEAD_MOST];
} pages_buffer;

typedef struct pages_cursor {
  kl_pages_cursor face; /* first: the functions cast back */
  kl_pages *pages;
  kl_tree_pointer root;
  pages_op op; /* during a refill */
  kl_tree_cursor place;
  int placed; /* `place` stands on the last (1) or the first (-1) row of the buffer at hand; 0: on neither. While the
                     cursor waits: on the row that it waits at, whose key is in `sought` */
  uint32_t ahead; /* rows of the next refill */
  size_t room;    /* bytes of the next refill */
  uint32_t run;   /* refills in one direction */
  uint32_t
      batch; /* rows that the last collect gave, when that is how the cursor is used: then a seek reads no row ahead;
                     0: it is moved row by row */
  uint32_t current;
  kl_held far; /* the value of the row at the cursor, where it was loaded */
  size_t sought_size;
  uint8_t sought[KL_TREE_KEY_MAX + 1];
  pages_buffer buffers[2];
} pages_cursor;

/* From where a refill reads: up to ON forward, from LAST on backward. `sought` is the key. */
typedef enum pages_from {
  PAGES_FIRST,
  PAGES_GE,
  PAGES_GT,
  PAGES_AT, /* the row that `place` stands on */
  PAGES_ON, /* the row behind it */
  PAGES_LAST,
  PAGES_LE,
  PAGES_LT,
  PAGES_AT_BACK,
  PAGES_BACK /* the one before it */
} pages_from;

static inline int pages_from_direction(pages_from from) {
  return from <= PAGES_ON ? 1 : -1;
}

/* Keeps a key to look for. What is longer than any key is cut, one byte behind the longest: its order does not change. */
static inline void pages_cursor_seek_key(pages_cursor *cursor, kl_slice key) {
  cursor->sought_size = key.size < sizeof cursor->sought ? key.size : sizeof cursor->sought;
  if (cursor->sought_size != 0) memmove(cursor->sought, key.data, cursor->sought_size);
}
static inline kl_slice pages_cursor_sought(const pages_cursor *cursor) {
  return kl_slice_make(cursor->sought, cursor->sought_size);
}

kl_status pages_cursor_nowhere(pages_cursor *cursor, kl_status status);
/* Puts `place` on the first row to read. KL_CACHE_RETRY. */
kl_status pages_cursor_place(pages_cursor *cursor, pages_from from, kl_error *err);
/* From a place that was lost to the key of the row that it stood on. (ON and BACK: the last row of the buffer at
 * hand.) */
pages_from pages_cursor_lost(pages_cursor *cursor, pages_from from);
/* Reads rows into the other buffer, which becomes the one at hand, and shows the first of them in its direction. */
kl_status pages_cursor_fill(pages_cursor *cursor, pages_from from, kl_error *err);

/* It stands on the row that `place` stands on and whose key is in `sought`, and has not read it. */
static inline void pages_cursor_wait(pages_cursor *cursor) {
  cursor->face = (kl_pages_cursor){.valid = true, .waits = true};
}
/* Reads the row that the cursor waits at, and those that come next in a direction. On failure it is nowhere. */
kl_status pages_cursor_settle(pages_cursor *cursor, bool forward, kl_error *err);

#endif
