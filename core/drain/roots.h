/* core/drain/roots.h: the roots of the trees of one checkpoint.
 *
 * A checkpoint names one root, that of the catalogue's tree (keyspace 0). There, each keyspace that has rows has a row
 * 'r' + id with the root of its own tree (byte table: docs/format.md, "Catalogue"). A kl_roots finds each of them once
 * and remembers it; it never changes its answers. Whoever reads below one of its roots holds a reference, and tells
 * each drain its sequence number (kl_drain_input.live), so that no block below it is used again.
 *
 * Thread rules: any thread. kl_roots_find takes no lock. */
#ifndef KL_DRAIN_ROOTS_H
#define KL_DRAIN_ROOTS_H

#include <stdint.h>

#include "pages.h"

typedef struct kl_roots kl_roots;

/* One reference; it has one on `pages`. `catalogue` null: an empty database. Reads nothing. KL_E_NO_MEMORY. */
kl_status kl_roots_open(kl_pages *pages, const kl_tree_pointer *catalogue, uint64_t sequence, uint64_t ts,
                        kl_roots **out_roots, kl_error *err);
void kl_roots_ref(kl_roots *roots);
void kl_roots_unref(kl_roots *roots); /* NULL is allowed */

/* The root of a keyspace's tree; null when it has none; the catalogue's for keyspace 0. A few loads when it was found
 * before, otherwise a look-up in the catalogue's tree (errors: pages.h; KL_E_CORRUPT and KL_E_VERSION also for the
 * row). Without memory to remember, it finds all the same. */
kl_status kl_roots_find(kl_roots *roots, uint32_t keyspace, kl_tree_pointer *out_root, kl_error *err);

uint64_t kl_roots_sequence(const kl_roots *roots); /* of the checkpoint */
uint64_t kl_roots_ts(const kl_roots *roots);       /* commits up to this are in the trees */
kl_pages *kl_roots_pages(const kl_roots *roots);   /* borrowed */

#endif
