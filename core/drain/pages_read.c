/* core/drain/pages_read.c: single values, many values, counts. */
#include "pages_private.h"

/* -------- one key -------- */

/* Reads what was left for after the epoch. */
static kl_status pages_get_later(kl_held *held, kl_pages *pages, const kl_tree_extent *extent, kl_error *err) {
  if (extent->length > KL_PAGES_WHOLE) {
    return kl_fail(err, KL_E_LIMIT, "a value of %llu bytes is too large to be read as a whole; read it in parts",
                   (unsigned long long)extent->length);
  }
  kl_status status = pages_held_reserve(held, pages, (size_t)extent->length, err);
  if (status == KL_OK) status = pages_extent_read(pages, extent, held->buffer, err);
  if (status == KL_OK) held->value = kl_slice_make(held->buffer, (size_t)extent->length);
  return status;
}

static kl_status pages_get(kl_pages *pages, const kl_tree_pointer *root, kl_slice key, kl_held *held, bool own_life,
                           kl_error *err) {
  pages_op op;
  pages_extent later = {.waits = false};
  kl_status status;
  if (held->pin != NULL || held->capacity > KL_HELD_BUFFER) kl_held_clear(held);
  held->value = kl_slice_make(NULL, 0);
  if (kl_tree_pointer_is_null(root)) return KL_E_NOT_FOUND;
  pages_op_begin(&op, pages, 0);
  for (;;) {
    kl_tree_value value;
    status = kl_tree_get(&op.source, root, key, &value, err);
    if (status == KL_OK) status = pages_held_take(held, &op, &value, own_life, &later, err);
    if (status != KL_CACHE_RETRY) break;
    pages_op_retry(&op);
  }
  pages_op_end(&op);
  if (later.waits && status == KL_OK) status = pages_get_later(held, pages, &later.extent, err);
  if (status == KL_OK || status == KL_E_NOT_FOUND) return status;
  kl_held_clear(held);
  return pages_explain(pages, &op.failed, root, key, 0, status, err);
}

kl_status kl_pages_get(kl_pages *pages, const kl_tree_pointer *root, kl_slice key, kl_held *held, kl_error *err) {
  return pages_get(pages, root, key, held, false, err);
}

kl_status kl_pages_hold(kl_pages *pages, const kl_tree_pointer *root, kl_slice key, kl_held *held, kl_error *err) {
  return pages_get(pages, root, key, held, true, err);
}

kl_status kl_pages_contains(kl_pages *pages, const kl_tree_pointer *root, kl_slice key, kl_error *err) {
  pages_op op;
  kl_status status;
  if (kl_tree_pointer_is_null(root)) return KL_E_NOT_FOUND;
  pages_op_begin(&op, pages, 0);
  for (;;) {
    kl_tree_value value;
    status = kl_tree_get(&op.source, root, key, &value, err);
    if (status != KL_CACHE_RETRY) break;
    pages_op_retry(&op);
  }
  pages_op_end(&op);
  if (status == KL_OK || status == KL_E_NOT_FOUND) return status;
  return pages_explain(pages, &op.failed, root, key, 0, status, err);
}

/* -------- many keys -------- */

enum {
  PAGES_MANY = 64,       /* keys that are looked up at once */
  PAGES_MANY_STAY = 1024 /* keys after which the epoch is left for a moment */
};

typedef struct pages_many {
  pages_op op;
  const kl_tree_pointer *root;
  const kl_slice *keys;
  size_t count;
  kl_pages_get_row row;
  void *context;
  size_t done; /* rows that were given */
  kl_held far; /* a value that is larger than the cache takes */
  kl_tree_value values[PAGES_MANY];
} pages_many;

/* Gives one row. KL_CACHE_RETRY: not given, again in another epoch. A value that is read past the cache is read outside
 * of the epoch, so that *out_left tells that what was got in it is gone. */
static kl_status pages_many_row(pages_many *many, const kl_tree_value *value, bool *out_left, kl_error *err) {
  kl_slice bytes = value->bytes;
  kl_tree_extent extent;
  bool is_frame;
  kl_status status;
  if (value->is_extent) {
    kl_tree_value_extent(value, &extent);
    status = pages_extent_bytes(&many->op, &extent, &bytes, &is_frame, err);
    if (status == KL_E_LIMIT) {
      kl_pages *pages = many->op.pages;
      *out_left = true;
      pages_op_end(&many->op);
      status = pages_get_later(&many->far, pages, &extent, err);
      if (status == KL_OK) status = many->row(many->context, many->done, true, many->far.value, err);
      kl_held_clear(&many->far);
      pages_op_begin(&many->op, pages, 0);
      return status;
    }
    if (status != KL_OK) return status;
  }
  return many->row(many->context, many->done, value->found, bytes, err);
}

/* Looks up and gives the next keys: at most `most`. */
static kl_status pages_many_some(pages_many *many, size_t most, kl_error *err) {
  size_t first = many->done, n = many->count - first < most ? many->count - first : most;
  kl_status status = kl_tree_get_many(&many->op.source, many->root, many->keys + first, n, many->values, err);
  bool left = false;
  for (size_t i = 0; i < n && status == KL_OK && !left; i++) {
    status = pages_many_row(many, &many->values[i], &left, err);
    if (status == KL_OK) many->done++;
  }
  return status;
}

kl_status kl_pages_get_many(kl_pages *pages, const kl_tree_pointer *root, const kl_slice *keys, size_t count,
                            kl_pages_get_row row, void *context, kl_error *err) {
  pages_many many;
  kl_status status = KL_OK;
  size_t most = PAGES_MANY, stay = 0;
  many.root = root;
  many.keys = keys;
  many.count = count;
  many.row = row;
  many.context = context;
  many.done = 0;
  memset(&many.far, 0, sizeof many.far);
  pages_op_begin(&many.op, pages, 0);
  while (many.done < count) {
    size_t before = many.done;
    status = pages_many_some(&many, most, err);
    if (status == KL_CACHE_RETRY) {
      most = most > 4 ? most / 4 : 1; /* a small cache: fewer pages at once */
      pages_op_retry(&many.op);
      continue;
    }
    if (status != KL_OK) break;
    stay += many.done - before;
    if (stay < PAGES_MANY_STAY && many.op.asides == NULL) continue;
    pages_op_renew(&many.op);
    stay = 0;
  }
  pages_op_end(&many.op);
  kl_held_destroy(&many.far);
  if (status == KL_OK || many.done >= count) return status;
  return pages_explain(pages, &many.op.failed, root, keys[many.done], 0, status, err);
}

/* -------- counts -------- */

/* One of the questions that core/tree answers from inner pages. */
typedef struct pages_question {
  enum { PAGES_ROWS, PAGES_RANK, PAGES_COUNT, PAGES_SPLIT } kind;
  kl_slice low;
  const kl_slice *high;
  uint64_t *number;
  size_t wanted;
  kl_tree_split *splits;
  size_t *split_count;
} pages_question;

static kl_status pages_ask_once(const kl_tree_source *source, const kl_tree_pointer *root,
                                const pages_question *question, kl_error *err) {
  switch (question->kind) {
    case PAGES_ROWS:
      return kl_tree_rows(source, root, question->number, err);
    case PAGES_RANK:
      return kl_tree_rank(source, root, question->low, question->number, err);
    case PAGES_COUNT:
      return kl_tree_count(source, root, question->low, question->high, question->number, err);
    default:
      return kl_tree_split_points(source, root, question->low, question->high, question->wanted, question->splits,
                                  question->split_count, err);
  }
}

static kl_status pages_ask(kl_pages *pages, const kl_tree_pointer *root, const pages_question *question,
                           kl_error *err) {
  pages_op op;
  kl_status status;
  pages_op_begin(&op, pages, 0);
  while ((status = pages_ask_once(&op.source, root, question, err)) == KL_CACHE_RETRY) pages_op_retry(&op);
  pages_op_end(&op);
  return status == KL_OK ? status : pages_explain(pages, &op.failed, root, question->low, 0, status, err);
}

/* What is asked for is written through the question. NOLINTBEGIN(readability-non-const-parameter) */

kl_status kl_pages_rows(kl_pages *pages, const kl_tree_pointer *root, uint64_t *out_rows, kl_error *err) {
  pages_question question = {.kind = PAGES_ROWS, .number = out_rows};
  return pages_ask(pages, root, &question, err);
}

kl_status kl_pages_rank(kl_pages *pages, const kl_tree_pointer *root, kl_slice key, uint64_t *out_rank, kl_error *err) {
  pages_question question = {.kind = PAGES_RANK, .low = key, .number = out_rank};
  return pages_ask(pages, root, &question, err);
}

kl_status kl_pages_count(kl_pages *pages, const kl_tree_pointer *root, kl_slice low, const kl_slice *high,
                         uint64_t *out_count, kl_error *err) {
  pages_question question = {.kind = PAGES_COUNT, .low = low, .high = high, .number = out_count};
  return pages_ask(pages, root, &question, err);
}

kl_status kl_pages_split_points(kl_pages *pages, const kl_tree_pointer *root, kl_slice low, const kl_slice *high,
                                size_t wanted, kl_tree_split *out_splits, size_t *out_count, kl_error *err) {
  pages_question question = {
      .kind = PAGES_SPLIT, .low = low, .high = high, .wanted = wanted, .splits = out_splits, .split_count = out_count};
  return pages_ask(pages, root, &question, err);
}

/* NOLINTEND(readability-non-const-parameter) */
