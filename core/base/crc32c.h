/* core/base/crc32c.h: CRC-32C (Castagnoli, polynomial 0x1EDC6F41, reflected; RFC 3720 appendix B.4).
 *
 * Uses the CPU's instruction (SSE4.2, ARMv8 CRC) when present at run time, a table otherwise; both give the same
 * result and both are tested against the RFC's vectors. Any thread. */
#ifndef KL_BASE_CRC32C_H
#define KL_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Continues `crc` (0 to start) over `size` bytes: crc(crc(0, a), b) == crc(0, ab). */
uint32_t kl_crc32c(uint32_t crc, const void *data, size_t size);
uint32_t kl_crc32c_portable(uint32_t crc, const void *data, size_t size);
int kl_crc32c_is_hardware(void);

#endif
