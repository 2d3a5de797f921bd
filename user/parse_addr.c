// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Addresses and times of parse.h: what has a standard of its own to be read by. */
#include "parse.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define V4_BITS_BEFORE 96 /* of an IPv4-mapped address */

/* ---- MAC ---- */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int gate_parse_mac(const char *s, uint8_t mac[6])
{
	static const uint8_t none[6];
	uint8_t m[6];
	char separator = 0;

	for (int i = 0; i < 6; i++) {
		int high = hex_digit(s[0]);
		int low = high < 0 ? -1 : hex_digit(s[1]);

		if (low < 0)
			return -EINVAL;
		m[i] = (uint8_t)(high << 4 | low);
		s += 2;
		if (i == 5)
			break;
		if (i == 0 && (*s == ':' || *s == '-'))
			separator = *s;
		if (!separator || *s++ != separator)
			return -EINVAL;
	}
	/* A source can be neither a group address nor the null address. */
	if (*s || (m[0] & 1) || memcmp(m, none, sizeof(m)) == 0)
		return -EINVAL;
	memcpy(mac, m, sizeof(m));
	return 0;
}

char *gate_format_mac(const uint8_t mac[6], char *buf, size_t size)
{
	static const char digits[] = "0123456789abcdef";
	char text[6 * 3];

	for (unsigned i = 0; i < 6; i++) {
		text[3 * i] = digits[mac[i] >> 4];
		text[3 * i + 1] = digits[mac[i] & 15];
		text[3 * i + 2] = i < 5 ? ':' : '\0';
	}
	if (size < sizeof(text) && size)
		text[size - 1] = '\0';
	memcpy(buf, text, size < sizeof(text) ? size : sizeof(text));
	return buf;
}

/* ---- prefixes ---- */

static bool v4_mapped(const uint8_t addr[16])
{
	static const uint8_t head[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

	return memcmp(addr, head, sizeof(head)) == 0;
}

static bool host_bits_zero(const struct gate_prefix *p)
{
	for (unsigned bit = p->len; bit < 128; bit++) {
		if (p->addr[bit / 8] & (0x80 >> bit % 8))
			return false;
	}
	return true;
}

static int parse_address(const char *s, struct gate_prefix *p)
{
	if (inet_pton(AF_INET, s, p->addr + 12) == 1) {
		p->addr[10] = p->addr[11] = 0xff;
		p->v4 = true;
		return 0;
	}
	memset(p->addr, 0, sizeof(p->addr));
	return inet_pton(AF_INET6, s, p->addr) == 1 ? 0 : -EINVAL;
}

int gate_parse_prefix(const char *s, struct gate_prefix *out)
{
	const char *slash = strchr(s, '/');
	size_t len = slash ? (size_t)(slash - s) : strlen(s);
	char address[INET6_ADDRSTRLEN];
	struct gate_prefix p = { .len = 128 };

	if (len >= sizeof(address))
		return -EINVAL;
	memcpy(address, s, len);
	address[len] = '\0';
	if (parse_address(address, &p))
		return -EINVAL;
	if (slash) {
		uint32_t bits, base = p.v4 ? V4_BITS_BEFORE : 0;

		if (slash[1] == '0' && slash[2])
			return -EINVAL;
		if (gate_parse_u32(slash + 1, 0, 128 - base, &bits))
			return -EINVAL;
		p.len = (uint8_t)(base + bits);
	}
	if (!host_bits_zero(&p))
		return -EINVAL;
	/* "::ffff:192.0.2.1" is the IPv4 address, written another way. */
	p.v4 = v4_mapped(p.addr) && p.len >= V4_BITS_BEFORE;
	*out = p;
	return 0;
}

char *gate_format_prefix(const struct gate_prefix *p, char *buf, size_t size)
{
	char address[INET6_ADDRSTRLEN];
	unsigned bits = p->v4 ? p->len - V4_BITS_BEFORE : p->len;

	if (p->v4)
		inet_ntop(AF_INET, p->addr + 12, address, sizeof(address));
	else
		inet_ntop(AF_INET6, p->addr, address, sizeof(address));
	if (p->len == 128)
		snprintf(buf, size, "%s", address);
	else
		snprintf(buf, size, "%s/%u", address, bits);
	return buf;
}

bool gate_prefix_contains(const struct gate_prefix *outer, const struct gate_prefix *inner)
{
	struct gate_prefix cut = *inner;

	if (outer->v4 != inner->v4 || outer->len > inner->len)
		return false;
	for (unsigned bit = outer->len; bit < 128; bit++)
		cut.addr[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
	return memcmp(cut.addr, outer->addr, sizeof(cut.addr)) == 0;
}

/* ---- times ---- */

#define LAST_TIME_S 253402300799LL /* 9999-12-31T23:59:59Z */

/* Exactly n digits at *s, value within min..max. */
static int take_digits(const char **s, int n, int min, int max, int *out)
{
	int v = 0;

	for (int i = 0; i < n; i++, (*s)++) {
		if (**s < '0' || **s > '9')
			return -EINVAL;
		v = v * 10 + (**s - '0');
	}
	if (v < min || v > max)
		return -EINVAL;
	*out = v;
	return 0;
}

static int take_char(const char **s, const char *any_of)
{
	if (!**s || !strchr(any_of, **s))
		return -EINVAL;
	(*s)++;
	return 0;
}

static int days_in(int year, int month)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return month == 2 && leap ? 29 : days[month - 1];
}

static int take_date(const char **s, struct tm *tm)
{
	int year, month, day;

	if (take_digits(s, 4, 1970, 9999, &year) || take_char(s, "-") ||
	    take_digits(s, 2, 1, 12, &month) || take_char(s, "-") ||
	    take_digits(s, 2, 1, days_in(year, month), &day))
		return -EINVAL;
	tm->tm_year = year - 1900;
	tm->tm_mon = month - 1;
	tm->tm_mday = day;
	return 0;
}

static int take_clock(const char **s, struct tm *tm)
{
	/* 60 is a leap second (RFC 3339 5.7); it counts as the second after. */
	if (take_digits(s, 2, 0, 23, &tm->tm_hour) || take_char(s, ":") ||
	    take_digits(s, 2, 0, 59, &tm->tm_min) || take_char(s, ":") ||
	    take_digits(s, 2, 0, 60, &tm->tm_sec))
		return -EINVAL;
	if (**s != '.')
		return 0;
	(*s)++;
	if (take_char(s, "0123456789"))
		return -EINVAL;
	while (take_char(s, "0123456789") == 0)
		;
	return 0;
}

static int take_offset(const char **s, int *seconds)
{
	int sign = **s == '-' ? -1 : 1, hours, minutes;

	*seconds = 0;
	if (take_char(s, "Zz") == 0)
		return 0;
	if (take_char(s, "+-") || take_digits(s, 2, 0, 23, &hours) || take_char(s, ":") ||
	    take_digits(s, 2, 0, 59, &minutes))
		return -EINVAL;
	*seconds = sign * (hours * 3600 + minutes * 60);
	return 0;
}

int gate_parse_time(const char *s, int64_t *unix_s)
{
	struct tm tm = { 0 };
	int64_t t;
	int offset;

	if (take_date(&s, &tm) || take_char(&s, "Tt ") || take_clock(&s, &tm) ||
	    take_offset(&s, &offset) || *s)
		return -EINVAL;
	/* an offset may lead into the year 10000, which could not be read again */
	t = (int64_t)timegm(&tm) - offset;
	if (t > LAST_TIME_S)
		return -EINVAL;
	*unix_s = t;
	return 0;
}

char *gate_format_time(int64_t unix_s, char *buf, size_t size)
{
	time_t t = (time_t)unix_s;
	struct tm tm;

	if (!gmtime_r(&t, &tm) || !strftime(buf, size, "%Y-%m-%dT%H:%M:%SZ", &tm))
		snprintf(buf, size, "?");
	return buf;
}
