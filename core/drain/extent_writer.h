/* core/drain/extent_writer.h: a value is written once, straight to where it stays, before any row names it.
 *
 *     kl_extent_writer_begin; kl_extent_writer_write ...; kl_extent_writer_finish; kl_extent_writer_free
 *
 * The blocks are reserved in the store (STORE-14), so a writer may live beside checkpoints and for as long as it takes.
 * After finish the extent has birth 0: a load or a drain that is given it (KL_TREE_PUT_EXTENT) adopts it. It is on
 * stable storage after kl_store_sync, or with the checkpoint that adopts it. Until then it is its owner's, who gives it
 * back by kl_extent_release when nobody will adopt it; a crash does that by itself.
 *
 * Memory: KL_EXTENT_BUFFER bytes and about two KL_EXTENT_TABLE, whatever the size of the value.
 *
 * Thread rules: any thread, one at a time for a writer. */
#ifndef KL_DRAIN_EXTENT_WRITER_H
#define KL_DRAIN_EXTENT_WRITER_H

#include "extent.h"
#include "pages.h"

enum { KL_EXTENT_BUFFER = 1 << 20 };

typedef struct kl_extent_writer kl_extent_writer;

/* Reserves blocks for a value of exactly `length` bytes, 1 to KL_EXTENT_LENGTH_MOST. The writer keeps a
 * reference on `pages`.
 * KL_E_LIMIT, KL_E_NO_MEMORY, and what kl_store_reserve answers: KL_E_DISK_FULL ... */
kl_status kl_extent_writer_begin(kl_pages *pages, uint64_t length, kl_extent_writer **out_writer, kl_error *err);
/* The next bytes of the value. They may lie in the file before finish, or not. KL_E_INVALID, and nothing is taken: more
 * than was said at begin, or it is finished. After KL_E_IO, KL_E_DISK_FULL, KL_E_POISONED or KL_E_CLOSED nothing but
 * kl_extent_writer_free makes sense: further calls answer the same. */
kl_status kl_extent_writer_write(kl_extent_writer *writer, const void *bytes, size_t size, kl_error *err);
/* KL_E_INVALID: bytes are missing; it may go on. Otherwise as kl_extent_writer_write. The extent is the caller's from
 * now on; with `out_extent` NULL it stays the writer's until kl_extent_writer_take. */
kl_status kl_extent_writer_finish(kl_extent_writer *writer, kl_tree_extent *out_extent, kl_error *err);
/* Of a finished writer, whose it still is. */
const kl_tree_extent *kl_extent_writer_extent(const kl_extent_writer *writer);
/* Of a finished writer, once: the extent is the caller's from now on. */
void kl_extent_writer_take(kl_extent_writer *writer, kl_tree_extent *out_extent);
/* Gives back the blocks, unless somebody has the extent. NULL is allowed. */
void kl_extent_writer_free(kl_extent_writer *writer);

/* Bytes that were taken so far, and in all. */
uint64_t kl_extent_writer_written(const kl_extent_writer *writer);
uint64_t kl_extent_writer_length(const kl_extent_writer *writer);

/* An extent of birth 0 that nobody adopts: its blocks are free. Nothing when the database is closed. */
void kl_extent_release(kl_pages *pages, const kl_tree_extent *extent);

#endif
