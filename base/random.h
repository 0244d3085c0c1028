/* Bytes nobody can foretell, from the kernel, 4 KiB at a time: one system call serves a hundred short requests. */
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

/* Any thread.  Cannot fail: where the kernel has none yet it waits for it (at boot only). */
void random_bytes(void *p, size_t bytes);

/* Writes 2 * bytes lower-case hexadecimal digits, without a NUL. */
void hex_write(const uint8_t *p, size_t bytes, char *out);
/* Lower-case hexadecimal digits only, at least one. */
bool hex_is(struct span s);

#endif
