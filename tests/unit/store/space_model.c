/* tests/unit/store/space_model.c: see space_model.h. */
#include "space_model.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/crc32c.h"
#include "core/base/endian.h"

#define MODEL_FAIL(m, ...)                                     \
  do {                                                         \
    print_error("seed %llu: ", (unsigned long long)(m)->seed); \
    fail_msg(__VA_ARGS__);                                     \
  } while (0)

static uint64_t model_blocks(const model_run *run) {
  return (run->bytes + KL_BLOCK_SIZE - 1) / KL_BLOCK_SIZE;
}

/* -------- patterns -------- */

/* Every word differs from every other of all runs. */
static void model_fill(uint64_t tag, uint64_t block, uint8_t out[KL_BLOCK_SIZE]) {
  uint64_t word = kl_mix64(tag) + kl_mix64(~block);
  for (size_t i = 0; i < KL_BLOCK_SIZE; i += sizeof word) {
    memcpy(out + i, &word, sizeof word);
    word += UINT64_C(0x9e3779b97f4a7c15);
  }
}

/* The blocks of a run that are written: all, or, of long ones, the ends. */
static bool model_skips(const model *m, uint64_t block, uint64_t blocks) {
  return m->written_sparsely && block >= 2 && block + 2 < blocks;
}

static kl_status model_write(model *m, const model_run *run, bool reserved, kl_error *err) {
  uint8_t block[KL_BLOCK_SIZE];
  uint64_t blocks = model_blocks(run);
  for (uint64_t i = 0; i < blocks; i++) {
    if (model_skips(m, i, blocks)) continue;
    uint64_t left = run->bytes - i * KL_BLOCK_SIZE;
    size_t size = left < KL_BLOCK_SIZE ? (size_t)left : KL_BLOCK_SIZE;
    model_fill(run->tag, i, block);
    kl_slice parts[2] = {kl_slice_make(block, size / 3), kl_slice_make(block + size / 3, size - size / 3)};
    uint64_t address = run->address + i * KL_BLOCK_SIZE;
    kl_status status = reserved ? kl_store_write_reserved(m->store, address, parts, 2, err)
                                : kl_store_write(m->store, address, parts, 2, err);
    if (status != KL_OK) return status;
  }
  return KL_OK;
}

/* A fault that strikes the model's own reading is not what is tested: faults strike once, and it reads again. */
static kl_status model_read(model *m, uint64_t address, void *out, size_t size) {
  kl_status status = kl_store_read(m->store, address, out, size, NULL);
  return status == KL_OK ? status : kl_store_read(m->store, address, out, size, NULL);
}

static bool model_run_intact(model *m, const model_run *run) {
  uint8_t block[KL_BLOCK_SIZE], got[KL_BLOCK_SIZE];
  uint64_t blocks = model_blocks(run);
  for (uint64_t i = 0; i < blocks; i++) {
    if (model_skips(m, i, blocks)) continue;
    uint64_t left = run->bytes - i * KL_BLOCK_SIZE;
    size_t size = left < KL_BLOCK_SIZE ? (size_t)left : KL_BLOCK_SIZE;
    model_fill(run->tag, i, block);
    if (model_read(m, run->address + i * KL_BLOCK_SIZE, got, size) != KL_OK) return false;
    if (memcmp(block, got, size) != 0) return false;
  }
  return true;
}

static bool model_version_intact(model *m, const model_version *version) {
  uint8_t got[KL_BLOCK_SIZE];
  for (size_t i = 0; i < version->run_count; i++) {
    if (!model_run_intact(m, &version->runs[i])) return false;
  }
  for (size_t i = 0; i < version->map_count; i++) {
    if (model_read(m, version->maps[i].address, got, sizeof got) != KL_OK) return false;
    if (kl_crc32c(0, got, sizeof got) != version->maps[i].checksum) return false;
  }
  return true;
}

/* -------- versions -------- */

static model_version *model_slot(model *m) {
  for (size_t i = 0; i < MODEL_VERSIONS; i++) {
    model_version *v = &m->versions[i];
    if (v->taken && (v->live || v == m->newest || v == m->previous || v == m->work)) continue;
    memset(v, 0, sizeof *v);
    v->taken = true;
    return v;
  }
  fail_msg("the model has no room for another version");
  return NULL;
}

static bool model_overlap(uint64_t a, uint64_t a_bytes, uint64_t b, uint64_t b_bytes) {
  return a < b + b_bytes && b < a + a_bytes;
}

/* Nothing that `version` reaches lies in these blocks. */
static void model_check_apart(model *m, const model_version *version, const model_run *run, const char *what) {
  uint64_t size = model_blocks(run) * KL_BLOCK_SIZE;
  for (size_t i = 0; i < version->run_count; i++) {
    const model_run *other = &version->runs[i];
    if (!model_overlap(run->address, size, other->address, model_blocks(other) * KL_BLOCK_SIZE)) continue;
    MODEL_FAIL(m, "allocated %llu, which %s (ts %llu) needs", (unsigned long long)run->address, what,
               (unsigned long long)version->ts);
  }
  for (size_t i = 0; i < version->map_count; i++) {
    if (!model_overlap(run->address, size, version->maps[i].address, KL_BLOCK_SIZE)) continue;
    MODEL_FAIL(m, "allocated %llu, where %s (ts %llu) has its map", (unsigned long long)run->address, what,
               (unsigned long long)version->ts);
  }
}

static void model_check_allocated(model *m, const model_run *run) {
  if (run->address % KL_BLOCK_SIZE != 0 || run->address < KL_SUPERBLOCKS * KL_BLOCK_SIZE) {
    MODEL_FAIL(m, "allocated %llu, which is no block", (unsigned long long)run->address);
  }
  for (size_t i = 0; i < MODEL_VERSIONS; i++) {
    model_version *v = &m->versions[i];
    if (!v->taken) continue;
    if (v == m->work) model_check_apart(m, v, run, "the checkpoint in progress");
    if (v == m->newest) model_check_apart(m, v, run, "the newest checkpoint");
    if (v == m->previous) model_check_apart(m, v, run, "the checkpoint before the newest");
    if (v->live) model_check_apart(m, v, run, "a snapshot");
  }
  for (size_t i = 0; i < m->aside_count; i++) {
    const model_run *other = &m->asides[i].run;
    uint64_t size = model_blocks(run) * KL_BLOCK_SIZE;
    if (run == other || !model_overlap(run->address, size, other->address, model_blocks(other) * KL_BLOCK_SIZE)) {
      continue;
    }
    MODEL_FAIL(m, "allocated %llu, which is reserved", (unsigned long long)run->address);
  }
}

/* -------- the map against the model -------- */

typedef struct model_walk {
  model *m;
  model_version *version;
  uint64_t last_end, data_bytes;
} model_walk;

static kl_status model_visit(void *context, uint64_t address, uint64_t bytes, bool is_map, kl_error *err) {
  model_walk *walk = context;
  model_version *version = walk->version;
  if (address < walk->last_end) MODEL_FAIL(walk->m, "the walk goes back to %llu", (unsigned long long)address);
  walk->last_end = address + bytes;
  if (!is_map) {
    walk->data_bytes += bytes;
    uint64_t covered = 0;
    for (size_t i = 0; i < version->run_count; i++) {
      const model_run *run = &version->runs[i];
      if (model_overlap(address, bytes, run->address, 1)) covered += model_blocks(run) * KL_BLOCK_SIZE;
    }
    if (covered != bytes) MODEL_FAIL(walk->m, "the map has other blocks at %llu", (unsigned long long)address);
    return KL_OK;
  }
  uint8_t block[KL_BLOCK_SIZE];
  assert_int_equal(bytes, KL_BLOCK_SIZE);
  assert_true(version->map_count < MODEL_MAPS);
  kl_status status = kl_store_read(walk->m->store, address, block, sizeof block, err);
  version->maps[version->map_count++] = (model_map_block){address, kl_crc32c(0, block, sizeof block)};
  return status;
}

/* The map names the runs of the version and no others. */
static kl_status model_learn_map(model *m, model_version *version, kl_error *err) {
  model_walk walk = {.m = m, .version = version};
  uint64_t bytes = 0;
  version->map_count = 0;
  kl_status status = kl_store_walk_used(m->store, model_visit, &walk, err);
  if (status != KL_OK) { /* as model_read */
    version->map_count = 0;
    walk = (model_walk){.m = m, .version = version};
    status = kl_store_walk_used(m->store, model_visit, &walk, err);
  }
  if (status != KL_OK) return status;
  for (size_t i = 0; i < version->run_count; i++) bytes += model_blocks(&version->runs[i]) * KL_BLOCK_SIZE;
  if (walk.data_bytes != bytes) {
    MODEL_FAIL(m, "the map has %llu bytes in use, not %llu", (unsigned long long)walk.data_bytes,
               (unsigned long long)bytes);
  }
  return KL_OK;
}

void model_check(model *m) {
  kl_error err = {0};
  for (size_t i = 0; i < MODEL_VERSIONS; i++) {
    model_version *v = &m->versions[i];
    if (!v->taken || !(v->live || v == m->newest || v == m->previous)) continue;
    if (!model_version_intact(m, v)) {
      MODEL_FAIL(m, "version ts %llu is not what it was (newest %d, previous %d, live %d)", (unsigned long long)v->ts,
                 v == m->newest, v == m->previous, v->live);
    }
  }
  uint64_t reserved = 0;
  for (size_t i = 0; i < m->aside_count; i++) {
    if (!model_run_intact(m, &m->asides[i].run)) MODEL_FAIL(m, "reserved run %zu is not what it was", i);
    reserved += model_blocks(&m->asides[i].run) * KL_BLOCK_SIZE;
  }
  if (m->in_progress) return;
  if (model_learn_map(m, m->newest, &err) != KL_OK) MODEL_FAIL(m, "%s", err.message);
  kl_store_space space;
  kl_store_get_space(m->store, &space);
  uint64_t used = m->newest->map_count * KL_BLOCK_SIZE;
  for (size_t i = 0; i < m->newest->run_count; i++) used += model_blocks(&m->newest->runs[i]) * KL_BLOCK_SIZE;
  assert_int_equal(space.used_bytes, used);
  assert_true(space.blocks_end <= space.file_bytes);
  assert_int_equal(space.reserved_bytes, reserved);
  assert_int_equal(
      space.used_bytes + space.free_bytes + space.limbo_bytes + space.reserved_bytes + KL_SUPERBLOCKS * KL_BLOCK_SIZE,
      space.blocks_end);
}

/* -------- a checkpoint -------- */

kl_status model_begin(model *m, kl_error *err) {
  uint64_t live[MODEL_VERSIONS];
  size_t count = 0;
  for (size_t i = 0; i < MODEL_VERSIONS; i++) {
    if (m->versions[i].taken && m->versions[i].live) live[count++] = m->versions[i].sequence;
  }
  for (size_t i = count; i > 1; i--) { /* any order */
    size_t j = (size_t)kl_rng_below(&m->rng, i);
    uint64_t t = live[i - 1];
    live[i - 1] = live[j];
    live[j] = t;
  }
  kl_status status = kl_store_begin(m->store, live, count, err);
  if (status != KL_OK) return status;
  m->work = model_slot(m);
  m->work->ts = m->newest->ts + 1;
  m->work->sequence = kl_store_birth(m->store);
  m->work->run_count = m->newest->run_count;
  memcpy(m->work->runs, m->newest->runs, m->newest->run_count * sizeof(model_run));
  m->in_progress = true;
  return KL_OK;
}

static model_run model_new_run(model *m) {
  uint64_t blocks = 1, dice = kl_rng_below(&m->rng, 100);
  if (dice >= 70) blocks = 1 + kl_rng_below(&m->rng, 5);
  if (dice >= 90) blocks = 1 + kl_rng_below(&m->rng, m->most_blocks);
  return (model_run){.bytes = blocks * KL_BLOCK_SIZE - kl_rng_below(&m->rng, KL_BLOCK_SIZE), .tag = m->next_tag++};
}

/* Room for more, of which the rest is given back. */
static kl_status model_allocate_some(model *m, model_run *run, kl_error *err) {
  uint64_t got = 0, needed = run->bytes, whole = model_blocks(run) * KL_BLOCK_SIZE;
  uint64_t most = kl_rng_below(&m->rng, 64 * KL_BLOCK_SIZE);
  kl_status status = kl_store_allocate_some(m->store, needed, most, &run->address, &got, err);
  if (status != KL_OK) return status;
  assert_true(got >= whole && got % KL_BLOCK_SIZE == 0);
  run->bytes = got;
  model_check_allocated(m, run);
  run->bytes = needed;
  if (got == whole) return KL_OK;
  return kl_store_free(m->store, run->address + whole, got - whole, run->birth, err);
}

static kl_status model_allocate(model *m, kl_error *err) {
  model_run *run = &m->work->runs[m->work->run_count];
  *run = model_new_run(m);
  run->birth = kl_store_birth(m->store);
  kl_status status;
  if (kl_rng_below(&m->rng, 4) == 0) {
    status = model_allocate_some(m, run, err);
  } else {
    status = kl_store_allocate(m->store, run->bytes, &run->address, err);
    if (status == KL_OK) model_check_allocated(m, run);
  }
  if (status != KL_OK) return status;
  m->work->run_count++;
  return model_write(m, run, false, err);
}

/* -------- reserved runs -------- */

kl_status model_reserve(model *m, kl_error *err) {
  uint64_t dice = kl_rng_below(&m->rng, 8);
  if (dice == 0) {
    kl_status status = kl_store_sync(m->store, err);
    for (size_t i = 0; i < m->aside_count && status == KL_OK; i++) m->asides[i].synced = true;
    return status;
  }
  if (dice < 4 && m->aside_count != 0) {
    size_t i = (size_t)kl_rng_below(&m->rng, m->aside_count);
    if (m->asides[i].adopted) return KL_OK;
    model_run *run = &m->asides[i].run;
    uint64_t blocks = model_blocks(run), half = blocks / 2 * KL_BLOCK_SIZE;
    if (half != 0) kl_store_unreserve(m->store, run->address, half);
    kl_store_unreserve(m->store, run->address + half, blocks * KL_BLOCK_SIZE - half);
    m->asides[i] = m->asides[--m->aside_count];
    return KL_OK;
  }
  if (m->aside_count == MODEL_ASIDE) return KL_OK;
  model_aside *aside = &m->asides[m->aside_count];
  *aside = (model_aside){.run = model_new_run(m)};
  kl_status status = kl_store_reserve(m->store, aside->run.bytes, &aside->run.address, err);
  if (status != KL_OK) return status;
  model_check_allocated(m, &aside->run);
  status = model_write(m, &aside->run, true, err);
  if (status == KL_OK) {
    m->aside_count++;
  } else {
    kl_store_unreserve(m->store, aside->run.address, aside->run.bytes);
  }
  return status;
}

static kl_status model_adopt_run(model *m, kl_error *err) {
  model_aside *aside = &m->asides[kl_rng_below(&m->rng, m->aside_count)];
  if (aside->adopted) return KL_OK;
  kl_status status = kl_store_adopt(m->store, aside->run.address, aside->run.bytes, err);
  if (status != KL_OK) return status;
  model_run *run = &m->work->runs[m->work->run_count++];
  *run = aside->run;
  run->birth = kl_store_birth(m->store);
  aside->adopted = true;
  return KL_OK;
}

/* The checkpoint in progress has ended. */
static void model_settle_adopted(model *m, bool published) {
  size_t kept = 0;
  for (size_t i = 0; i < m->aside_count; i++) {
    if (published && m->asides[i].adopted) continue;
    m->asides[kept] = m->asides[i];
    m->asides[kept++].adopted = false;
  }
  m->aside_count = kept;
}

/* After an opening: a log would name what was synced. */
static void model_reserve_again(model *m) {
  kl_error err = {0};
  size_t kept = 0;
  for (size_t i = 0; i < m->aside_count; i++) {
    model_run *run = &m->asides[i].run;
    bool used = false;
    if (!m->asides[i].synced) continue;
    for (size_t r = 0; r < m->newest->run_count; r++) used |= m->newest->runs[r].tag == run->tag;
    kl_status status = kl_store_reserve_at(m->store, run->address, run->bytes, &err);
    if (status == KL_E_NO_MEMORY || status == KL_E_IO) { /* the fault of a test, which strikes once */
      status = kl_store_reserve_at(m->store, run->address, run->bytes, &err);
    }
    if (status != (used ? KL_E_EXISTS : KL_OK)) MODEL_FAIL(m, "reserved run %zu: %d %s", i, status, err.message);
    if (used) continue;
    m->asides[kept] = m->asides[i];
    m->asides[kept++].adopted = false;
  }
  m->aside_count = kept;
}

/* -------- a checkpoint, further -------- */

kl_status model_change(model *m, kl_error *err) {
  model_version *work = m->work;
  if (m->reserves && m->aside_count != 0 && work->run_count < MODEL_RUNS && kl_rng_below(&m->rng, 4) == 0) {
    return model_adopt_run(m, err);
  }
  if (m->reserves && kl_rng_below(&m->rng, 4) == 0) return model_reserve(m, err);
  bool grow = kl_rng_below(&m->rng, 2 * m->target_runs) >= work->run_count;
  if (work->run_count == 0 || (grow && work->run_count < MODEL_RUNS)) return model_allocate(m, err);
  size_t i = (size_t)kl_rng_below(&m->rng, work->run_count);
  model_run run = work->runs[i];
  kl_status status = kl_store_free(m->store, run.address, run.bytes, run.birth, err);
  if (status == KL_OK) work->runs[i] = work->runs[--work->run_count];
  return status;
}

/* The bytes of the first run are the root of the catalogue, as far as the store can tell. */
static kl_checkpoint model_describe(model *m, const model_version *version) {
  kl_checkpoint checkpoint = {.ts = version->ts, .log_lsn = version->ts * 100, .log_needed = m->log_needed};
  uint8_t block[KL_BLOCK_SIZE];
  if (version->run_count == 0) return checkpoint;
  const model_run *run = &version->runs[0];
  uint32_t size = run->bytes < KL_BLOCK_SIZE ? (uint32_t)run->bytes : KL_BLOCK_SIZE;
  model_fill(run->tag, 0, block);
  checkpoint.catalogue = (kl_store_pointer){run->address, size, kl_crc32c(0, block, size), run->birth};
  return checkpoint;
}

kl_status model_publish(model *m, kl_error *err) {
  model_version *work = m->work;
  if (work->run_count > 1) { /* the root is a new one, if there is any */
    model_run last = work->runs[work->run_count - 1];
    work->runs[work->run_count - 1] = work->runs[0];
    work->runs[0] = last;
  }
  kl_checkpoint checkpoint = model_describe(m, work);
  kl_status status = kl_store_publish(m->store, &checkpoint, err);
  m->in_progress = false;
  model_settle_adopted(m, status == KL_OK); /* of one that failed, model_reserve_again learns whether it counts */
  if (status != KL_OK) return status;       /* `work` stays, for model_reopen */
  m->work->sequence = checkpoint.sequence;
  m->previous = m->sim == NULL ? NULL : m->newest;
  m->newest = m->work;
  m->work = NULL;
  return KL_OK;
}

kl_status model_seal(model *m, kl_error *err) {
  kl_checkpoint checkpoint;
  kl_store_checkpoint(m->store, &checkpoint);
  checkpoint.log_needed = m->log_needed;
  kl_status status = kl_store_publish(m->store, &checkpoint, err);
  if (status != KL_OK) return status;
  m->newest->sequence = checkpoint.sequence;
  return KL_OK;
}

void model_abort(model *m) {
  kl_store_abort(m->store);
  m->in_progress = false;
  model_settle_adopted(m, false);
  if (m->work != NULL) m->work->taken = false;
  m->work = NULL;
}

/* False: there are enough of them. */
static bool model_take_snapshot(model *m) {
  size_t held = 0;
  for (size_t i = 0; i < MODEL_VERSIONS; i++) held += m->versions[i].taken && m->versions[i].live;
  if (held >= MODEL_VERSIONS / 2) return false;
  m->newest->live = true;
  return true;
}

kl_status model_checkpoint(model *m, size_t changes, kl_error *err) {
  kl_status status = model_begin(m, err);
  if (status != KL_OK) return status;
  for (size_t i = 0; i < changes && status == KL_OK; i++) {
    /* A snapshot that begin was not told of. */
    if (m->surprises && i == changes / 2 && kl_rng_below(&m->rng, 6) == 0) model_take_snapshot(m);
    status = model_change(m, err);
  }
  if (status == KL_OK) return model_publish(m, err);
  model_abort(m);
  return status;
}

void model_toggle_snapshot(model *m) {
  if (kl_rng_below(&m->rng, 3) != 0 && model_take_snapshot(m)) return;
  size_t start = (size_t)kl_rng_below(&m->rng, MODEL_VERSIONS);
  for (size_t i = 0; i < MODEL_VERSIONS; i++) {
    model_version *v = &m->versions[(start + i) % MODEL_VERSIONS];
    if (!v->taken || !v->live) continue;
    v->live = false;
    return;
  }
}

/* -------- life -------- */

void model_open(model *m, kl_sim *sim, uint64_t seed) {
  kl_error err = {0};
  kl_store_options options = {0};
  memset(m, 0, sizeof *m);
  m->sim = sim;
  m->seed = seed;
  m->most_blocks = 40;
  m->target_runs = 200;
  kl_rng_init(&m->rng, seed);
  m->versions = test_calloc(MODEL_VERSIONS, sizeof *m->versions);
  m->newest = model_slot(m);
  m->newest->sequence = 1;
  kl_status status = sim != NULL ? kl_store_create(kl_sim_os(sim), MODEL_PATH, &options, &m->store, &err)
                                 : kl_store_new_memory(kl_os_posix(), 0, &m->store, &err);
  if (status != KL_OK) fail_msg("%s", err.message);
}

void model_close(model *m) {
  kl_store_close(m->store);
  test_free(m->versions);
}

/* Which versions have an intact superblock, by their ts. */
static void model_look_at_ring(model *m) {
  uint8_t block[KL_SUPERBLOCK_SIZE];
  size_t got = 0;
  memset(m->ring_has, 0, sizeof m->ring_has);
  for (uint64_t slot = 0; slot < KL_SUPERBLOCKS; slot++) {
    kl_status status = kl_sim_peek(m->sim, MODEL_PATH, slot * sizeof block, block, sizeof block, &got);
    assert_int_equal(status, KL_OK);
    bool intact = kl_crc32c(0, block, sizeof block - 4) == kl_load_u32_le(block + sizeof block - 4);
    if (intact) m->ring_has[kl_load_u64_le(block + 48) % MODEL_RING] = true; /* docs/format.md: ts */
  }
}

kl_status model_try_reopen(model *m, kl_error *err) {
  kl_store_options options = {0};
  if (m->in_progress) model_abort(m);
  kl_store_close(m->store);
  for (size_t i = 0; i < MODEL_VERSIONS; i++) m->versions[i].live = false;
  model_look_at_ring(m);
  return kl_store_open(kl_sim_os(m->sim), MODEL_PATH, &options, &m->store, err);
}

void model_reopen(model *m) {
  kl_error err = {0};
  if (model_try_reopen(m, &err) != KL_OK) MODEL_FAIL(m, "%s", err.message);
  model_adopt(m);
}

void model_adopt(model *m) {
  kl_error err = {0};
  kl_checkpoint checkpoint;
  kl_store_checkpoint(m->store, &checkpoint);
  if (m->work != NULL && checkpoint.ts == m->work->ts) {
    m->previous = m->newest;
    m->newest = m->work;
  }
  m->work = NULL;
  if (checkpoint.ts != m->newest->ts) {
    MODEL_FAIL(m, "opened ts %llu instead of %llu", (unsigned long long)checkpoint.ts,
               (unsigned long long)m->newest->ts);
  }
  m->newest->sequence = checkpoint.sequence;
  m->log_needed = checkpoint.log_needed;
  /* It is minded when its superblock was there. */
  if (m->previous != NULL && !m->ring_has[m->previous->ts % MODEL_RING]) m->previous = NULL;
  if (model_learn_map(m, m->newest, &err) != KL_OK) MODEL_FAIL(m, "%s", err.message);
  model_reserve_again(m);
  model_check(m);
}
