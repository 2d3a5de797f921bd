/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * A growing text buffer for answers and metrics. A failed allocation is sticky:
 * later appends do nothing and `failed` tells at the end, so that the writers
 * need no error path of their own. Pure.
 */
#ifndef GATE25_BUF_H
#define GATE25_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct gate_buf {
	char *data;
	size_t len, size;
	bool failed;
	bool brief; /* JSON: members that are null or false are left out */
};

/* Digits of the longest integer that gate_buf_format_u64() writes. */
#define GATE_U64_DIGITS 20

void gate_buf_free(struct gate_buf *b);
/* Takes memory for n more bytes; NULL when it is short, else where they go. */
char *gate_buf_grow(struct gate_buf *b, size_t n);
/* Gives the bytes to the caller, who frees them; the buffer is empty afterwards. */
char *gate_buf_steal(struct gate_buf *b, size_t *len);

void gate_buf_u64(struct gate_buf *b, uint64_t v);
void gate_buf_i64(struct gate_buf *b, int64_t v);
void gate_buf_printf(struct gate_buf *b, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* The inside of a JSON string; what is no UTF-8 becomes U+FFFD. */
void gate_buf_json(struct gate_buf *b, const char *s);
/* The inside of a Prometheus label value (or HELP text); what is no UTF-8 becomes U+FFFD. */
void gate_buf_label(struct gate_buf *b, const char *s);

/* Length of the UTF-8 sequence at s (RFC 3629), 0 = none. Stops at the NUL. */
size_t gate_utf8_length(const char *s);
/* Writes the decimal form at `p`, which has room for GATE_U64_DIGITS; returns its end. */
char *gate_buf_format_u64(char *p, uint64_t v);

/* Makes room for n more bytes; NULL when memory is short, else where they go. */
static inline char *gate_buf_room(struct gate_buf *b, size_t n)
{
	return b->size - b->len >= n && !b->failed ? b->data + b->len : gate_buf_grow(b, n);
}

static inline void gate_buf_add(struct gate_buf *b, const char *s, size_t n)
{
	char *p = gate_buf_room(b, n);

	if (!p)
		return;
	memcpy(p, s, n);
	b->len += n;
}

static inline void gate_buf_puts(struct gate_buf *b, const char *s)
{
	gate_buf_add(b, s, strlen(s));
}

static inline void gate_buf_putc(struct gate_buf *b, char c)
{
	gate_buf_add(b, &c, 1);
}

static inline void gate_buf_freep(struct gate_buf *b)
{
	gate_buf_free(b);
}
#define _cleanup_buf_ __attribute__((cleanup(gate_buf_freep)))

#endif
