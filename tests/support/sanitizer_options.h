/* tests/support/sanitizer_options.h: called by the sanitizers' runtimes before main; the names are theirs. */
#ifndef KEEL_TESTS_SANITIZER_OPTIONS_H
#define KEEL_TESTS_SANITIZER_OPTIONS_H

__attribute__((visibility("default"))) const char *__asan_default_options(void);
__attribute__((visibility("default"))) const char *__tsan_default_options(void);
__attribute__((visibility("default"))) const char *__ubsan_default_options(void);

#endif
