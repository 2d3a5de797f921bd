/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Words that people type and what they mean: rates, durations, times, MACs,
 * prefixes, subjects. Pure: no I/O, no allocation. Used by daemon, CLI and
 * configuration alike. All parsers return 0 or -EINVAL (or -ERANGE) and leave
 * their output unchanged on failure; all formatters return their buffer.
 */
#ifndef GATE25_PARSE_H
#define GATE25_PARSE_H

#include <gate25/abi.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* count flows per `per_s` seconds. "5/s", "60/min", "200/h", "1000/d"; "200/h:50"
 * gives this rate a burst of its own (0 = the policy's burst, or else count). */
struct gate_rate_spec {
	uint32_t count;
	uint32_t per_s; /* 1, 60, 3600, 86400 */
	uint32_t burst;
};

struct gate_prefix {
	uint8_t addr[16]; /* IPv4 as ::ffff:a.b.c.d, host bits zero */
	uint8_t len;	  /* 0..128, IPv4 /n as 96 + n */
	bool v4;
};

enum gate_subject_kind {
	GATE_S_DEFAULT,
	GATE_S_TENANT,
	GATE_S_VM,
	GATE_S_PORT,
	GATE_S_MAC,
	GATE_S_IP,
	GATE_S_WORD, /* bare: MAC, IP, VM or port name, in this order, by whoever knows them */
	GATE_S_MAX
};

struct gate_subject {
	enum gate_subject_kind kind;
	char name[GATE_NAME_LEN]; /* TENANT, VM, PORT, WORD */
	uint8_t mac[6];
	struct gate_prefix ip;
};

/* A token each microsecond at most, so that no interval rounds to 0 (= no limit). */
#define GATE_RATE_MAX_PER_S 1000000
/* (burst - 1) * interval of 1/d still fits 63 bits of nanoseconds. */
#define GATE_BURST_MAX	    100000
#define GATE_DURATION_MAX_S (100LL * 366 * 86400)

/* Decimal, within min..max: -EINVAL is no number, -ERANGE is out of bounds. */
int gate_parse_u32(const char *s, uint32_t min, uint32_t max, uint32_t *out);

int gate_parse_rate(const char *s, struct gate_rate_spec *out);
/* For rates from elsewhere (JSON): -EINVAL unknown `per_s`, -ERANGE impossible values. */
int gate_rate_check(const struct gate_rate_spec *r);
char *gate_format_rate(const struct gate_rate_spec *r, char *buf, size_t size); /* "200/h" */
/* "1s", "1min", "1h", "1d" as in JSON's "per"; also accepts "1m". */
int gate_parse_per(const char *s, uint32_t *seconds);
const char *gate_format_per(uint32_t seconds);

/* "90s", "15m", "24h", "30d", also "2w"; a bare number is refused. */
int gate_parse_duration(const char *s, int64_t *seconds);
char *gate_format_duration(int64_t seconds, char *buf,
			   size_t size); /* "29d 23h" at most two units */

/* RFC 3339, any offset; to Unix seconds. Formatter writes UTC with "Z". */
int gate_parse_time(const char *s, int64_t *unix_s);
char *gate_format_time(int64_t unix_s, char *buf, size_t size);

int gate_parse_mac(const char *s, uint8_t mac[6]); /* ':' or '-' separated; no multicast */
char *gate_format_mac(const uint8_t mac[6], char *buf, size_t size);
/* Address or prefix of either family; host bits must be zero. */
int gate_parse_prefix(const char *s, struct gate_prefix *out);
char *gate_format_prefix(const struct gate_prefix *p, char *buf,
			 size_t size); /* no "/32", "/128" */
bool gate_prefix_contains(const struct gate_prefix *outer, const struct gate_prefix *inner);

/* Names: 1..63 bytes of [A-Za-z0-9._-:@+], not starting with '-'. */
bool gate_name_valid(const char *s);
/*
 * May a line of the history hold it? Neither control characters (C0, DEL, C1) nor what
 * makes a terminal show text in another order or on another line (U+2028 to U+202E,
 * U+2066 to U+2069).
 */
bool gate_text_valid(const char *s);
/* The length of such a character at s, in bytes of UTF-8; 0 = another character. */
unsigned gate_text_control(const char *s);
/* "default", "kind:rest", or a bare word (MAC and IP recognised, else WORD). */
int gate_parse_subject(const char *s, struct gate_subject *out);
char *gate_format_subject(const struct gate_subject *s, char *buf, size_t size);
bool gate_subject_equal(const struct gate_subject *a, const struct gate_subject *b);

const char *gate_state_name(enum gate_state s); /* "inherit","allow","limit","block" */
int gate_parse_state(const char *s, enum gate_state *out);
const char *gate_refuse_name(enum gate_refuse r);
int gate_parse_refuse(const char *s, enum gate_refuse *out);
const char *gate_binding_name(enum gate_binding b);
int gate_parse_binding(const char *s, enum gate_binding *out);
const char *gate_reason_name(enum gate_reason r);
enum gate_verdict gate_reason_verdict(enum gate_reason r);
const char *gate_verdict_name(enum gate_verdict v);

#endif
