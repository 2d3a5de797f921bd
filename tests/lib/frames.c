// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Frames from words; see frames.h. Built from the last word to the first. */
#include "frames.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_WORDS 40

struct builder {
	uint8_t buf[2 * FRAME_MAX];
	int at;	  /* first byte built so far */
	int next; /* IP protocol of what lies behind, -1 = none */
	int type; /* ethertype of what lies behind */
	int type6, v6;
	const struct frame_spec *spec;
};

static uint8_t *push(struct builder *b, int n)
{
	b->at -= n;
	if (b->at < 0)
		abort();
	memset(b->buf + b->at, 0, n);
	return b->buf + b->at;
}

static int built(const struct builder *b)
{
	return (int)sizeof(b->buf) - b->at;
}

static void put16(uint8_t *p, uint16_t v)
{
	p[0] = v >> 8;
	p[1] = v;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v);
}

static int number(const char *args, const char *key, int otherwise)
{
	const char *p = args ? strstr(args, key) : NULL;

	return p ? (int)strtol(p + strlen(key), NULL, 0) : otherwise;
}

static uint16_t checksum(const uint8_t *p, int n)
{
	uint32_t sum = 0;

	for (int i = 0; i < n; i += 2)
		sum += p[i] << 8 | p[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

static void add_tcp(struct builder *b, const char *args)
{
	const struct frame_spec *s = b->spec;
	int only = args ? atoi(args) : 0;
	uint8_t tcp[20] = { 0 }, *p;

	put16(tcp, s->sport ? s->sport : 40000);
	put16(tcp + 2, s->dport ? s->dport : 25);
	put32(tcp + 4, s->seq ? s->seq : 1000);
	put32(tcp + 8, s->ack);
	tcp[12] = 5 << 4;
	tcp[13] = s->flags ? s->flags : 2;
	put16(tcp + 14, 64240);
	if (only) {
		memcpy(push(b, only), tcp, only);
	} else {
		p = push(b, 20 + s->payload);
		memcpy(p, tcp, 20);
		memset(p + 20, 'x', s->payload);
		if (s->text)
			memcpy(p + 20, s->text, s->payload);
	}
	b->next = 6;
}

static void add_ip4(struct builder *b, const char *args)
{
	int options = number(args, "o=", 0), total = built(b) + 20 + options;
	int offset = number(args, "f=", 0);
	uint8_t *p = push(b, 20 + options);

	if (args && strstr(args, "short"))
		total = 30;
	if (args && strstr(args, "long"))
		total += 100;
	memset(p + 20, 1, options);
	p[0] = number(args, "v=", 4) << 4 | number(args, "ihl=", 5 + options / 4);
	put16(p + 2, total);
	put16(p + 6, offset | (args && strstr(args, "mf") ? 0x2000 : 0));
	p[8] = 64;
	p[9] = b->next;
	put32(p + 12, 0x0a000000 | (b->spec->src ? b->spec->src : 1));
	put32(p + 16, 0x0a000000 | (b->spec->dst ? b->spec->dst : 2));
	put16(p + 10, checksum(p, 20 + options));
	b->type = 0x0800;
}

static void add_ip6(struct builder *b, const char *args)
{
	int payload = built(b);
	uint8_t *p = push(b, 40);

	if (args && strstr(args, "short"))
		payload = 10;
	if (args && strstr(args, "long"))
		payload += 100;
	p[0] = number(args, "v=", 6) << 4;
	put16(p + 4, payload);
	p[6] = b->next;
	p[7] = 64;
	put32(p + 8, 0x20010db8);
	put32(p + 20, b->spec->src ? b->spec->src : 1);
	put32(p + 24, 0x20010db8);
	put32(p + 36, b->spec->dst ? b->spec->dst : 2);
	b->type = 0x86dd;
}

/* Extension headers by name: their number and how many bytes. */
static bool add_extension(struct builder *b, const char *word)
{
	static const struct {
		const char *name;
		int number, bytes;
	} ext[] = {
		{ "hbh", 0, 8 },   { "rt", 43, 8 },   { "dst", 60, 8 },	  { "dst24", 60, 24 },
		{ "mob", 135, 8 }, { "hip", 139, 8 }, { "shim", 140, 8 }, { "ah", 51, 24 },
	};
	uint8_t *p;

	for (size_t i = 0; i < sizeof(ext) / sizeof(ext[0]); i++) {
		if (strcmp(word, ext[i].name))
			continue;
		p = push(b, ext[i].bytes);
		p[0] = b->next;
		p[1] = ext[i].number == 51 ? ext[i].bytes / 4 - 2 : ext[i].bytes / 8 - 1;
		b->next = ext[i].number;
		return true;
	}
	if (strncmp(word, "frag", 4))
		return false;
	p = push(b, 8);
	p[0] = b->next;
	if (!strcmp(word, "frag0"))
		put16(p + 2, 1);
	else if (strcmp(word, "fraga"))
		put16(p + 2, atoi(word + 4) << 3);
	b->next = 44;
	return true;
}

static void add_link(struct builder *b, int type, int bytes, const uint8_t *p)
{
	memcpy(push(b, bytes), p, bytes);
	b->type = type;
}

static bool add_pppoe(struct builder *b, const char *word)
{
	bool compressed = !strcmp(word, "pppoec");
	int proto = b->type == 0x86dd ? 0x57 : b->type == 0x8847 ? 0x281 : 0x21, n = built(b);
	uint8_t *p;

	if (!strcmp(word, "lcp"))
		proto = 0xc021;
	else if (!strcmp(word, "vj"))
		proto = 0x2d;
	else if (strcmp(word, "pppoe") && !compressed)
		return false;
	p = push(b, compressed ? 7 : 8);
	p[0] = 0x11;
	put16(p + 4, n + (compressed ? 1 : 2));
	if (compressed)
		p[6] = proto;
	else
		put16(p + 6, proto);
	b->type = 0x8864;
	return true;
}

static bool add_mpls(struct builder *b, const char *word)
{
	int labels = !strcmp(word, "mpls3") ? 3 : 1;

	if (!strcmp(word, "pw"))
		push(b, 4);
	else if (strcmp(word, "mpls") && labels == 1)
		return false;
	for (int i = 0; i < labels; i++)
		add_link(b, 0x8847, 4, (uint8_t[]){ 0, 0x10, !i, 64 });
	return true;
}

static bool add_llc(struct builder *b, const char *word)
{
	uint8_t snap[8] = { 0xaa, 0xaa, 3, 0, 0, 0, b->type >> 8, b->type };

	if (!strcmp(word, "snapf8"))
		snap[5] = 0xf8;
	if (!strcmp(word, "llc06"))
		memcpy(push(b, 3), (uint8_t[]){ 6, 6, 3 }, 3);
	else if (!strncmp(word, "snap", 4))
		memcpy(push(b, 8), snap, 8);
	else
		return false;
	b->type = built(b);
	return true;
}

static void add_eth(struct builder *b)
{
	static const uint8_t dst[6] = { 2, 0, 0, 0, 0, 0xfe }, src[6] = { 2, 0, 0, 0, 0, 1 };
	static const uint8_t zero[6];
	const uint8_t *mac = memcmp(b->spec->src_mac, zero, 6) ? b->spec->src_mac : src;
	uint8_t *p = push(b, 14);

	memcpy(p, dst, 6);
	memcpy(p + 6, mac, 6);
	put16(p + 12, b->type);
}

static bool add_transport(struct builder *b, const char *word)
{
	static const struct {
		const char *name;
		int proto;
	} t[] = { { "udp", 17 }, { "icmp", 1 }, { "icmp6", 58 }, { "esp", 50 }, { "gre", 47 } };

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		if (strcmp(word, t[i].name))
			continue;
		put16(push(b, 32) + 2, 25);
		b->next = t[i].proto;
		return true;
	}
	if (strncmp(word, "proto=", 6))
		return false;
	put16(push(b, 32) + 2, 25);
	b->next = atoi(word + 6);
	return true;
}

static void add(struct builder *b, char *word)
{
	char *args = strchr(word, ':');

	if (args)
		*args++ = '\0';
	if (!strcmp(word, "eth"))
		add_eth(b);
	else if (!strcmp(word, "tcp"))
		add_tcp(b, args);
	else if (!strcmp(word, "ip4"))
		add_ip4(b, args);
	else if (!strcmp(word, "ip6"))
		add_ip6(b, args);
	else if (word[0] == 't' && strlen(word) == 5)
		add_link(b, (int)strtol(word + 1, NULL, 16), 4,
			 (uint8_t[]){ 0, 5, b->type >> 8, b->type });
	else if (!strncmp(word, "type=", 5))
		push(b, 46), b->type = (int)strtol(word + 5, NULL, 16);
	else if (!strcmp(word, "stp"))
		memcpy(push(b, 46), (uint8_t[]){ 0x42, 0x42, 3 }, 3), b->type = 38;
	else if (!add_extension(b, word) && !add_pppoe(b, word) && !add_mpls(b, word) &&
		 !add_llc(b, word) && !add_transport(b, word)) {
		fprintf(stderr, "frames: unknown word '%s'\n", word);
		abort();
	}
}

int frame_build(const char *words, const struct frame_spec *spec, uint8_t out[FRAME_MAX])
{
	static const struct frame_spec plain;
	struct builder b = { .at = sizeof(b.buf), .next = 59, .spec = spec ? spec : &plain };
	char copy[512], *word[MAX_WORDS], *rest;
	int n = 0, cut = 0, len;

	snprintf(copy, sizeof(copy), "%s", words);
	for (char *p = strtok_r(copy, " ", &rest); p && n < MAX_WORDS;
	     p = strtok_r(NULL, " ", &rest))
		word[n++] = p;
	while (n-- > 0) {
		if (!strncmp(word[n], "cut=", 4))
			cut = atoi(word[n] + 4);
		else
			add(&b, word[n]);
	}
	len = built(&b);
	if (cut && cut < len)
		len = cut;
	if (len > FRAME_MAX)
		abort();
	memcpy(out, b.buf + b.at, len);
	return len;
}
