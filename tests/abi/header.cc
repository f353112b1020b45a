// tests/abi/header.cc: keel.h as C++ sees it: every initialiser, every constant in a constant expression, linkage of C.
#include "capi/include/keel/keel.h"

static_assert(sizeof(keel_db) == 8, "handles are 64-bit integers");
static_assert(sizeof(keel_error) == 256, "code, errno and message");
static_assert(KEEL_E_NOT_FOUND < KEEL_OK, "errors are negative");

int main() {
  keel_options options = KEEL_OPTIONS_INIT;
  keel_keyspace_options keyspace_options = KEEL_KEYSPACE_OPTIONS_INIT;
  keel_txn_options txn_options = KEEL_TXN_OPTIONS_INIT;
  keel_cursor_options cursor_options = KEEL_CURSOR_OPTIONS_INIT;
  keel_checkpoint checkpoint = KEEL_CHECKPOINT_INIT;
  keel_stats stats = KEEL_STATS_INIT;
  keel_batch_view view = KEEL_BATCH_VIEW_INIT;
  switch (options.struct_size != 0 ? KEEL_OK : KEEL_E_INVALID) {
    case KEEL_OK:
      break;
    default:
      return 1;
  }
  keel_status (*open)(const char *, const keel_options *, keel_db *, keel_error *) = keel_open;
  keel_db db = 0;
  if (open(":memory:", &options, &db, nullptr) != KEEL_OK || keel_close(db, nullptr) != KEEL_OK) return 1;
  return keyspace_options.flags + txn_options.flags + cursor_options.flags + checkpoint.log_needed + stats.poisoned +
                     view.flags ==
                 0
             ? 0
             : 1;
}
