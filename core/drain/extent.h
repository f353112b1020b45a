/* core/drain/extent.h: the bytes of an extent: what a value looks like in the file, for those who write and read it.
 *
 * A *plain* extent (chunk 0) is the bytes of the value, and its checksum is theirs. One *with a table* (chunk n: parts of
 * 2^n bytes) has behind them, from the next block on, the CRC-32C of each part, and its checksum is that of the table:
 * so a part of the value can be read and trusted without the rest. Byte table: docs/format.md.
 *
 * Whatever the size of the value, kl_extent_sums and kl_extent_check take KL_EXTENT_TABLE bytes, and allocate nothing.
 * Plain structs: one thread at a time, each owned by its user. */
#ifndef KL_DRAIN_EXTENT_H
#define KL_DRAIN_EXTENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/slice.h"
#include "../base/status.h"
#include "../tree/tree.h"

enum {
  KL_EXTENT_PLAIN = 1 << 20,  /* values up to this are written plain */
  KL_EXTENT_CHUNK = 16,       /* others with a table of parts of 64 KiB */
  KL_EXTENT_CHUNK_LEAST = 12, /* what can be read: parts of whole blocks ... */
  KL_EXTENT_CHUNK_MOST = 24,  /* ... up to 16 MiB, for one is in memory at once */
  KL_EXTENT_TABLE = 4096      /* bytes of a table that are in memory at once */
};
#define KL_EXTENT_LENGTH_MOST (UINT64_C(1) << 48)

/* The chunk of a value of this length, as Keel writes it. */
static inline uint32_t kl_extent_chunk(uint64_t length) {
  return length > KL_EXTENT_PLAIN ? KL_EXTENT_CHUNK : 0;
}
/* Where the table begins, counted from the start of the extent. Lengths are at most KL_EXTENT_LENGTH_MOST. */
uint64_t kl_extent_table_at(uint64_t length);
uint64_t kl_extent_parts(uint64_t length, uint32_t chunk); /* chunk not 0 */
/* Bytes as stored: the value, and its table where it has one. */
uint64_t kl_extent_stored(uint64_t length, uint32_t chunk);

/* KL_E_CORRUPT: no extent is like that; KL_E_VERSION: none that this version knows. `path` is for messages. */
kl_status kl_extent_check_reference(const char *path, const kl_tree_extent *extent, kl_error *err);
/* KL_E_CORRUPT: a row has a reference to a value that cannot be there. */
kl_status kl_extent_wrong(const char *path, const kl_tree_extent *extent, kl_error *err);
/* KL_E_CORRUPT: what lies from byte `at` of the value on, `size` bytes, is not what it was. */
kl_status kl_extent_damaged(const char *path, const kl_tree_extent *extent, uint64_t at, uint64_t size, kl_error *err);
/* KL_E_CORRUPT: the same of the table. */
kl_status kl_extent_table_damaged(const char *path, const kl_tree_extent *extent, kl_error *err);

/* -------- writing -------- */

/* Writes bytes of the file, whole blocks, at `address`. */
typedef kl_status (*kl_extent_write)(void *context, uint64_t address, kl_slice bytes, kl_error *err);

/* The checksums of a value that is written in order. Writes the table; the value's bytes are its user's business. */
typedef struct kl_extent_sums {
  kl_tree_extent extent; /* its checksum is there after finish */
  uint64_t seen;         /* bytes of the value */
  uint32_t crc;          /* of the part at hand */
  uint32_t table_crc;
  uint64_t table_at; /* what is in `table` goes there */
  size_t table_used;
  kl_extent_write write;
  void *context;
  uint8_t table[KL_EXTENT_TABLE];
} kl_extent_sums;

/* `extent`: address, length, chunk and stored are set. */
void kl_extent_sums_begin(kl_extent_sums *sums, const kl_tree_extent *extent, kl_extent_write write, void *context);
/* The next bytes; not more than the extent has in all. Failures are those of `write`. */
kl_status kl_extent_sums_add(kl_extent_sums *sums, const void *bytes, size_t size, kl_error *err);
/* After the last one. */
kl_status kl_extent_sums_finish(kl_extent_sums *sums, kl_error *err);

/* -------- checking -------- */

/* Reads bytes of the file. */
typedef kl_status (*kl_extent_read)(void *context, uint64_t address, void *buffer, size_t length, kl_error *err);

/* Whether all of a value is what was written: for those who read it in order, from its first byte to its last. */
typedef struct kl_extent_check {
  kl_tree_extent extent;
  const char *path;
  uint64_t seen;
  uint32_t crc, table_crc;
  uint64_t table_left; /* bytes of the table that are not read yet */
  size_t table_next;   /* of `table` */
  kl_extent_read read;
  void *context;
  uint8_t table[KL_EXTENT_TABLE];
} kl_extent_check;

/* Checks the reference: as kl_extent_check_reference. `path` stays. */
kl_status kl_extent_check_begin(kl_extent_check *check, const char *path, const kl_tree_extent *extent,
                                kl_extent_read read, void *context, kl_error *err);
/* The next bytes. With the last ones all is known, and not before: KL_OK, or KL_E_CORRUPT. Failures of `read`. */
kl_status kl_extent_check_add(kl_extent_check *check, const void *bytes, size_t size, kl_error *err);

/* The same of what is in memory, all extent->stored bytes; nothing is read. */
kl_status kl_extent_check_whole(const char *path, const kl_tree_extent *extent, const void *bytes, kl_error *err);

#endif
