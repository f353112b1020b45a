/* core/txn/commit.c: the group-commit pipeline. See commit.h; invariants and the argument are in README.md.
 *
 * One commit: kl_commit_run -> commit_prepare (own thread, no lock) -> queue -> a leader's commit_lead, which under
 * the turn calls kl_commit_admit (validate.c) and commit_append -> each member's commit_insert -> commit_leave_group
 * -> commit_publish. */
#include "commit.h"

#include <inttypes.h>

#include "../base/assert.h"
#include "../wal/commit_record.h"
#include "commit_request.h"

enum {
  COMMIT_SPINS = 100,                    /* looks, with pauses, at the state before a committer goes to sleep */
  COMMIT_PARTS = 64,                     /* members of one log batch */
  COMMIT_BATCH_BYTES = 16 * 1024 * 1024, /* a log batch of several members stays below */
  COMMIT_ENTRY_OVERHEAD = 96,            /* bytes that the delta takes for an entry beside key and value */
  COMMIT_RESERVE_FROM = 64 * 1024,       /* smaller commits do not hold memory back */
  COMMIT_PREFETCH = 4,                   /* so many inserts ahead memory is asked for */
  COMMIT_ROOM_TRIES = 20,                /* how often a commit waits for drains to make room for it */
  COMMIT_DISK_TRIES = 3,
  COMMIT_INSERT_TRIES = 9, /* with pauses of 1, 2, 4 ... 128 ms between them */
  COMMIT_KEY_SHOWN = 40
};

/* The state of a request. PARKED is or-ed to the first two while the committer sleeps. */
enum { COMMIT_WAITING = 0, COMMIT_INSERT = 1, COMMIT_DONE = 2, COMMIT_PARKED = 4 };

/* On the leader's stack; the leader's request is completed last. */
struct kl_commit_group {
  kl_commit_group *next;
  kl_commit_request *leader;
  kl_commit_request *members; /* on the log, in order of timestamp */
  uint64_t last_ts;
  kl_lsn end;
  bool wants_sync, wants_sync_soon;
  bool ready; /* guarded by pipeline->publishing */
  _Atomic bool failed;
  _Atomic uint32_t pending; /* followers that have not inserted yet, + 1 for the leader */
};

kl_status kl_commit_pipeline_init(kl_commit_pipeline *pipeline, kl_allocator *allocator, uint64_t hash_seed,
                                  kl_error *err) {
  kl_inflight_init(&pipeline->inflight, allocator);
  pipeline->hash_seed = hash_seed;
  uint32_t made = 0;
  kl_status status = kl_mutex_init(&pipeline->turn, err);
  if (status != KL_OK) return status;
  status = kl_mutex_init(&pipeline->publishing, err);
  if (status != KL_OK) goto no_publishing;
  status = kl_cond_init(&pipeline->drained, err);
  if (status != KL_OK) goto no_drained;
  for (; made < KL_COMMIT_PARKS; made++) {
    status = kl_mutex_init(&pipeline->parks[made].mutex, err);
    if (status != KL_OK) goto no_parks;
    status = kl_cond_init(&pipeline->parks[made].cond, err);
    if (status != KL_OK) {
      kl_mutex_destroy(&pipeline->parks[made].mutex);
      goto no_parks;
    }
  }
  return KL_OK;
no_parks:
  while (made-- > 0) {
    kl_cond_destroy(&pipeline->parks[made].cond);
    kl_mutex_destroy(&pipeline->parks[made].mutex);
  }
  kl_cond_destroy(&pipeline->drained);
no_drained:
  kl_mutex_destroy(&pipeline->publishing);
no_publishing:
  kl_mutex_destroy(&pipeline->turn);
  return status;
}

void kl_commit_pipeline_destroy(kl_commit_pipeline *pipeline) {
  for (uint32_t i = 0; i < KL_COMMIT_PARKS; i++) {
    kl_cond_destroy(&pipeline->parks[i].cond);
    kl_mutex_destroy(&pipeline->parks[i].mutex);
  }
  kl_cond_destroy(&pipeline->drained);
  kl_mutex_destroy(&pipeline->publishing);
  kl_mutex_destroy(&pipeline->turn);
  kl_inflight_destroy(&pipeline->inflight);
}

void kl_commit_pipeline_close(kl_commit_pipeline *pipeline) {
  kl_mutex_lock(&pipeline->turn);
  pipeline->closed = true;
  kl_mutex_unlock(&pipeline->turn);
  kl_mutex_lock(&pipeline->publishing);
  while (pipeline->first != NULL) kl_cond_wait(&pipeline->drained, &pipeline->publishing);
  kl_mutex_unlock(&pipeline->publishing);
}

bool kl_commit_published(const kl_commit_pipeline *pipeline, uint64_t last_ts) {
  return pipeline->first == NULL || pipeline->first->last_ts > last_ts;
}

/* Sleeping and waking. The committer goes to sleep by adding PARKED to the state, under the lock of its park; whoever
 * changes the state does so with one exchange, and if that shows PARKED it takes the lock before it signals. So the
 * signal comes either before the committer's compare-and-swap, which then fails, or after it has begun to wait
 * (TXN-8). */

static void commit_signal(kl_commit_pipeline *pipeline, kl_commit_request *request, uint32_t state) {
  kl_commit_park *park = &pipeline->parks[request->park]; /* the request may be gone after the exchange */
  /* Release: the status, error and timestamp that were written. Acquire: nothing, but an exchange is both at no
   * cost. */
  uint32_t before = atomic_exchange_explicit(&request->state, state, memory_order_acq_rel);
  if ((before & COMMIT_PARKED) == 0) return;
  kl_mutex_lock(&park->mutex);
  kl_cond_broadcast(&park->cond); /* not signal: several committers share a park */
  kl_mutex_unlock(&park->mutex);
}

/* Waits while the state is `state`; returns the new one. */
static uint32_t commit_wait(kl_commit_pipeline *pipeline, kl_commit_request *request, uint32_t state) {
  uint32_t now = state;
  for (int i = 0; i < COMMIT_SPINS && now == state; i++) {
    now = atomic_load_explicit(&request->state, memory_order_acquire);
    if (now == state) kl_thread_relax();
  }
  if (now != state) return now;
  kl_commit_park *park = &pipeline->parks[request->park];
  kl_mutex_lock(&park->mutex);
  now = state;
  if (atomic_compare_exchange_strong_explicit(&request->state, &now, state | COMMIT_PARKED, memory_order_acq_rel,
                                              memory_order_acquire)) {
    do {
      kl_cond_wait(&park->cond, &park->mutex);
      now = atomic_load_explicit(&request->state, memory_order_acquire);
    } while (now == (state | COMMIT_PARKED));
  }
  kl_mutex_unlock(&park->mutex);
  return now;
}

/* Before the queue, on the committer's thread: all that needs memory or work and no order among commits. */

static void commit_encode(kl_commit_request *request) {
  const kl_write_set *writes = &request->txn->writes;
  uint8_t *out = request->record + KL_COMMIT_HEADER_SIZE;
  for (uint32_t i = 0; i < writes->tree_count; i++) {
    kl_write_position at;
    kl_write_tree_first(writes->trees[i], &at);
    for (; at.entry != NULL; kl_write_position_next(&at)) {
      kl_op op = {writes->trees[i]->keyspace, at.entry->kind == KL_VERSION_PUT ? KL_OP_PUT : KL_OP_DELETE,
                  kl_write_entry_key(at.entry), kl_write_entry_value(at.entry)};
      out += kl_op_encode(&op, out);
    }
  }
  KL_ASSERT((size_t)(out - request->record) == request->record_size);
}

static void commit_hash(kl_commit_request *request, uint64_t seed) {
  const kl_write_set *writes = &request->txn->writes;
  uint64_t *out = request->hashes;
  for (uint32_t i = 0; i < writes->tree_count; i++) {
    kl_write_position at;
    kl_write_tree_first(writes->trees[i], &at);
    for (; at.entry != NULL; kl_write_position_next(&at)) {
      *out++ = kl_inflight_hash(seed, writes->trees[i]->keyspace, kl_write_entry_key(at.entry));
    }
  }
}

static kl_status commit_prepare(kl_txn_manager *manager, kl_commit_request *request, kl_error *err) {
  kl_write_set *writes = &request->txn->writes;
  if (writes->count > SIZE_MAX / sizeof(uint64_t) || writes->encoded_bytes > SIZE_MAX - KL_COMMIT_HEADER_SIZE) {
    return kl_fail(err, KL_E_LIMIT, "the transaction does not fit into memory as one log record");
  }
  size_t count = (size_t)writes->count;
  request->hashes = kl_arena_alloc(&writes->arena, count * sizeof(uint64_t), _Alignof(uint64_t));
  request->places = kl_arena_alloc(&writes->arena, count * sizeof *request->places, _Alignof(kl_delta_place));
  if (manager->wal != NULL) {
    request->record_size = KL_COMMIT_HEADER_SIZE + (size_t)writes->encoded_bytes;
    request->record = kl_arena_alloc(&writes->arena, request->record_size, _Alignof(uint64_t));
  }
  request->delta_bytes = writes->payload_bytes + writes->count * COMMIT_ENTRY_OVERHEAD;
  /* A commit that is on the log must get into the delta, and the delta takes its memory then. A large commit holds as
   * much back from here on, so that want of memory shows before anything is logged (TXN-5). */
  if (request->delta_bytes >= COMMIT_RESERVE_FROM) {
    request->reserve = kl_alloc(&manager->allocator, (size_t)request->delta_bytes);
  }
  if (request->hashes == NULL || request->places == NULL || (manager->wal != NULL && request->record == NULL) ||
      (request->delta_bytes >= COMMIT_RESERVE_FROM && request->reserve == NULL)) {
    return kl_fail(err, KL_E_NO_MEMORY, "no memory to commit a transaction of %" PRIu64 " bytes; nothing was written",
                   writes->payload_bytes);
  }
  if (manager->wal != NULL) commit_encode(request);
  commit_hash(request, manager->pipeline.hash_seed);
  return kl_commit_precheck(manager, request, err);
}

static void commit_free_reserve(kl_txn_manager *manager, kl_commit_request *request) {
  kl_free(&manager->allocator, request->reserve, (size_t)request->delta_bytes);
  request->reserve = NULL;
}

/* Under the turn. */

/* An append failed. What the members are told depends on whether the log may hold the batch all the same. */
static void commit_append_failed(kl_txn_manager *manager, kl_commit_request *first, size_t count, kl_status status,
                                 const kl_error *error) {
  kl_wal_stats stats;
  kl_wal_get_stats(manager->wal, &stats);
  if (stats.poisoned) kl_txn_manager_poison(manager, error);
  for (kl_commit_request *request = first; count > 0; count--, request = request->next) {
    kl_commit_withdraw(manager, request);
    request->error = *error;
    request->status = status;
    if (stats.poisoned && status != KL_E_POISONED) {
      request->status = kl_fail(&request->error, KL_E_COMMIT_UNKNOWN,
                                "writing the commit to the log failed, so its outcome is unknown; open the database "
                                "again to learn it (%s)",
                                error->message);
      request->error.system_errno = error->system_errno;
    }
  }
}

/* Appends the admitted members as one batch, or a few when they are many or large. Those whose append failed have
 * their status set. */
static void commit_append(kl_txn_manager *manager, kl_commit_group *group, kl_commit_request *members) {
  for (kl_commit_request *member = members; member != NULL; member = member->next) {
    group->wants_sync = group->wants_sync || member->txn->durability == KL_DURABILITY_FULL;
    group->wants_sync_soon = group->wants_sync_soon || member->txn->durability == KL_DURABILITY_GROUP;
  }
  while (members != NULL && manager->wal != NULL) {
    kl_slice parts[COMMIT_PARTS];
    size_t count = 0, bytes = 0;
    uint64_t ts = 0;
    kl_commit_request *request = members;
    for (; request != NULL && count < COMMIT_PARTS; request = request->next) {
      if (count != 0 && request->record_size > COMMIT_BATCH_BYTES - bytes) break;
      parts[count++] = kl_slice_make(request->record, request->record_size);
      bytes = bytes + request->record_size < COMMIT_BATCH_BYTES ? bytes + request->record_size : COMMIT_BATCH_BYTES;
      ts = request->ts;
    }
    kl_error error = {0};
    /* When a sync follows anyway, the log may write the batch then. */
    kl_status status = group->wants_sync
                           ? kl_wal_append_deferred(manager->wal, parts, count, ts, NULL, &group->end, &error)
                           : kl_wal_append(manager->wal, parts, count, ts, NULL, &group->end, &error);
    if (status == KL_OK) {
      kl_counters_add(&manager->counters, TXN_GROUPS, 1);
    } else {
      commit_append_failed(manager, members, count, status, &error);
    }
    members = request;
  }
}

static kl_commit_request *commit_take_queue(kl_commit_pipeline *pipeline) {
  /* Acquire: what the members prepared. From here on the next committer finds the queue empty and leads. */
  kl_commit_request *newest = atomic_exchange_explicit(&pipeline->queue, NULL, memory_order_acq_rel);
  kl_commit_request *list = NULL;
  while (newest != NULL) {
    kl_commit_request *before = newest->next;
    newest->next = list;
    list = newest;
    newest = before;
  }
  return list;
}

/* Splits `list` into those whose status is KL_OK, in order, and the others. */
static void commit_sort_out(kl_commit_request *list, kl_commit_request **out_good, kl_commit_request **out_bad) {
  kl_commit_request **good = out_good, **bad = out_bad;
  for (; list != NULL; list = list->next) {
    if (list->status == KL_OK) {
      *good = list;
      good = &list->next;
    } else {
      *bad = list;
      bad = &list->next;
    }
  }
  *good = *bad = NULL;
}

static void commit_enqueue_group(kl_txn_manager *manager, kl_commit_group *group) {
  kl_commit_pipeline *pipeline = &manager->pipeline;
  uint32_t followers = 0;
  for (kl_commit_request *member = group->members; member != NULL; member = member->next) {
    member->group = group;
    group->last_ts = member->ts;
    followers += member != group->leader;
  }
  atomic_init(&group->pending, followers + 1);
  kl_mutex_lock(&pipeline->publishing);
  if (pipeline->last != NULL) {
    pipeline->last->next = group;
  } else {
    pipeline->first = group;
  }
  pipeline->last = group;
  kl_mutex_unlock(&pipeline->publishing);
}

/* After the turn. */

/* What a member of a group is told that was appended and cannot be published. */
static void commit_fail_member(kl_txn_manager *manager, kl_commit_request *member) {
  /* Does not change once it is set, and it was set before the group was found to have failed. */
  const kl_error *reason = &manager->pipeline.poison;
  if (manager->wal == NULL) {
    member->status = kl_fail(&member->error, KL_E_POISONED, "nothing was committed, and nothing will be any more (%s)",
                             reason->message);
  } else {
    member->status = kl_fail(
        &member->error, KL_E_COMMIT_UNKNOWN,
        "the outcome of the commit is unknown; close the database and open it again to learn it (%s)", reason->message);
  }
  member->error.system_errno = reason->system_errno;
}

static void commit_complete_group(kl_txn_manager *manager, kl_commit_group *group, bool published) {
  kl_commit_request *leader = group->leader;
  for (kl_commit_request *member = group->members, *next; member != NULL; member = next) {
    next = member->next;
    if (!published) commit_fail_member(manager, member);
    if (member != leader) commit_signal(&manager->pipeline, member, COMMIT_DONE);
  }
  commit_signal(&manager->pipeline, leader, COMMIT_DONE); /* last: the group is on its stack */
}

/* The group is durable as asked and inserted, or has failed. Publishes it, and those behind it that were ready before
 * it, unless one before it is not ready: then the last of those will do it (TXN-3). */
static void commit_publish(kl_txn_manager *manager, kl_commit_group *group) {
  kl_commit_pipeline *pipeline = &manager->pipeline;
  kl_mutex_lock(&pipeline->publishing);
  group->ready = true;
  while (pipeline->first != NULL && pipeline->first->ready) {
    kl_commit_group *oldest = pipeline->first;
    pipeline->first = oldest->next;
    if (pipeline->first == NULL) pipeline->last = NULL;
    /* Once a group has failed, none behind it is published either: they may have read what it did not write. */
    if (atomic_load_explicit(&oldest->failed, memory_order_relaxed)) pipeline->stopped = true;
    bool published = !pipeline->stopped;
    if (published) {
      /* Sequentially consistent, for TXN-6; as a release it publishes the inserts of all members. */
      atomic_store_explicit(&manager->visible_ts, oldest->last_ts, memory_order_seq_cst);
    }
    if (pipeline->first == NULL || pipeline->watchers != 0) kl_cond_broadcast(&pipeline->drained);
    /* Waking takes other locks; and a group that becomes ready meanwhile is found by the next turn of the loop. */
    kl_mutex_unlock(&pipeline->publishing);
    commit_complete_group(manager, oldest, published);
    kl_mutex_lock(&pipeline->publishing);
  }
  kl_mutex_unlock(&pipeline->publishing);
}

static void commit_group_failed(kl_txn_manager *manager, kl_commit_group *group, const kl_error *reason) {
  kl_txn_manager_poison(manager, reason);
  /* Relaxed: the decrement of `pending` that follows is what others synchronise with. */
  atomic_store_explicit(&group->failed, true, memory_order_relaxed);
}

/* One of those that the group waits for is through. The group may be gone when this returns, unless the caller is a
 * member that has not been completed. */
static void commit_leave_group(kl_txn_manager *manager, kl_commit_group *group) {
  /* Release: our inserts; acquire: those of the others, for the one that publishes. */
  if (atomic_fetch_sub_explicit(&group->pending, 1, memory_order_acq_rel) == 1) commit_publish(manager, group);
}

static kl_status commit_insert_entry(kl_txn_manager *manager, const kl_commit_request *request, uint32_t keyspace,
                                     const kl_write_entry *entry, kl_delta_place place, kl_error *err) {
  kl_version version = {request->ts, (kl_version_kind)entry->kind, kl_write_entry_value(entry)};
  kl_status status = KL_E_NO_MEMORY;
  /* The commit is on the log: want of memory may pass, a database that has to be opened again is worse than a pause. */
  for (unsigned try = 0; try < COMMIT_INSERT_TRIES && status == KL_E_NO_MEMORY; try++) {
    if (try != 0) kl_os_sleep_ns(manager->os, (uint64_t)1000000 << (try - 1));
    status = kl_delta_insert_at(request->delta, keyspace, place, kl_write_entry_key(entry), &version, err);
  }
  return status;
}

static void commit_insert(kl_txn_manager *manager, kl_commit_request *request) {
  const kl_write_set *writes = &request->txn->writes;
  commit_free_reserve(manager, request);
  /* The precheck has been at all these places, but in another delta if ours was frozen since. */
  bool placed = request->delta == request->txn->snapshot.layers->active;
  uint64_t n = 0;
  kl_error error;
  kl_status status = KL_OK;
  for (uint32_t i = 0; i < writes->tree_count && status == KL_OK; i++) {
    kl_write_position at;
    kl_write_tree_first(writes->trees[i], &at);
    for (; at.entry != NULL && status == KL_OK; kl_write_position_next(&at), n++) {
      if (placed && n + COMMIT_PREFETCH < writes->count) kl_delta_prefetch(request->places[n + COMMIT_PREFETCH]);
      kl_delta_place place = placed ? request->places[n] : NULL;
      status = commit_insert_entry(manager, request, writes->trees[i]->keyspace, at.entry, place, &error);
    }
  }
  atomic_fetch_sub_explicit(&manager->pipeline.reserved_bytes, request->delta_bytes, memory_order_relaxed);
  if (status != KL_OK) commit_group_failed(manager, request->group, &error);
}

/* The leader's part after the append: durability. */
static void commit_sync_group(kl_txn_manager *manager, kl_commit_group *group) {
  if (manager->wal == NULL) return;
  kl_error error;
  kl_status status = KL_OK;
  if (!group->wants_sync && group->wants_sync_soon) {
    status = kl_wal_sync_soon(manager->wal, manager->options.group_interval_ns, &error);
    if (status != KL_OK) group->wants_sync = true; /* no thread to do it later, say: then now */
  }
  if (group->wants_sync) status = kl_wal_sync(manager->wal, group->end, &error);
  if (status != KL_OK) commit_group_failed(manager, group, &error);
}

static void commit_lead(kl_txn_manager *manager, kl_commit_request *own) {
  kl_commit_pipeline *pipeline = &manager->pipeline;
  kl_commit_group group = {.leader = own};
  kl_commit_request *admitted, *refused, *refused_later;
  kl_mutex_lock(&pipeline->turn);
  kl_commit_request *list = commit_take_queue(pipeline);
  for (kl_commit_request *member = list; member != NULL; member = member->next) {
    member->status = kl_commit_admit(manager, member);
  }
  commit_sort_out(list, &admitted, &refused);
  commit_append(manager, &group, admitted);
  commit_sort_out(admitted, &group.members, &refused_later);
  if (group.members != NULL) commit_enqueue_group(manager, &group);
  /* The next group is validated and appended while this one is inserted and synced. */
  kl_mutex_unlock(&pipeline->turn);

  for (int i = 0; i < 2; i++, refused = refused_later) {
    while (refused != NULL) {
      kl_commit_request *next = refused->next;
      if (refused != own) commit_signal(pipeline, refused, COMMIT_DONE);
      refused = next;
    }
  }
  if (group.members == NULL) return; /* its leader was refused too */
  bool leads_only = own->status != KL_OK;
  for (kl_commit_request *member = group.members; member != NULL; member = member->next) {
    if (member != own) commit_signal(pipeline, member, COMMIT_INSERT);
  }
  commit_sync_group(manager, &group);
  if (!leads_only) commit_insert(manager, own);
  commit_leave_group(manager, &group);
  commit_wait(pipeline, own, COMMIT_WAITING);
}

static void commit_follow(kl_txn_manager *manager, kl_commit_request *own) {
  kl_commit_pipeline *pipeline = &manager->pipeline;
  if (commit_wait(pipeline, own, COMMIT_WAITING) == COMMIT_DONE) return; /* refused */
  commit_insert(manager, own);
  commit_leave_group(manager, own->group);
  commit_wait(pipeline, own, COMMIT_INSERT);
}

/* True when the queue was empty: the caller leads the next group. */
static bool commit_join_queue(kl_commit_pipeline *pipeline, kl_commit_request *request) {
  kl_commit_request *newest = atomic_load_explicit(&pipeline->queue, memory_order_relaxed);
  do {
    request->next = newest;
    /* Release: what was prepared, for the leader. Nobody but the leader follows `next`, and it takes the whole queue
     * with an exchange, so that a request which comes, goes and comes again cannot deceive the compare-and-swap. */
  } while (!atomic_compare_exchange_weak_explicit(&pipeline->queue, &newest, request, memory_order_acq_rel,
                                                  memory_order_relaxed));
  return newest == NULL;
}

static kl_status commit_once(kl_txn *txn, uint64_t *out_ts, kl_error *err) {
  kl_txn_manager *manager = txn->manager;
  kl_commit_request request = {.txn = txn, .park = kl_thread_hint() & (KL_COMMIT_PARKS - 1)};
  kl_status status = commit_prepare(manager, &request, err);
  if (status == KL_OK) {
    if (commit_join_queue(&manager->pipeline, &request)) {
      commit_lead(manager, &request);
    } else {
      commit_follow(manager, &request);
    }
    status = request.status;
    if (status == KL_OK) *out_ts = request.ts;
    if (status != KL_OK && err != NULL) *err = request.error;
  }
  commit_free_reserve(manager, &request);
  return status;
}

static void commit_ask_drain(kl_txn_manager *manager) {
  manager->options.drain_wanted(manager->options.drain_context);
}

/* Before anything is prepared: as slow as the drain asks for. */
static kl_status commit_enter(kl_txn_manager *manager, uint64_t bytes, kl_error *err) {
  kl_throttle *throttle = &manager->throttle;
  while (!kl_throttle_enter(throttle, bytes)) {
    uint64_t seen = kl_throttle_drains(throttle);
    if (kl_throttle_enter(throttle, bytes)) break; /* one ended just now */
    commit_ask_drain(manager);
    kl_status status = kl_throttle_wait_drain(throttle, seen, err);
    if (status != KL_OK) return status;
  }
  return KL_OK;
}

/* Refused because memory_limit is reached (the deltas' memory is more than the bytes that the throttle goes by), or because
 * the log has no room to grow. Drains make room: memory, and segments of the log. True when one has ended since there
 * were `seen` of them, and it is worth trying again. */
static bool commit_make_room(const kl_txn *txn, kl_status status, int try, uint64_t seen) {
  kl_txn_manager *manager = txn->manager;
  int tries = status == KL_E_LIMIT ? COMMIT_ROOM_TRIES : status == KL_E_DISK_FULL ? COMMIT_DISK_TRIES : 0;
  if (try >= tries || manager->options.delta_size == 0) return false;
  /* One that is larger than all there is will not fit into it empty either. */
  if (status == KL_E_LIMIT && txn->writes.payload_bytes >= manager->options.memory_limit) return false;
  commit_ask_drain(manager);
  return kl_throttle_wait_drain(&manager->throttle, seen, NULL) == KL_OK;
}

kl_status kl_commit_run(kl_txn *txn, uint64_t *out_ts, kl_error *err) {
  kl_txn_manager *manager = txn->manager;
  kl_snapshot_leave_trees(&txn->snapshot); /* it may wait for many drains; it ends whatever comes of it */
  kl_status status = commit_enter(manager, txn->writes.payload_bytes, err);
  for (int try = 0; status == KL_OK; try++) {
    uint64_t drains = kl_throttle_drains(&manager->throttle);
    status = commit_once(txn, out_ts, err);
    if (!commit_make_room(txn, status, try, drains)) break;
    status = KL_OK;
  }
  if (kl_throttle_wants_drain(&manager->throttle)) commit_ask_drain(manager);
  return status;
}
