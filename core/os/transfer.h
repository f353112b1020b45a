/* core/os/transfer.h: whole reads and writes out of system calls that may stop early. For implementations only.
 *
 * A system call moves less than asked when a signal comes, at end of file, near the end of space, or because it wants
 * to. The loops that go on live here once; posix/ runs them over pread and pwritev, sim/ over its virtual calls, which
 * stop early when a fault says so. Thus the loop that is tested with faults is the loop that is shipped.
 *
 * Thread rules: no state; any thread. */
#ifndef KL_OS_TRANSFER_H
#define KL_OS_TRANSFER_H

#include <stddef.h>
#include <stdint.h>

#include "../base/slice.h"
#include "../base/status.h"

/* One system call: bytes moved (0 from a read: end of file), or a negative errno. */
typedef int64_t (*kl_raw_read)(void *context, void *buffer, size_t size, uint64_t offset);
typedef int64_t (*kl_raw_write)(void *context, const kl_slice *parts, size_t count, uint64_t offset);

enum { KL_TRANSFER_PARTS = 64 }; /* at most so many parts reach one kl_raw_write */

/* As kl_os_read and kl_os_write say. `path` is for messages. EINTR is restarted. A write call that moves nothing is
 * an error (EIO), for going on could take for ever. Offsets past INT64_MAX give KL_E_INVALID. */
kl_status kl_transfer_read(kl_raw_read raw, void *context, const char *path, void *buffer, size_t size, uint64_t offset,
                           size_t *out_read, kl_error *err);
kl_status kl_transfer_write(kl_raw_write raw, void *context, const char *path, const kl_slice *parts, size_t count,
                            uint64_t offset, kl_error *err);

#endif
