// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define BUF_FIRST_SIZE 512

void gate_buf_free(struct gate_buf *b)
{
	free(b->data);
	*b = (struct gate_buf){ 0 };
}

char *gate_buf_grow(struct gate_buf *b, size_t n)
{
	size_t size = b->size ? b->size : BUF_FIRST_SIZE;
	char *data;

	if (b->failed)
		return NULL;
	while (size - b->len < n)
		size *= 2;
	data = realloc(b->data, size);
	if (!data) {
		b->failed = true;
		return NULL;
	}
	b->data = data;
	b->size = size;
	return data + b->len;
}

char *gate_buf_steal(struct gate_buf *b, size_t *len)
{
	char *data = b->data;

	*len = b->len;
	*b = (struct gate_buf){ 0 };
	return data;
}

static unsigned digits_of(uint64_t v)
{
	unsigned n = 1;

	for (; v >= 10000; v /= 10000)
		n += 4;
	return n + (v >= 10) + (v >= 100) + (v >= 1000);
}

/* Two digits at a time, from the end: half the divisions. */
char *gate_buf_format_u64(char *p, uint64_t v)
{
	static const char pairs[] = "00010203040506070809101112131415161718192021222324"
				    "25262728293031323334353637383940414243444546474849"
				    "50515253545556575859606162636465666768697071727374"
				    "75767778798081828384858687888990919293949596979899";
	char *end = p + digits_of(v), *at = end;

	for (; v >= 100; v /= 100)
		at = memcpy(at - 2, &pairs[2 * (v % 100)], 2);
	if (v >= 10)
		memcpy(p, &pairs[2 * v], 2);
	else
		*p = (char)('0' + v);
	return end;
}

void gate_buf_u64(struct gate_buf *b, uint64_t v)
{
	char *p = gate_buf_room(b, GATE_U64_DIGITS);

	if (p)
		b->len += gate_buf_format_u64(p, v) - p;
}

void gate_buf_i64(struct gate_buf *b, int64_t v)
{
	if (v < 0)
		gate_buf_putc(b, '-');
	gate_buf_u64(b, v < 0 ? -(uint64_t)v : (uint64_t)v);
}

void gate_buf_printf(struct gate_buf *b, const char *fmt, ...)
{
	va_list ap;
	char *p;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	p = n < 0 ? NULL : gate_buf_room(b, (size_t)n + 1);
	if (!p)
		return;
	va_start(ap, fmt);
	vsnprintf(p, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->len += n;
}

size_t gate_utf8_length(const char *text)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t n, i;

	if (s[0] < 0x80)
		return 1;
	if (s[0] < 0xc2 || s[0] > 0xf4)
		return 0;
	n = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
	for (i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	/* overlong forms, surrogates, beyond U+10FFFF */
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
	    (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return n;
}

static void escape_json(struct gate_buf *b, unsigned char c)
{
	switch (c) {
	case '"':
	case '\\':
		gate_buf_putc(b, '\\');
		gate_buf_putc(b, c);
		break;
	case '\n':
		gate_buf_puts(b, "\\n");
		break;
	case '\t':
		gate_buf_puts(b, "\\t");
		break;
	default:
		gate_buf_printf(b, "\\u%04x", c);
	}
}

static void escape_label(struct gate_buf *b, unsigned char c)
{
	if (c == '\n') {
		gate_buf_puts(b, "\\n");
		return;
	}
	if (c == '"' || c == '\\')
		gate_buf_putc(b, '\\');
	gate_buf_putc(b, c);
}

static void escape(struct gate_buf *b, const char *text,
		   void (*special)(struct gate_buf *, unsigned char))
{
	/* printable ASCII but for the two that are escaped */
	static const bool as_it_is[256] = { [0x20 ... '"' - 1] = true,
					    ['"' + 1 ... '\\' - 1] = true,
					    ['\\' + 1 ... 0x7e] = true };
	const unsigned char *s = (const unsigned char *)text;
	const unsigned char *plain = s;
	size_t n;

	for (;;) {
		while (as_it_is[*s])
			s++;
		if (!*s)
			break;
		n = gate_utf8_length((const char *)s);
		if (n > 1) {
			s += n;
			continue;
		}
		gate_buf_add(b, (const char *)plain, s - plain);
		if (n)
			special(b, *s);
		else
			gate_buf_puts(b, "\xef\xbf\xbd");
		plain = ++s;
	}
	gate_buf_add(b, (const char *)plain, s - plain);
}

void gate_buf_json(struct gate_buf *b, const char *s)
{
	escape(b, s, escape_json);
}

void gate_buf_label(struct gate_buf *b, const char *s)
{
	escape(b, s, escape_label);
}
