/* core/os/transfer.c: see transfer.h. */
#include "transfer.h"

#include <errno.h>

#include "checks.h"
#include "error.h"

/* Linux moves at most 0x7ffff000 bytes a call; asking for no more keeps every count inside of 32 bits elsewhere too. */
#define TRANSFER_CALL_MAX ((size_t)1 << 30)

kl_status kl_transfer_read(kl_raw_read raw, void *context, const char *path, void *buffer, size_t size, uint64_t offset,
                           size_t *out_read, kl_error *err) {
  size_t done = 0;
  kl_status status = kl_check_range(path, offset, size, err);
  *out_read = 0;
  if (status != KL_OK) return status;
  while (done < size) {
    size_t ask = size - done < TRANSFER_CALL_MAX ? size - done : TRANSFER_CALL_MAX;
    int64_t moved = raw(context, (unsigned char *)buffer + done, ask, offset + done);
    if (moved == -EINTR) continue;
    if (moved < 0) {
      return kl_os_fail(err, (int)-moved, path, "cannot read %zu bytes at offset %llu of", size - done,
                        (unsigned long long)(offset + done));
    }
    if (moved == 0) break;
    done += (size_t)moved;
  }
  *out_read = done;
  return KL_OK;
}

/* The parts that are still to be written: `skip` bytes of the first one are done. */
typedef struct transfer_rest {
  const kl_slice *parts;
  size_t count, skip;
} transfer_rest;

static void transfer_advance(transfer_rest *rest, size_t moved) {
  rest->skip += moved;
  while (rest->count > 0 && rest->skip >= rest->parts->size) {
    rest->skip -= rest->parts->size;
    rest->parts++;
    rest->count--;
  }
}

/* Fills `window` with what the next call shall write; returns the number of parts, *out_size their bytes. */
static size_t transfer_window(const transfer_rest *rest, kl_slice *window, size_t *out_size) {
  size_t used = 0, skip = rest->skip, size = 0;
  for (size_t i = 0; i < rest->count && used < KL_TRANSFER_PARTS && size < TRANSFER_CALL_MAX; i++) {
    size_t left = rest->parts[i].size - skip;
    if (left > TRANSFER_CALL_MAX - size) left = TRANSFER_CALL_MAX - size;
    if (left > 0) window[used++] = kl_slice_make((const unsigned char *)rest->parts[i].data + skip, left);
    size += left;
    skip = 0;
  }
  *out_size = size;
  return used;
}

kl_status kl_transfer_write(kl_raw_write raw, void *context, const char *path, const kl_slice *parts, size_t count,
                            uint64_t offset, kl_error *err) {
  transfer_rest rest = {parts, count, 0};
  uint64_t total = 0;
  for (size_t i = 0; i < count; i++) {
    if (parts[i].size > INT64_MAX || total > INT64_MAX) return kl_check_range(path, offset, UINT64_MAX, err);
    total += parts[i].size;
  }
  kl_status status = kl_check_range(path, offset, total, err);
  if (status != KL_OK) return status;
  for (transfer_advance(&rest, 0); rest.count > 0;) {
    kl_slice window[KL_TRANSFER_PARTS];
    size_t size;
    size_t used = transfer_window(&rest, window, &size);
    int64_t moved = raw(context, window, used, offset);
    if (moved == -EINTR) continue;
    if (moved <= 0) {
      return kl_os_fail(err, moved == 0 ? EIO : (int)-moved, path, "cannot write %zu bytes at offset %llu of", size,
                        (unsigned long long)offset);
    }
    offset += (uint64_t)moved;
    transfer_advance(&rest, (size_t)moved);
  }
  return KL_OK;
}
