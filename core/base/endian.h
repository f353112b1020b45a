/* core/base/endian.h: integers in byte buffers, at any alignment, whatever the order of the CPU.
 *
 * Files and the log are little-endian (_le). Big-endian (_be) serves integers inside keys, because their bytes then
 * sort as the numbers do. Compilers turn each of these into one load or store (and a swap). */
#ifndef KL_BASE_ENDIAN_H
#define KL_BASE_ENDIAN_H

#include <stdint.h>

static inline uint16_t kl_load_u16_le(const void *from) {
  const uint8_t *p = from;
  return (uint16_t)(p[0] | (uint16_t)(p[1] << 8));
}
static inline uint32_t kl_load_u32_le(const void *from) {
  const uint8_t *p = from;
  return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
static inline uint64_t kl_load_u64_le(const void *from) {
  const uint8_t *p = from;
  return (uint64_t)kl_load_u32_le(p) | (uint64_t)kl_load_u32_le(p + 4) << 32;
}
static inline uint16_t kl_load_u16_be(const void *from) {
  const uint8_t *p = from;
  return (uint16_t)((uint16_t)(p[0] << 8) | p[1]);
}
static inline uint32_t kl_load_u32_be(const void *from) {
  const uint8_t *p = from;
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
}
static inline uint64_t kl_load_u64_be(const void *from) {
  const uint8_t *p = from;
  return (uint64_t)kl_load_u32_be(p) << 32 | (uint64_t)kl_load_u32_be(p + 4);
}

static inline void kl_store_u16_le(void *to, uint16_t value) {
  uint8_t *p = to;
  p[0] = (uint8_t)value;
  p[1] = (uint8_t)(value >> 8);
}
static inline void kl_store_u32_le(void *to, uint32_t value) {
  uint8_t *p = to;
  p[0] = (uint8_t)value;
  p[1] = (uint8_t)(value >> 8);
  p[2] = (uint8_t)(value >> 16);
  p[3] = (uint8_t)(value >> 24);
}
static inline void kl_store_u64_le(void *to, uint64_t value) {
  uint8_t *p = to;
  kl_store_u32_le(p, (uint32_t)value);
  kl_store_u32_le(p + 4, (uint32_t)(value >> 32));
}
static inline void kl_store_u16_be(void *to, uint16_t value) {
  uint8_t *p = to;
  p[0] = (uint8_t)(value >> 8);
  p[1] = (uint8_t)value;
}
static inline void kl_store_u32_be(void *to, uint32_t value) {
  uint8_t *p = to;
  p[0] = (uint8_t)(value >> 24);
  p[1] = (uint8_t)(value >> 16);
  p[2] = (uint8_t)(value >> 8);
  p[3] = (uint8_t)value;
}
static inline void kl_store_u64_be(void *to, uint64_t value) {
  uint8_t *p = to;
  kl_store_u32_be(p, (uint32_t)(value >> 32));
  kl_store_u32_be(p + 4, (uint32_t)value);
}

#endif
