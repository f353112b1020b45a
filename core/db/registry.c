/* core/db/registry.c: see registry.h.
 *
 * Lock order: a database's `busy`, then the registry's word. Nobody waits for `busy` with the word held. */
#include "registry.h"

#include "../base/assert.h"

static struct {
  _Atomic uint64_t lock; /* 0: free; else the fork count of its holder's process, plus one */
  uint64_t fork_count;   /* of the process that `first` belongs to */
  kl_db *first;
} db_registry;

static void db_registry_lock(void) {
  uint64_t mine = kl_fork_count() + 1;
  for (;;) {
    uint64_t held = 0;
    if (atomic_compare_exchange_weak_explicit(&db_registry.lock, &held, mine, memory_order_acquire,
                                              memory_order_relaxed)) {
      break;
    }
    /* Held in a process that we are a fork of: its holder does not exist here. */
    if (held != 0 && held != mine &&
        atomic_compare_exchange_strong_explicit(&db_registry.lock, &held, mine, memory_order_acquire,
                                                memory_order_relaxed)) {
      break;
    }
    kl_thread_yield(); /* it is held for a few instructions */
  }
  if (db_registry.fork_count != kl_fork_count()) {
    db_registry.fork_count = kl_fork_count();
    db_registry.first = NULL; /* the parent's databases are not ours */
  }
}

static void db_registry_unlock(void) {
  atomic_store_explicit(&db_registry.lock, 0, memory_order_release);
}

/* Under the lock. True when the last holder has let go: free it, after unlocking. */
static bool db_registry_let_go(kl_db *db) {
  KL_ASSERT(db->holders != 0);
  return --db->holders == 0;
}

static void db_registry_free(kl_db *db) {
  kl_mutex_destroy(&db->busy);
  kl_db_drainer_destroy(db);
  kl_free(db->os->allocator, db->path, db->path_size);
  kl_free(db->os->allocator, db, sizeof *db);
}

/* Under the lock: the database that the identity means, or one that might turn out to be it. */
static kl_db *db_registry_find(const kl_os *os, const db_identity *identity) {
  for (kl_db *db = db_registry.first; db != NULL; db = db->next) {
    if (db->os != os) continue;
    if (!db->identity.known || !identity->known) {
      if (db->state != DB_OPEN) return db;
      continue;
    }
    if (db->identity.device == identity->device && db->identity.inode == identity->inode) return db;
  }
  return NULL;
}

void kl_db_registry_claim(kl_db *fresh, const db_identity *identity, kl_db **out_found, bool *out_again) {
  *out_found = NULL;
  *out_again = false;
  db_registry_lock();
  kl_db *db = db_registry_find(fresh->os, identity);
  if (db == NULL) {
    fresh->identity = *identity;
    fresh->next = db_registry.first;
    db_registry.first = fresh;
  } else if (db->state == DB_OPEN) {
    atomic_fetch_add_explicit(&db->references, 1, memory_order_relaxed);
    *out_found = db;
  } else {
    db->holders++;
    *out_again = true;
  }
  db_registry_unlock();
  if (!*out_again) return;
  kl_mutex_lock(&db->busy); /* until the opening or closing is over */
  kl_mutex_unlock(&db->busy);
  db_registry_lock();
  bool last = db_registry_let_go(db);
  db_registry_unlock();
  if (last) db_registry_free(db);
}

void kl_db_registry_opened(kl_db *db, const db_identity *identity) {
  db_registry_lock();
  db->identity = *identity;
  db->state = DB_OPEN;
  db_registry_unlock();
  kl_mutex_unlock(&db->busy);
}

void kl_db_registry_remove(kl_db *db) {
  db_registry_lock();
  kl_db **link = &db_registry.first;
  while (*link != NULL && *link != db) link = &(*link)->next;
  if (*link != NULL) *link = db->next; /* a database without a file is in no list */
  db->state = DB_GONE;
  db_registry_unlock();
  kl_mutex_unlock(&db->busy);
  db_registry_lock();
  bool last = db_registry_let_go(db);
  db_registry_unlock();
  if (last) db_registry_free(db);
}

bool kl_db_registry_release(kl_db *db) {
  uint64_t references = atomic_load_explicit(&db->references, memory_order_relaxed);
  while (references > 1) { /* not the last one: nothing to guard */
    /* Release: our use ends before whoever closes it begins to. */
    if (atomic_compare_exchange_weak_explicit(&db->references, &references, references - 1, memory_order_release,
                                              memory_order_relaxed)) {
      return false;
    }
  }
  kl_mutex_lock(&db->busy);
  db_registry_lock();
  /* Acquire: the others' uses. Under the lock nobody can find the database and take a new reference. */
  bool last = atomic_fetch_sub_explicit(&db->references, 1, memory_order_acq_rel) == 1;
  if (last) db->state = DB_CLOSING;
  db_registry_unlock();
  if (!last) kl_mutex_unlock(&db->busy);
  return last;
}
