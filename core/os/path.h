/* core/os/path.h: the little that Keel needs to know about paths. Any thread. */
#ifndef KL_OS_PATH_H
#define KL_OS_PATH_H

#include <stddef.h>

enum { KL_PATH_SHOWN = 84 }; /* bytes that kl_path_shown needs, with its terminator */

/* The path as messages show it: whole when it is short, otherwise "..." and its end, which tells more than its start.
 * `out` has KL_PATH_SHOWN bytes; returns out. Never cuts inside of a UTF-8 character. */
const char *kl_path_shown(const char *path, char *out);

/* How many bytes of `path` name its directory, without the slashes at their end: 4 of "/a/b//c". 1 of "/c" (the
 * root), 0 of "c" (the working directory). */
size_t kl_path_directory_size(const char *path);

#endif
