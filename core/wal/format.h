/* core/wal/format.h: the bytes of NAME-wal: log header, owner block, segment header, batch header.
 *
 * Private to core/wal. Pure functions between structs and bytes; the tables with every offset are in docs/format.md,
 * which a test checks against what these functions write.
 *
 *   offset 0      log header, first copy     (one block of 4096 bytes)
 *          4096   log header, second copy
 *          8192   owner block
 *          12288  reserved, zero
 *          16384  segment slot 0: segment header (4096), data (segment_size - 4096)
 *          16384 + segment_size   slot 1, and so on
 *
 * An LSN counts data bytes only: data byte `lsn` lies in the segment with sequence number lsn / data_size, at
 * lsn % data_size behind its header, so that the batch stream has no holes at the ends of segments. */
#ifndef KL_WAL_FORMAT_H
#define KL_WAL_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/slice.h"
#include "../base/status.h"

enum {
  WAL_VERSION = 1,
  WAL_PAGE = 4096,      /* size of every header block; writes are padded to it */
  WAL_SYNC_BLOCK = 512, /* synced bytes never share such a block with bytes written later */
  WAL_ALIGN = 8,        /* of every batch */
  WAL_OWNER_OFFSET = 2 * WAL_PAGE,
  WAL_SEGMENTS_OFFSET = 4 * WAL_PAGE,
  WAL_SEGMENT_HEADER = WAL_PAGE,
  WAL_BATCH_HEADER = 56,
  WAL_ID_SIZE = 16,
  WAL_CHECKSUM_OFFSET = WAL_PAGE - 4 /* of log header and segment header: covers all bytes before it */
};
#define WAL_SEGMENT_SIZE_MIN ((uint64_t)64 << 10)
#define WAL_SEGMENT_SIZE_MAX ((uint64_t)1 << 30)
#define WAL_SEGMENT_SIZE_DEFAULT ((uint64_t)16 << 20)

static inline uint64_t wal_align_up(uint64_t value, uint64_t alignment) {
  return (value + alignment - 1) & ~(alignment - 1);
}

/* The log header. Both copies are equal, except between the two writes that change them. */
typedef struct wal_header {
  uint32_t version;
  uint32_t features_compatible, features_read_only, features_incompatible;
  uint8_t database_id[WAL_ID_SIZE];
  uint64_t segment_size;
  uint64_t incarnation;       /* number of the current writer's life; +1 at each recovery */
  uint64_t incarnation_start; /* LSN at which it began: everything below was durable then (WAL-4, WAL-5) */
  uint64_t first_lsn;         /* of this file, at its creation */
  uint64_t created_ns;        /* wall clock, since 1970 */
} wal_header;

void wal_header_encode(const wal_header *header, uint8_t out[WAL_PAGE]);
/* KL_OK; KL_E_FORMAT: not a log's header; KL_E_CORRUPT: one that is damaged; KL_E_VERSION: of a newer format. */
kl_status wal_header_decode(const uint8_t bytes[WAL_PAGE], wal_header *out);

typedef struct wal_segment_header {
  uint64_t sequence;
  uint64_t
      assignment; /* grows with every slot assignment of the file; of two slots with one sequence the higher counts */
  uint8_t database_id[WAL_ID_SIZE];
} wal_segment_header;

void wal_segment_header_encode(const wal_segment_header *header, uint8_t out[WAL_PAGE]);
bool wal_segment_header_decode(const uint8_t bytes[WAL_PAGE], const uint8_t id[WAL_ID_SIZE], wal_segment_header *out);

/* The batch header. `gap`: bytes between the end of the batch before and `lsn` (0 ... 511). It chains batches: a reader
 * that stands at the end of one accepts only a batch that says it follows there. */
typedef struct wal_batch_header {
  uint64_t lsn;
  uint64_t payload_size;
  uint64_t ts;
  uint64_t durable_lsn; /* what its writer knew durable when it wrote this */
  uint64_t incarnation;
  uint32_t payload_crc;
  uint16_t gap;
  uint16_t flags; /* 0; a reader that meets others answers KL_E_VERSION */
} wal_batch_header;

/* `seed`: checksum of the database id, so that no log's batch is valid in another's. */
uint32_t wal_batch_seed(const uint8_t id[WAL_ID_SIZE]);
void wal_batch_header_encode(const wal_batch_header *header, uint32_t seed, uint8_t out[WAL_BATCH_HEADER]);
bool wal_batch_header_has_magic(const uint8_t *bytes); /* looks at 4 bytes */
/* True when magic and checksum hold; what the fields mean is the reader's to judge. */
bool wal_batch_header_decode(const uint8_t bytes[WAL_BATCH_HEADER], uint32_t seed, wal_batch_header *out);
/* First byte after a batch; false where the sum would not fit. */
bool wal_batch_end(uint64_t lsn, uint64_t payload_size, uint64_t *out_end);

/* Owner block: advisory text of at most WAL_OWNER_TEXT bytes with the terminator. Decoding answers false unless
 * checksum and length hold and every byte is printable. */
enum { WAL_OWNER_TEXT = 256 };
void wal_owner_encode(const char *text, uint8_t out[WAL_PAGE]);
bool wal_owner_decode(const uint8_t bytes[WAL_PAGE], char out_text[WAL_OWNER_TEXT]);

#endif
