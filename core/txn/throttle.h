/* core/txn/throttle.h: slows committers down, smoothly, as more waits to be drained than should. Private to core/txn.
 *
 * Up to `delta_size` bytes in the active delta nobody waits. Above, committers together get the rate at which the last
 * drain went, times (1 - p) / p, where p grows from 0 to 1 on the way from delta_size to the limit: so the more has piled up the
 * slower it grows, and it settles where writing is as fast as draining. At the limit a committer waits until a drain
 * ends, and gets KL_E_LIMIT only when drains fail, or when what it commits is more than would ever fit.
 *
 * The rate is kept by one number, the time at which the next byte may come (a leaky bucket as meter, as in ITU-T I.371's
 * generic cell rate algorithm): who commits moves it on by bytes / rate and sleeps until then, if that is worth a sleep.
 *
 * Thread rules: any thread; bytes are added under the commit turn. */
#ifndef KL_TXN_THROTTLE_H
#define KL_TXN_THROTTLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "../base/status.h"
#include "../os/os.h"
#include "../os/thread.h"

typedef struct kl_throttle {
  kl_os *os;
  uint64_t soft, hard;                          /* bytes; soft 0: there is no drain, nobody is slowed */
  _Alignas(64) _Atomic uint64_t active, frozen; /* bytes that commits brought, as they estimate them */
  _Atomic uint64_t next_ns;                     /* when the next byte may come */
  _Atomic uint64_t rate;                        /* bytes per second of the last drain; 0: not known yet */
  _Atomic bool asked;                           /* a drain has been asked for since the last freeze */
  _Atomic uint64_t throttled_ns, waits;
  _Atomic uint64_t drains; /* that have ended, well or not; changed under the mutex */
  kl_mutex mutex;          /* guards what follows */
  kl_cond changed;
  bool failing;    /* the last one failed */
  kl_error reason; /* why */
} kl_throttle;

kl_status kl_throttle_init(kl_throttle *throttle, kl_os *os, uint64_t soft, uint64_t hard, kl_error *err);
void kl_throttle_destroy(kl_throttle *throttle);

/* Before a commit of about `bytes`: sleeps as told above. False: the limit is reached, and the commit has to wait until
 * a drain has ended; the caller asks for one, because those who could have are waiting, too. */
bool kl_throttle_enter(kl_throttle *throttle, uint64_t bytes);
/* How long after the one before it a commit of `bytes` may come, with so much active (more than `soft`) and so much in
 * all. */
uint64_t kl_throttle_gap_ns(const kl_throttle *throttle, uint64_t active, uint64_t used, uint64_t bytes);
/* Under the turn: the commit goes into the active delta. */
void kl_throttle_add(kl_throttle *throttle, uint64_t bytes);
/* After a commit, without any lock: should a drain begin, and was it not asked for yet? */
bool kl_throttle_wants_drain(kl_throttle *throttle);
/* Under the turn: what was active is frozen. */
void kl_throttle_freeze(kl_throttle *throttle);
/* There was nothing to drain; counts as a drain that went well, for those who wait. */
void kl_throttle_idle(kl_throttle *throttle);
/* How many drains have ended, well or not. */
uint64_t kl_throttle_drains(const kl_throttle *throttle);
/* Waits until one more has ended than `seen`. KL_E_LIMIT: it has failed; err says why. */
kl_status kl_throttle_wait_drain(kl_throttle *throttle, uint64_t seen, kl_error *err);
/* The frozen bytes are drained, which took so long; or, with a reason, they are not. */
void kl_throttle_drained(kl_throttle *throttle, uint64_t took_ns, const kl_error *reason);

#endif
