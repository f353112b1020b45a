/* core/store/store.h: the database file NAME: the ring of superblocks (and, with the tree, blocks and the space map).
 *
 * The file starts with KL_SUPERBLOCKS blocks of 4 KiB, each one a superblock, self-checksummed, sharing no field that
 * changes in place. Publishing checkpoint n writes slot n % KL_SUPERBLOCKS and syncs; the newest valid one counts, and
 * a damaged newest one leaves the one before it. Byte table: docs/format.md. Invariants: core/store/README.md.
 *
 * Thread rules: one publisher at a time; kl_store_checkpoint and the other questions from any thread. */
#ifndef KL_STORE_STORE_H
#define KL_STORE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "../base/status.h"
#include "../os/os.h"

enum { KL_SUPERBLOCKS = 4, KL_SUPERBLOCK_SIZE = 4096, KL_DATABASE_ID_SIZE = 16 };
enum { KL_PAGE_SIZE_MIN = 4096, KL_PAGE_SIZE_MAX = 65536, KL_PAGE_SIZE_DEFAULT = 4096 };

typedef struct kl_store kl_store;

typedef struct kl_checkpoint {
  uint64_t sequence;      /* 1 at creation, +1 per checkpoint */
  uint64_t ts;            /* commits up to this timestamp are in the tree */
  uint64_t log_lsn;       /* replay starts here */
  uint64_t known_durable; /* log position that was durable when it was written */
  uint64_t wall_ns;       /* when, since 1970 */
  bool log_needed;        /* false: everything is in this file and NAME-wal may be absent or left over from a crashed
                             creation or close; true: a missing NAME-wal is KL_E_CORRUPT, never "empty" */
} kl_checkpoint;

typedef struct kl_store_options {
  uint32_t page_size; /* 4 KiB ... 64 KiB, power of two; a format parameter, fixed at creation; 0: default */
  uint32_t file_mode; /* 0: 0600 */
  bool read_only;
} kl_store_options;

/* Creates the file; durable (file and directory entry) when it returns, with a new random identity and checkpoint 1
 * (log_needed false). It is written and synced as NAME-new under the exclusive lock, then renamed, so that NAME is
 * never seen half-made; a left-over NAME-new of a crashed creation is overwritten. The lock stays with the store.
 * KL_E_EXISTS when NAME exists and is not empty (an empty NAME is replaced); KL_E_LOCKED when another process is
 * creating it right now; KL_E_NOT_A_FILE (a directory ...); KL_E_INVALID for a bad page size. */
kl_status kl_store_create(kl_os *os, const char *path, const kl_store_options *options, kl_store **out_store,
                          kl_error *err);
/* KL_E_NO_FILE (absent or empty), KL_E_NOT_A_FILE (a directory ...), KL_E_FORMAT (not a Keel database; also a short
 * one), KL_E_VERSION (made by a newer Keel), KL_E_CORRUPT (no superblock verifies), KL_E_LOCKED: each leaves the file
 * as it was. Takes the lock: exclusive, or shared when read-only. */
kl_status kl_store_open(kl_os *os, const char *path, const kl_store_options *options, kl_store **out_store,
                        kl_error *err);
void kl_store_close(kl_store *store); /* lets the lock go; NULL is allowed */

const uint8_t *kl_store_id(const kl_store *store); /* 16 bytes */
uint32_t kl_store_page_size(const kl_store *store);
void kl_store_checkpoint(kl_store *store, kl_checkpoint *out_checkpoint);
/* The log below this is needed by no checkpoint that a recovery could take, the newest or the one before it (which
 * counts when the newest is found damaged): what may be given to kl_wal_release. */
uint64_t kl_store_log_release_point(kl_store *store);
/* Writes the next superblock and syncs it. `checkpoint->sequence` and `wall_ns` are set inside. A checkpoint that
 * changes log_needed is written twice, with two sequence numbers: no single damaged superblock can then make a log that
 * is needed look unneeded (STORE-4). A failed write or sync poisons: KL_E_POISONED from then on. KL_E_READ_ONLY. */
kl_status kl_store_publish(kl_store *store, kl_checkpoint *checkpoint, kl_error *err);

#endif
