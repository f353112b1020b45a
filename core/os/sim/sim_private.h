/* core/os/sim/sim_private.h: the parts of the simulated machine.
 *
 *   sim.c          the machine as a whole: new, free, clone, restart, faults, operation numbers
 *   sim_os.c       the calls of the interface
 *   sim_machine.c  clock, random bytes, process, the allocator that counts and fails
 *   sim_names.c    directory entries: what a listing shows, what is durable, what is pending in between
 *   sim_node.c     the same three for the content of one file
 *   sim_settle.c   what a crash makes of the pending part
 *   sim_image.c    sparse, copy-on-write contents
 *
 * Its own memory comes from the C library's allocator, never from the one that fails on demand. A function that
 * answers bool answers false for "no memory" only; the machine is then exhausted: all its calls fail from then on.
 *
 * Thread rules: everything runs under the machine's mutex, except the allocator, which is atomics. Blocks and bytes are
 * shared between clones, which have a mutex each: so their reference counts are atomic, and shared ones are not
 * written. */
#ifndef KL_OS_SIM_PRIVATE_H
#define KL_OS_SIM_PRIVATE_H

#include <stdatomic.h>

#include "../../base/rng.h"
#include "../thread.h"
#include "sim.h"

enum { KL_SIM_BLOCK = 4096 };
#define KL_SIM_FILE_MAX (UINT64_C(1) << 34) /* larger files give EFBIG: block tables are flat */
#define KL_SIM_NONE UINT32_MAX              /* no node, no name */

/* ---- sim_image.c: bytes [0, size) of a file; what was never written reads as zeros. ---- */

typedef struct kl_sim_block kl_sim_block;
typedef struct kl_sim_image {
  kl_sim_block **blocks; /* NULL entries: holes, which have no space on the disk */
  size_t count;
  uint64_t size; /* writes do not move it; bytes beyond it can exist until kl_sim_image_cut */
} kl_sim_image;

size_t kl_sim_image_read(const kl_sim_image *image, uint64_t offset, void *out, size_t size);
bool kl_sim_image_write(kl_sim_image *image, uint64_t offset, const void *bytes, uint64_t size); /* NULL: zeros */
bool kl_sim_image_copy(kl_sim_image *to, const kl_sim_image *from, uint64_t offset, uint64_t size);
bool kl_sim_image_reserve(kl_sim_image *image, uint64_t offset, uint64_t size); /* holes there get space */
/* The first byte of [offset, end) that has no space; end when all have. */
uint64_t kl_sim_image_first_hole(const kl_sim_image *image, uint64_t offset, uint64_t end);
bool kl_sim_image_resize(kl_sim_image *image, uint64_t size); /* shrinking cuts */
bool kl_sim_image_cut(kl_sim_image *image);                   /* drops all beyond size */
bool kl_sim_image_clone(const kl_sim_image *from, kl_sim_image *to);
void kl_sim_image_free(kl_sim_image *image);

/* ---- sim_node.c: a file, whatever its name. ---- */

typedef struct kl_sim_bytes kl_sim_bytes; /* the bytes of a write, shared by the pieces that it is cut into */

typedef enum kl_sim_change_kind { KL_SIM_CHANGE_WRITE, KL_SIM_CHANGE_RESIZE } kl_sim_change_kind;

typedef struct kl_sim_change {
  kl_sim_change_kind kind;
  bool dropped;          /* a failed sync gave it up: no later sync stores it, a crash still may or may not */
  uint64_t operation;    /* that made it */
  uint64_t offset, size; /* write: its range. resize: the range that it reserves, if any */
  uint64_t new_size;     /* resize */
  kl_sim_bytes *bytes;   /* write: its bytes from `skip` on; NULL: zeros */
  size_t skip;
} kl_sim_change;

typedef struct kl_sim_changes {
  kl_sim_change *items; /* oldest first; a write that grows the file comes as resize, then write */
  size_t count, capacity;
} kl_sim_changes;

typedef struct kl_sim_node {
  kl_sim_image current; /* what reads see */
  kl_sim_image durable; /* what survives whatever happens */
  kl_sim_changes pending;
  uint64_t last_write; /* the operation of the youngest write, durable or not */
} kl_sim_node;

/* The first `limit` bytes of the parts. All-zero ones take no memory: *out is NULL then. */
bool kl_sim_bytes_new(const kl_slice *parts, size_t count, size_t limit, kl_sim_bytes **out);
const unsigned char *kl_sim_change_bytes(const kl_sim_change *change); /* NULL: zeros */

/* Takes over `bytes`, also when it fails. */
bool kl_sim_node_write(kl_sim_node *node, uint64_t operation, uint64_t offset, kl_sim_bytes *bytes, uint64_t size);
bool kl_sim_node_resize(kl_sim_node *node, uint64_t operation, uint64_t new_size);
bool kl_sim_node_allocate(kl_sim_node *node, uint64_t operation, uint64_t offset, uint64_t size);
bool kl_sim_node_sync(kl_sim_node *node, bool data_only);
/* Makes the bytes that reads see in the range durable, with the size that is needed to read them, and nothing else. */
bool kl_sim_node_sync_range(kl_sim_node *node, uint64_t offset, uint64_t size);
/* A sync of the range failed: gives up what the generator says, in pieces of `unit` bytes. */
bool kl_sim_node_sync_failed(kl_sim_node *node, uint64_t offset, uint64_t size, uint32_t unit, kl_rng *rng);
void kl_sim_node_forget_pending(kl_sim_node *node);
kl_sim_node *kl_sim_node_clone(const kl_sim_node *node);
void kl_sim_node_free(kl_sim_node *node);

/* ---- sim_names.c: directory entries. ---- */

typedef struct kl_sim_name { /* one for each path that was ever used */
  char *path;
  size_t path_size;          /* with the terminator */
  uint32_t current, durable; /* nodes, or KL_SIM_NONE */
  bool directory;
} kl_sim_name;

typedef struct kl_sim_entry_change { /* a rename has both names, a creation `to`, a removal `from` */
  uint64_t operation;
  uint32_t from, to; /* names, or KL_SIM_NONE */
  uint32_t node;
} kl_sim_entry_change;

typedef struct kl_sim_names {
  kl_sim_name *items;
  size_t count, capacity;
  kl_sim_entry_change *pending;
  size_t pending_count, pending_capacity;
} kl_sim_names;

uint32_t kl_sim_names_find(const kl_sim_names *names, const char *path); /* KL_SIM_NONE: never used */
bool kl_sim_names_intern(kl_sim_names *names, const char *path, uint32_t *out);
bool kl_sim_names_change(kl_sim_names *names, uint64_t operation, uint32_t from, uint32_t to, uint32_t node);
void kl_sim_names_apply(kl_sim_names *names, const kl_sim_entry_change *change); /* to what is durable */
void kl_sim_names_sync(kl_sim_names *names, const char *path);                   /* of the directory of `path` */
bool kl_sim_names_use(const kl_sim_names *names, uint32_t node);                 /* some name, some time, leads to it */
bool kl_sim_names_clone(const kl_sim_names *from, kl_sim_names *to);
void kl_sim_names_free(kl_sim_names *names);

/* ---- sim_settle.c ---- */

typedef enum kl_sim_settle_mode {
  KL_SIM_SETTLE_LOSE,   /* nothing that is pending survives */
  KL_SIM_SETTLE_KEEP,   /* all does */
  KL_SIM_SETTLE_BEFORE, /* what is older than the cut: a disk that stores in order */
  KL_SIM_SETTLE_AFTER,  /* what is younger than the cut: a disk that stores in the opposite order */
  KL_SIM_SETTLE_ANY     /* each unit for itself */
} kl_sim_settle_mode;

typedef struct kl_sim_plan {
  kl_sim_settle_mode mode;
  uint64_t cut;       /* an operation */
  uint32_t keep_of_8; /* how many of eight units survive with ANY */
  uint32_t unit;      /* bytes */
  bool garbage;
  kl_rng rng;
} kl_sim_plan;

void kl_sim_plan_init(kl_sim_plan *plan, const kl_sim *sim, uint64_t choice);
bool kl_sim_settle_node(kl_sim_node *node, kl_sim_plan *plan);
void kl_sim_settle_names(kl_sim_names *names, kl_sim_plan *plan);

/* ---- sim_machine.c ---- */

typedef struct kl_sim_allocator {
  kl_allocator face; /* first: the interface hands its address back */
  _Atomic uint64_t allocations, live_bytes;
  _Atomic uint64_t fail_at; /* the number of the allocation that fails; 0: none */
} kl_sim_allocator;

void kl_sim_machine_init(kl_sim *sim, uint64_t seed);
void kl_sim_machine_clone(const kl_sim *from, kl_sim *to);

/* ---- sim_os.c ---- */

void kl_sim_os_init(kl_os *os);

/* ---- sim.c ---- */

struct kl_sim {
  kl_os os; /* first: the interface hands its address back */
  kl_sim_allocator allocator;
  kl_mutex mutex; /* guards all below */

  kl_sim_names names;
  kl_sim_node **nodes; /* by number; NULL: gone, the number is not used again */
  size_t node_count, node_capacity;
  kl_file *files; /* open ones */

  uint64_t operations;
  kl_sim_fault fault;
  uint64_t fault_at;
  bool struck; /* the fault, one that lasts, has had an effect */
  bool crashed, full, exhausted;
  uint64_t boots; /* restarts so far */

  uint64_t seed;
  uint32_t tear_bytes;
  bool garbage;
  uint64_t clock_ns;
  kl_rng fault_rng;   /* how much of a failed write is stored, what a failed sync gives up ... */
  kl_rng program_rng; /* kl_os_random: its own, so that a fault does not change the program's identities */
};

struct kl_file {
  kl_sim *sim;
  kl_file *next, *previous;
  uint32_t node;
  uint64_t boot; /* of the machine when it was opened */
  uint32_t flags;
  bool locked;
  kl_lock_mode lock;
  size_t struct_size;
  char path[];
};

/* What shall happen to one call. */
typedef struct kl_sim_verdict {
  int error;       /* not 0: fails with it, without effect unless the call says otherwise */
  bool crash;      /* takes effect as something pending, then the power goes */
  bool sync_fails; /* the sync in it fails */
  bool short_call; /* the system call under it stops early */
} kl_sim_verdict;

typedef enum kl_sim_call {
  KL_SIM_CALL_QUERY,  /* reads no content and changes nothing */
  KL_SIM_CALL_READ,   /* content */
  KL_SIM_CALL_WRITE,  /* content */
  KL_SIM_CALL_CHANGE, /* anything else that is stored */
  KL_SIM_CALL_SYNC
} kl_sim_call;

/* Counts one operation, moves the clock, and says what the faults make of it. `syncs`: it syncs, alone or with a
 * write. */
kl_sim_verdict kl_sim_step(kl_sim *sim, kl_sim_call call, bool syncs);
void kl_sim_crash(kl_sim *sim);
/* For an internal allocation that failed: the machine is exhausted. Returns ENOMEM. */
int kl_sim_exhaust(kl_sim *sim);
bool kl_sim_node_new(kl_sim *sim, uint32_t *out_node);
void kl_sim_collect(kl_sim *sim); /* frees nodes that nothing leads to */

#endif
