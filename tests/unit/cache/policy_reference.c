#include "policy_reference.h"

#include <stdlib.h>
#include <string.h>

static int find(const ref_list *l, uint64_t page) {
  for (int i = 0; i < l->count; i++) {
    if (l->at[i].page == page) return i;
  }
  return -1;
}

static void delete_at(ref_list *l, int i) {
  memmove(&l->at[i], &l->at[i + 1], (size_t)(l->count - i - 1) * sizeof l->at[0]);
  l->count--;
}

static uint64_t take_oldest(ref_list *l) {
  uint64_t page = l->at[0].page;
  delete_at(l, 0);
  return page;
}

static void append(ref_list *l, uint64_t page, int mark) {
  if (l->count == REFERENCE_MOST) abort();
  l->at[l->count].page = page;
  l->at[l->count++].mark = mark;
}

static bool take(ref_list *l, uint64_t page) {
  int i = find(l, page);
  if (i >= 0) delete_at(l, i);
  return i >= 0;
}

static bool lru(ref_policy *r, uint64_t page) {
  bool hit = take(&r->a, page);
  if (!hit && r->a.count == r->capacity) (void)take_oldest(&r->a);
  append(&r->a, page, 0);
  return hit;
}

static bool clock(ref_policy *r, uint64_t page) {
  int i = find(&r->a, page);
  if (i >= 0) {
    r->a.at[i].mark = 1;
    return true;
  }
  if (r->a.count < r->capacity) {
    append(&r->a, page, 0);
    return false;
  }
  /* The face stands still and the hand moves: the newcomer takes the victim's place. */
  while (r->a.at[r->hand].mark != 0) {
    r->a.at[r->hand].mark = 0;
    r->hand = (r->hand + 1) % r->capacity;
  }
  r->a.at[r->hand].page = page;
  r->hand = (r->hand + 1) % r->capacity;
  return false;
}

static bool sieve(ref_policy *r, uint64_t page) {
  int i = find(&r->a, page);
  if (i >= 0) {
    r->a.at[i].mark = 1;
    return true;
  }
  if (r->a.count == r->capacity) {
    if (r->hand >= r->a.count) r->hand = 0;
    while (r->a.at[r->hand].mark != 0) {
      r->a.at[r->hand].mark = 0;
      r->hand = (r->hand + 1) % r->a.count;
    }
    bool newest = r->hand == r->a.count - 1;
    delete_at(&r->a, r->hand); /* the hand now is at the next newer one */
    if (newest) r->hand = 0;
  }
  append(&r->a, page, 0);
  return false;
}

/* a: A1in, b: Am, ghost_a: A1out. */
static bool two_q(ref_policy *r, uint64_t page) {
  if (find(&r->a, page) >= 0) return true;
  if (take(&r->b, page)) {
    append(&r->b, page, 0);
    return true;
  }
  if (r->a.count + r->b.count == r->capacity) {
    if (r->a.count > r->capacity / 4 || r->b.count == 0) {
      append(&r->ghost_a, take_oldest(&r->a), 0);
      if (r->ghost_a.count > r->capacity / 2) (void)take_oldest(&r->ghost_a);
    } else {
      (void)take_oldest(&r->b);
    }
  }
  append(take(&r->ghost_a, page) ? &r->b : &r->a, page, 0);
  return false;
}

static int history_of(ref_policy *r, uint64_t page) {
  for (int i = 0; i < r->history_count; i++) {
    if (r->history[i].page == page) return i;
  }
  return -1;
}

static void history_forget(ref_policy *r, uint64_t page) {
  r->history[history_of(r, page)] = r->history[r->history_count - 1];
  r->history_count--;
}

/* a: pages; ghost_a: evicted ones with history, in order of eviction. */
static bool lru_2(ref_policy *r, uint64_t page) {
  bool hit = find(&r->a, page) >= 0;
  if (!hit) {
    if (r->a.count == r->capacity) {
      int victim = 0;
      for (int i = 1; i < r->a.count; i++) {
        int x = history_of(r, r->a.at[i].page), v = history_of(r, r->a.at[victim].page);
        uint64_t xb = r->history[x].before, vb = r->history[v].before;
        if (xb < vb || (xb == vb && r->history[x].last < r->history[v].last)) victim = i;
      }
      append(&r->ghost_a, r->a.at[victim].page, 0);
      delete_at(&r->a, victim);
      if (r->ghost_a.count > r->capacity) history_forget(r, take_oldest(&r->ghost_a));
    }
    append(&r->a, page, 0);
    if (!take(&r->ghost_a, page)) {
      r->history[r->history_count].page = page;
      r->history[r->history_count].last = 0;
      r->history_count++;
    }
  }
  int h = history_of(r, page);
  r->history[h].before = r->history[h].last;
  r->history[h].last = ++r->now;
  return hit;
}

/* a: the stack S, [count - 1] its top; marks below. b: Q. ghost_a: ghosts in S, in order of eviction. */
enum { LOW = 1, HIGH, GONE };

static void lirs_prune(ref_policy *r) {
  while (r->a.count > 0 && r->a.at[0].mark != LOW) {
    if (r->a.at[0].mark == GONE) (void)take(&r->ghost_a, r->a.at[0].page);
    delete_at(&r->a, 0);
  }
}

static void lirs_demote(ref_policy *r) {
  int high = r->capacity / 100 > 0 ? r->capacity / 100 : 1, low = 0;
  for (int i = 0; i < r->a.count; i++) low += r->a.at[i].mark == LOW;
  if (low <= r->capacity - high) return;
  append(&r->b, take_oldest(&r->a), 0);
  lirs_prune(r);
}

static bool lirs(ref_policy *r, uint64_t page) {
  int high = r->capacity / 100 > 0 ? r->capacity / 100 : 1, low = 0;
  for (int i = 0; i < r->a.count; i++) low += r->a.at[i].mark == LOW;
  int s = find(&r->a, page);
  int what = s >= 0 ? r->a.at[s].mark : 0;
  bool queued = find(&r->b, page) >= 0, hit = what == LOW || queued;
  if (!hit && low + r->b.count == r->capacity) {
    uint64_t victim = r->b.count > 0 ? take_oldest(&r->b) : take_oldest(&r->a);
    int v = find(&r->a, victim);
    if (v >= 0) {
      r->a.at[v].mark = GONE;
      append(&r->ghost_a, victim, 0);
      if (r->ghost_a.count > 2 * r->capacity) (void)take(&r->a, take_oldest(&r->ghost_a));
    }
    lirs_prune(r);
    s = find(&r->a, page); /* its own ghost may just have been forgotten */
    what = s >= 0 ? r->a.at[s].mark : 0;
  }
  if (s >= 0) delete_at(&r->a, s);
  if (what == GONE) (void)take(&r->ghost_a, page);
  if (what == LOW) {
    append(&r->a, page, LOW);
  } else if (s >= 0) { /* a HIR page of the stack, here or gone: changes places with the bottom */
    (void)take(&r->b, page);
    append(&r->a, page, LOW);
    lirs_demote(r);
  } else if (!hit && low < r->capacity - high) {
    append(&r->a, page, LOW);
  } else {
    (void)take(&r->b, page);
    append(&r->b, page, 0);
    append(&r->a, page, HIGH);
  }
  lirs_prune(r);
  return hit;
}

/* a: T1, b: T2, ghost_a: B1, ghost_b: B2. */
static void arc_replace(ref_policy *r, bool in_b2) {
  if (r->a.count + r->b.count < r->capacity) return;
  if (r->a.count > 0 && (r->a.count > r->p || (in_b2 && r->a.count == r->p))) {
    append(&r->ghost_a, take_oldest(&r->a), 0);
  } else {
    append(&r->ghost_b, take_oldest(&r->b), 0);
  }
}

static bool arc(ref_policy *r, uint64_t page) {
  int c = r->capacity;
  if (take(&r->a, page) || take(&r->b, page)) {
    append(&r->b, page, 0);
    return true;
  }
  if (find(&r->ghost_a, page) >= 0) {
    int step = r->ghost_a.count >= r->ghost_b.count ? 1 : r->ghost_b.count / r->ghost_a.count;
    r->p = r->p + step < c ? r->p + step : c;
    arc_replace(r, false);
    (void)take(&r->ghost_a, page);
    append(&r->b, page, 0);
    return false;
  }
  if (find(&r->ghost_b, page) >= 0) {
    int step = r->ghost_b.count >= r->ghost_a.count ? 1 : r->ghost_a.count / r->ghost_b.count;
    r->p = r->p > step ? r->p - step : 0;
    arc_replace(r, true);
    (void)take(&r->ghost_b, page);
    append(&r->b, page, 0);
    return false;
  }
  int l1 = r->a.count + r->ghost_a.count, all = l1 + r->b.count + r->ghost_b.count;
  if (l1 == c) {
    if (r->a.count < c) {
      (void)take_oldest(&r->ghost_a);
      arc_replace(r, false);
    } else {
      (void)take_oldest(&r->a);
    }
  } else if (all >= c) {
    if (all == 2 * c) (void)take_oldest(&r->ghost_b);
    arc_replace(r, false);
  }
  append(&r->a, page, 0);
  return false;
}

/* a: small, b: main, ghost_a: ghosts. */
static bool s3_evict(ref_policy *r) {
  if (r->a.count > 0 && (r->a.count >= r->capacity / 10 || r->b.count == 0)) {
    int heat = r->a.at[0].mark;
    uint64_t page = take_oldest(&r->a);
    if (heat > 1) {
      append(&r->b, page, 0);
      return false;
    }
    append(&r->ghost_a, page, 0);
    if (r->ghost_a.count > r->capacity - r->capacity / 10) (void)take_oldest(&r->ghost_a);
    return true;
  }
  int heat = r->b.at[0].mark;
  uint64_t page = take_oldest(&r->b);
  if (heat > 0) append(&r->b, page, heat - 1);
  return heat == 0;
}

static bool s3_fifo(ref_policy *r, uint64_t page) {
  ref_list *lists[] = {&r->a, &r->b};
  for (int l = 0; l < 2; l++) {
    int i = find(lists[l], page);
    if (i < 0) continue;
    if (lists[l]->at[i].mark < 3) lists[l]->at[i].mark++;
    return true;
  }
  while (r->a.count + r->b.count >= r->capacity) (void)s3_evict(r);
  append(take(&r->ghost_a, page) ? &r->b : &r->a, page, 0);
  return false;
}

void ref_init(ref_policy *r, kl_policy_kind kind, int capacity) {
  memset(r, 0, sizeof *r);
  r->kind = kind;
  r->capacity = capacity;
}

bool ref_access(ref_policy *r, uint64_t page) {
  static bool (*const simulators[KL_POLICY_KINDS])(ref_policy *, uint64_t) = {
      [KL_POLICY_S3_FIFO] = s3_fifo, [KL_POLICY_SIEVE] = sieve, [KL_POLICY_CLOCK] = clock, [KL_POLICY_LRU] = lru,
      [KL_POLICY_2Q] = two_q,        [KL_POLICY_LRU_K] = lru_2, [KL_POLICY_LIRS] = lirs,   [KL_POLICY_ARC] = arc};
  return simulators[r->kind](r, page);
}

bool ref_holds(const ref_policy *r, uint64_t page) {
  int i = find(&r->a, page);
  if (r->kind == KL_POLICY_LIRS) return (i >= 0 && r->a.at[i].mark == LOW) || find(&r->b, page) >= 0;
  return i >= 0 || find(&r->b, page) >= 0;
}
