/* core/drain/parts.c: one tree, merged in parts on the lanes of a crew, and joined (DRAIN-19).
 *
 * Parts are cut off the changes in order, each when a lane is free for it, so that each comes to about the same number of
 * bytes: by what changes have come to so far. The lane that merges a part has pages, buffer and blocks of its own. When no
 * more parts are begun, because the changes end, or the slice is full, all those that were begun are ended; then they are
 * joined, on the thread of the drain. */
#include "../base/assert.h"
#include "../os/thread.h"
#include "drain_private.h"

enum {
  PARTS_BYTES_MOST = 2 << 20, /* a part: far more than what a seam costs, which is some pages; ... */
  PARTS_BYTES_LEAST = 256 << 10,
  PARTS_PER_LANE = 4,     /* ... and so small that a slice has some for each lane */
  PARTS_LEAST = 4 << 20,  /* bytes, about, that are worth a crew, ... */
  PARTS_EACH_GUESS = 512, /* ... where it is not known what a change comes to */
  PARTS_FIRST = 16
};

typedef struct drain_part {
  kl_tree_part tree; /* its bounds point to `high`, and to that of the part before */
  uint64_t rows, changes;
  uint64_t large;    /* bytes of values that are placed by themselves */
  uint64_t expected; /* bytes that it was thought to place */
  size_t size;       /* of `high` */
  uint8_t high[];
} drain_part;

typedef struct parts_run {
  drain_lanes *lanes;
  const drain_source *source;
  const kl_tree_pointer *root; /* the old one */
  kl_slice low;                /* where the changes begin */
  uint64_t room, part_bytes;

  kl_mutex mutex; /* guards what follows while lanes work */
  void *cutter;   /* an iterator's memory: it stands behind the last part */
  kl_tree_changes changes;
  kl_tree_change change; /* the first one that no part has, when `has_change` */
  bool has_change, stopped;
  uint8_t last[KL_TREE_KEY_MAX]; /* the key before it */
  drain_part **parts;
  size_t count, capacity;
  uint64_t merged_bytes, merged_large, merged_changes; /* of the parts that are done */
  uint64_t expected;                                   /* of those that are not */
  kl_status failed;                                    /* of the first part that failed */
  kl_error error;
} parts_run;

/* -------- cutting -------- */

static kl_status parts_next(parts_run *run, kl_error *err) {
  memset(&run->change, 0, sizeof run->change);
  kl_status status = run->changes.next(run->changes.context, &run->change, err);
  run->has_change = status == KL_OK;
  return status == KL_E_NOT_FOUND ? KL_OK : status;
}

static kl_status parts_open_cutter(parts_run *run, kl_error *err) {
  const drain_source *source = run->source;
  kl_status status = source->open(source->context, run->cutter, run->low, NULL, &run->changes, err);
  if (status != KL_OK) return status;
  status = parts_next(run, err);
  if (status != KL_OK) source->close(source->context, run->cutter);
  return status;
}

/* What a change places by itself. */
static uint64_t parts_large(const parts_run *run) {
  size_t size = run->change.kind == KL_TREE_PUT ? run->change.value.size : 0;
  return size > kl_tree_inline_max(run->lanes->input->pages->page_size) ? size : 0;
}

/* Bytes that a change comes to, beside that. Where nothing is known: a page, as it is for changes far apart. */
static uint64_t parts_each(const parts_run *run) {
  uint64_t page_size = run->lanes->input->pages->page_size;
  if (run->merged_changes == 0) return run->lanes->each != 0 ? run->lanes->each : page_size;
  uint64_t small = run->merged_bytes > run->merged_large ? run->merged_bytes - run->merged_large : 0;
  return small / run->merged_changes + 1;
}

/* Whether there is enough to do for several threads. */
static kl_status parts_are_worth_it(parts_run *run, bool *out_worth, kl_error *err) {
  const kl_drain_input *input = run->lanes->input;
  uint64_t each = run->lanes->each != 0 ? run->lanes->each : PARTS_EACH_GUESS, bytes = 0;
  uint64_t least = input->part_bytes != 0 ? 2 * input->part_bytes : PARTS_LEAST;
  kl_status status = parts_open_cutter(run, err);
  if (status != KL_OK) return status;
  while (status == KL_OK && run->has_change && bytes < least) {
    bytes += each + parts_large(run);
    status = parts_next(run, err);
  }
  run->source->close(run->source->context, run->cutter);
  *out_worth = bytes >= least;
  return status;
}

/* Puts a part behind the others. It ends before what the key of the change at hand begins with, `size` bytes. */
static kl_status parts_append(parts_run *run, const drain_part *like, drain_part **out, kl_error *err) {
  kl_allocator *allocator = run->lanes->input->allocator;
  if (run->count == run->capacity) {
    size_t capacity = run->capacity == 0 ? PARTS_FIRST : 2 * run->capacity, unit = sizeof *run->parts;
    drain_part **parts = kl_realloc(allocator, run->parts, run->capacity * unit, capacity * unit);
    if (parts == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory for %zu parts of a drain", capacity);
    run->parts = parts;
    run->capacity = capacity;
  }
  drain_part *part = kl_alloc(allocator, sizeof *part + like->size);
  if (part == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory for a part of a drain");
  *part = *like;
  if (part->size != 0) memcpy(part->high, run->change.key.data, part->size);
  part->tree.has_high = run->has_change;
  part->tree.high = kl_slice_make(part->high, part->size);
  if (run->count != 0) part->tree.low = run->parts[run->count - 1]->tree.high;
  run->parts[run->count++] = part;
  *out = part;
  return KL_OK;
}

/* Under `mutex`. *out NULL: there is none to begin. */
static kl_status parts_take(parts_run *run, drain_part **out, kl_error *err) {
  drain_part part = {.size = 0};
  uint64_t each = parts_each(run);
  size_t last_size = 0;
  *out = NULL;
  if (run->failed != KL_OK || !run->has_change) return KL_OK;
  /* DRAIN-13: what is begun is ended, and counts as it is thought to become. */
  run->stopped = run->count != 0 && run->room != 0 && run->merged_bytes + run->expected >= run->room;
  while (run->has_change && !run->stopped && part.expected < run->part_bytes) {
    uint64_t large = parts_large(run);
    part.expected += each + large;
    part.large += large;
    part.changes++;
    if (part.expected >= run->part_bytes) {
      last_size = run->change.key.size;
      if (last_size != 0) memcpy(run->last, run->change.key.data, last_size);
    }
    kl_status status = parts_next(run, err);
    if (status != KL_OK) return status;
  }
  if (run->stopped) return KL_OK;
  if (run->has_change) { /* the shortest key that is behind the part */
    const uint8_t *key = run->change.key.data;
    while (part.size < last_size && part.size < run->change.key.size && key[part.size] == run->last[part.size]) {
      part.size++;
    }
    if (part.size++ >= run->change.key.size) return KL_BROKEN(err, "DRAIN-19: the changes of a part do not ascend");
  }
  kl_status status = parts_append(run, &part, out, err);
  if (status == KL_OK) run->expected += part.expected;
  return status;
}

/* -------- lanes -------- */

void kl_drain_lanes_close(drain_lanes *lanes) {
  kl_allocator *allocator = lanes->input->allocator;
  if (lanes->lanes == NULL) return;
  for (size_t i = 0; i < lanes->count; i++) kl_drain_io_close(&lanes->lanes[i].io);
  kl_free(allocator, lanes->lanes, kl_drain_crew_lanes(lanes->input->crew) * sizeof *lanes->lanes);
  lanes->lanes = NULL;
  lanes->count = 0;
}

/* Without memory for all of them there are fewer. */
static kl_status parts_open_lanes(drain_lanes *lanes, uint64_t birth, kl_error *err) {
  const kl_drain_input *input = lanes->input;
  size_t wanted = kl_drain_crew_lanes(input->crew);
  kl_status status = KL_OK;
  if (lanes->lanes != NULL) return KL_OK;
  lanes->lanes = kl_alloc(input->allocator, wanted * sizeof *lanes->lanes);
  if (lanes->lanes == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory for the %zu lanes of a drain", wanted);
  while (lanes->count < wanted && status == KL_OK) {
    drain_lane *lane = &lanes->lanes[lanes->count];
    status = kl_drain_io_open(&lane->io, input, true, &lane->stats, err);
    lane->io.birth = birth;
    if (status == KL_OK) lanes->count++;
    if (status != KL_OK) kl_drain_io_close(&lane->io);
  }
  return lanes->count != 0 ? KL_OK : status;
}

static void parts_count(kl_drain_stats *stats, const kl_tree_merge_stats *merged) {
  stats->puts += merged->puts;
  stats->deletes += merged->deletes;
  stats->pages_written += merged->pages_written;
  stats->pages_freed += merged->pages_freed;
  stats->extents_written += merged->extents_written;
  stats->extents_freed += merged->extents_freed;
}

static kl_tree_merge_options parts_options(const drain_io *io) {
  return (kl_tree_merge_options){.allocator = io->allocator,
                                 .page_size = io->pages->page_size,
                                 .source = &io->source,
                                 .sink = &io->sink,
                                 .freed = &io->freed};
}

/* Nobody else looks at the part meanwhile but for its bounds, which stay. */
static kl_status parts_merge(parts_run *run, drain_lane *lane, drain_part *part, bool first, kl_error *err) {
  const drain_source *source = run->source;
  kl_tree_merge_options options = parts_options(&lane->io);
  kl_tree_merge_stats merged = {0};
  kl_tree_changes changes;
  const kl_slice *high = part->tree.has_high ? &part->tree.high : NULL;
  kl_status status =
      source->open(source->context, lane->changes, first ? run->low : part->tree.low, high, &changes, err);
  if (status != KL_OK) return status;
  lane->io.warm = false;
  status = kl_tree_merge_part(&options, run->root, &changes, &part->tree, &merged, err);
  lane->io.source.pause(&lane->io);
  source->close(source->context, lane->changes);
  if (status != KL_OK) return status;
  part->rows = merged.rows;
  parts_count(&lane->stats, &merged);
  lane->stats.parts++;
  return KL_OK;
}

/* One part on one lane, or, when there are no more, the end of the lane. */
static bool parts_work(void *context, uint32_t number) {
  parts_run *run = context;
  if (number >= run->lanes->count) return false;
  drain_lane *lane = &run->lanes->lanes[number];
  drain_part *part = NULL;
  kl_error error = {0};
  uint64_t before = lane->stats.bytes_written;
  kl_mutex_lock(&run->mutex);
  kl_status status = parts_take(run, &part, &error);
  bool over = part == NULL, failed = run->failed != KL_OK, first = run->count == 1;
  kl_mutex_unlock(&run->mutex);
  if (failed) return false;
  if (status == KL_OK) {
    status = over ? kl_drain_io_finish(&lane->io, &error) : parts_merge(run, lane, part, first, &error);
  }
  kl_mutex_lock(&run->mutex);
  if (status == KL_OK && !over) {
    run->merged_bytes += lane->stats.bytes_written - before;
    run->merged_large += part->large;
    run->merged_changes += part->changes;
    run->expected -= part->expected;
  }
  if (status != KL_OK && run->failed == KL_OK) {
    run->failed = status;
    run->error = error;
  }
  kl_mutex_unlock(&run->mutex);
  return status == KL_OK && !over;
}

/* -------- joining -------- */

/* Parts, and behind the last one, where the slice is full, what is to stay. */
static kl_status parts_join(parts_run *run, drain_io *io, kl_tree_pointer *root, uint64_t *out_rows, kl_error *err) {
  kl_tree_merge_options options = parts_options(io);
  kl_tree_merge_stats merged = {0};
  size_t count = run->count, bytes = (count + 1) * sizeof(kl_tree_part);
  kl_tree_part *trees = kl_alloc(io->allocator, bytes);
  if (trees == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory to join %zu parts of a drain", count);
  for (size_t i = 0; i < count; i++) trees[i] = run->parts[i]->tree;
  if (trees[count - 1].has_high) {
    trees[count] = (kl_tree_part){.low = trees[count - 1].high};
    count++;
  }
  io->warm = false;
  kl_status status = kl_tree_join(&options, root, trees, count, root, &merged, err);
  io->source.pause(io);
  kl_free(io->allocator, trees, bytes);
  if (status != KL_OK) return status;
  parts_count(io->stats, &merged);
  *out_rows = count == 1 ? run->parts[0]->rows : merged.rows;
  return KL_OK;
}

/* What the lanes have counted goes to the drain. */
static void parts_add_up(drain_lanes *lanes, kl_drain_stats *stats) {
  for (size_t i = 0; i < lanes->count; i++) {
    kl_drain_stats *lane = &lanes->lanes[i].stats;
    stats->puts += lane->puts;
    stats->deletes += lane->deletes;
    stats->pages_written += lane->pages_written;
    stats->pages_freed += lane->pages_freed;
    stats->extents_written += lane->extents_written;
    stats->extents_freed += lane->extents_freed;
    stats->bytes_written += lane->bytes_written;
    stats->writes += lane->writes;
    stats->pages_read += lane->pages_read;
    stats->parts += lane->parts;
    memset(lane, 0, sizeof *lane);
  }
}

static kl_status parts_run_crew(parts_run *run, drain_io *io, kl_tree_pointer *root, uint64_t *out_rows,
                                drain_parts_result *out, kl_error *err) {
  drain_lanes *lanes = run->lanes;
  kl_status status = parts_open_cutter(run, err);
  if (status != KL_OK) return status;
  kl_drain_crew_run(lanes->input->crew, parts_work, run);
  run->source->close(run->source->context, run->cutter);
  parts_add_up(lanes, io->stats);
  if (run->failed != KL_OK) {
    if (err != NULL) *err = run->error;
    return run->failed;
  }
  lanes->each = parts_each(run);
  out->stopped = run->stopped;
  if (run->stopped) {
    const drain_part *last = run->parts[run->count - 1];
    out->stop_size = last->size;
    memcpy(out->stop, last->high, last->size);
  }
  return parts_join(run, io, root, out_rows, err);
}

/* With memory for the iterators: the cutter's, and one for each lane. */
static kl_status parts_begin(parts_run *run, drain_io *io, uint8_t *memory, size_t unit, kl_tree_pointer *root,
                             uint64_t *out_rows, drain_parts_result *out, kl_error *err) {
  drain_lanes *lanes = run->lanes;
  run->cutter = memory;
  kl_status status = parts_are_worth_it(run, &out->done, err);
  if (status != KL_OK || !out->done) return status;
  status = parts_open_lanes(lanes, io->birth, err);
  if (status != KL_OK) return status;
  for (size_t i = 0; i < lanes->count; i++) lanes->lanes[i].changes = memory + (i + 1) * unit;
  return parts_run_crew(run, io, root, out_rows, out, err);
}

static uint64_t parts_choose_bytes(const drain_lanes *lanes, uint64_t room) {
  if (lanes->input->part_bytes != 0) return lanes->input->part_bytes;
  uint64_t bytes = room / PARTS_PER_LANE / kl_drain_crew_lanes(lanes->input->crew);
  if (room == 0 || bytes > PARTS_BYTES_MOST) return PARTS_BYTES_MOST;
  return bytes < PARTS_BYTES_LEAST ? PARTS_BYTES_LEAST : bytes;
}

kl_status kl_drain_merge_parts(drain_lanes *lanes, drain_io *io, const drain_source *source, kl_slice low,
                               uint64_t room, kl_tree_pointer *root, uint64_t *out_rows, drain_parts_result *out,
                               kl_error *err) {
  const kl_drain_input *input = lanes->input;
  parts_run run = {.lanes = lanes, .source = source, .root = root, .low = low, .room = room};
  out->done = out->stopped = false;
  out->stop_size = 0;
  if (input->crew == NULL || kl_drain_crew_lanes(input->crew) < 2) return KL_OK;
  run.part_bytes = parts_choose_bytes(lanes, room);
  size_t unit = (source->size + 63) / 64 * 64; /* no two lanes write to one cache line */
  size_t bytes = (kl_drain_crew_lanes(input->crew) + 1) * unit;
  uint8_t *memory = kl_alloc_aligned(input->allocator, bytes, 64);
  if (memory == NULL) return kl_fail(err, KL_E_NO_MEMORY, "no memory for the parts of a drain");
  kl_status status = kl_mutex_init(&run.mutex, err);
  if (status == KL_OK) {
    status = parts_begin(&run, io, memory, unit, root, out_rows, out, err);
    kl_mutex_destroy(&run.mutex);
  }
  for (size_t i = 0; i < run.count; i++)
    kl_free(input->allocator, run.parts[i], sizeof **run.parts + run.parts[i]->size);
  kl_free(input->allocator, run.parts, run.capacity * sizeof *run.parts);
  kl_free(input->allocator, memory, bytes);
  return status;
}
