/* core/base/show.h: bytes as text, for messages. */
#ifndef KL_BASE_SHOW_H
#define KL_BASE_SHOW_H

#include <stddef.h>

#include "slice.h"

/* Room for the first `bytes` bytes of a key as kl_show_bytes writes them, with the terminator. */
#define KL_SHOW_SIZE(bytes) (4 * (bytes) + 6)

/* At most the first `most` bytes in quotes; what is not a printable character of ASCII as \xNN; "..." where there is
 * more. `out` has KL_SHOW_SIZE(most) bytes. Any thread. */
void kl_show_bytes(kl_slice bytes, size_t most, char *out);

#endif
