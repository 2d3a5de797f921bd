// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "bench.h"

#include <string.h>

#define FRAME_MIN 60

static const char *const shape_name[] = { "other", "other6", "tagged", "udp", "syn", "data" };
_Static_assert(sizeof(shape_name) / sizeof(shape_name[0]) == BENCH_SHAPE_MAX, "shape names");

enum bench_shape bench_shape_named(const char *name)
{
	for (int i = 0; i < BENCH_SHAPE_MAX; i++)
		if (!strcmp(name, shape_name[i]))
			return i;
	bench_die("not a shape of frames: '%s'", name);
}

static void put16(uint8_t *p, unsigned v)
{
	p[0] = v >> 8;
	p[1] = v;
}

static uint32_t sum16(const uint8_t *p, int n)
{
	uint32_t sum = 0;

	for (int i = 0; i < n; i += 2)
		sum += p[i] | p[i + 1] << 8; /* as the little-endian generators add */
	return sum;
}

uint32_t bench_frame_sum(const uint8_t *frame)
{
	return sum16(frame + 14, 10);
}

static int fill_ip4(uint8_t *ip, int total, uint8_t proto)
{
	uint32_t sum;

	ip[0] = 0x45;
	put16(ip + 2, total);
	put16(ip + 6, 0x4000);
	ip[8] = 64;
	ip[9] = proto;
	memcpy(ip + 12, (uint8_t[]){ 10, 0, 0, 0, 198, 18, 0, 1 }, 8);
	sum = sum16(ip, 20);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = ~((sum & 0xffff) + (sum >> 16));
	memcpy(ip + 10, &(uint16_t){ sum }, 2);
	return 20;
}

static int fill_ip6(uint8_t *ip, int total, uint8_t proto)
{
	ip[0] = 0x60;
	put16(ip + 4, total - 40);
	ip[6] = proto;
	ip[7] = 64;
	memcpy(ip + 8, (uint8_t[]){ 0x20, 1, 0xd, 0xb8 }, 4);
	ip[23] = 1;
	memcpy(ip + 24, (uint8_t[]){ 0x20, 1, 0xd, 0xb8, 0, 2 }, 6);
	ip[39] = 1;
	return 40;
}

int bench_frame(enum bench_shape shape, int size, uint8_t out[BENCH_FRAME_MAX])
{
	bool smtp = shape == BENCH_SYN || shape == BENCH_DATA;
	uint8_t proto = shape == BENCH_UDP ? 17 : 6, *p = out + 14;
	int least = FRAME_MIN + (shape == BENCH_OTHER6 ? 20 : 0) + (shape == BENCH_TAGGED ? 4 : 0);

	if (size < least)
		size = least;
	memset(out, 0, BENCH_FRAME_MAX);
	memcpy(out, (uint8_t[]){ 2, 0, 0xff, 0xff, 0xff, 0xfe, 2 }, 7);
	if (shape == BENCH_TAGGED) {
		put16(out + 12, 0x8100);
		put16(out + 14, 5);
		p += 4;
	}
	put16(p - 2, shape == BENCH_OTHER6 ? 0x86dd : 0x0800);
	/* The last 6 of 60 bytes are padding, as a device adds it. */
	least = size == least ? least - 6 : size;
	p += shape == BENCH_OTHER6 ? fill_ip6(p, least - (int)(p - out), proto)
				   : fill_ip4(p, least - (int)(p - out), proto);
	put16(p, 40000);
	put16(p + 2, smtp ? 25 : 443);
	if (proto == 17) {
		put16(p + 4, 20);
		return size;
	}
	p[7] = 1;
	p[12] = 5 << 4;
	p[13] = shape == BENCH_SYN ? 0x02 : 0x18;
	put16(p + 14, 64240);
	return size;
}
