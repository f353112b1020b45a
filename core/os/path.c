/* core/os/path.c: see path.h. */
#include "path.h"

#include <string.h>

const char *kl_path_shown(const char *path, char *out) {
  size_t size = strlen(path);
  if (size < KL_PATH_SHOWN) return memcpy(out, path, size + 1);
  const char *tail = path + size - (KL_PATH_SHOWN - 4);
  while (((unsigned char)*tail & 0xC0) == 0x80) tail++; /* a continuation byte starts no character */
  memcpy(out, "...", 3);
  memcpy(out + 3, tail, strlen(tail) + 1);
  return out;
}

size_t kl_path_directory_size(const char *path) {
  const char *slash = strrchr(path, '/');
  if (slash == NULL) return 0;
  while (slash > path && slash[-1] == '/') slash--;
  return slash == path ? 1 : (size_t)(slash - path);
}
