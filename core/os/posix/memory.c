/* core/os/posix/memory.c: address space and anonymous memory. See os.h. */
#include <errno.h>
#include <sys/mman.h>

#include "../../base/assert.h"
#include "posix_private.h"

static kl_status posix_memory_refused(int system_errno, const char *what, uint64_t size, kl_error *err) {
  return kl_fail_errno(err, KL_E_NO_MEMORY, system_errno,
                       "%s of %llu bytes is refused; free some memory or raise the limit", what,
                       (unsigned long long)size);
}

kl_status kl_posix_map(kl_os *os, uint64_t size, void **out_memory, kl_error *err) {
  (void)os;
  KL_ASSERT(size > 0 && size % KL_MEMORY_PAGE == 0);
  if (size > SIZE_MAX - KL_MEMORY_HUGE) return posix_memory_refused(ENOMEM, "address space", size, err);
  /* No access: nothing is charged to the system's commit limit yet, and a stray access is a fault. */
  size_t taken = (size_t)size + KL_MEMORY_HUGE;
  unsigned char *memory = mmap(NULL, taken, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return posix_memory_refused(errno, "address space", size, err);
  /* Huge pages need their alignment, which mmap does not promise: take more and give the edges back. */
  size_t before = (size_t)(-(uintptr_t)memory & (KL_MEMORY_HUGE - 1));
  if (before != 0) (void)munmap(memory, before);
  (void)munmap(memory + before + size, KL_MEMORY_HUGE - before);
  *out_memory = memory + before;
  return KL_OK;
}

void kl_posix_unmap(kl_os *os, void *memory, uint64_t size) {
  (void)os;
  if (memory != NULL) (void)munmap(memory, (size_t)size);
}

kl_status kl_posix_commit(kl_os *os, void *memory, uint64_t size, bool huge, kl_error *err) {
  (void)os;
  KL_ASSERT((uintptr_t)memory % KL_MEMORY_PAGE == 0 && size % KL_MEMORY_PAGE == 0);
  if (mprotect(memory, (size_t)size, PROT_READ | PROT_WRITE) != 0) {
    return posix_memory_refused(errno, "memory", size, err);
  }
  /* Advice: a kernel without huge pages refuses it, and small ones do. */
#ifdef MADV_HUGEPAGE
  (void)madvise(memory, (size_t)size, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
#else
  (void)huge;
#endif
  return KL_OK;
}

void kl_posix_release(kl_os *os, void *memory, uint64_t size) {
  (void)os;
  KL_ASSERT((uintptr_t)memory % KL_MEMORY_PAGE == 0 && size % KL_MEMORY_PAGE == 0);
  /* On Linux the pages go at once and zeros take their place. It can fail for locked memory only (mlockall), which the
   * host wants to stay resident: then the bytes are cleared, to keep the promise of zeros. */
  if (madvise(memory, (size_t)size, MADV_DONTNEED) == 0) return;
  unsigned char *bytes = memory;
  for (uint64_t i = 0; i < size; i++) bytes[i] = 0;
}
