/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Memory of the daemon. Running out of it ends the process: the gate stays in
 * the kernel as it is and the next start adopts it, while half a change in
 * memory would be neither the old policy nor the new one.
 */
#ifndef GATE25_MEM_H
#define GATE25_MEM_H

#include <stdlib.h>
#include <string.h>

static inline void *gate_alloc(size_t n, size_t size)
{
	void *p = calloc(n ? n : 1, size);

	if (!p)
		abort();
	return p;
}

static inline void *gate_realloc(void *old, size_t n, size_t size)
{
	void *p = reallocarray(old, n ? n : 1, size);

	if (!p)
		abort();
	return p;
}

/* A copy of n elements, NULL for none. */
static inline void *gate_copy(const void *src, size_t n, size_t size)
{
	return n ? memcpy(gate_alloc(n, size), src, n * size) : NULL;
}

static inline char *gate_strdup(const char *s)
{
	return gate_copy(s, strlen(s) + 1, 1);
}

#endif
