// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * seeds DIR: writes what the fuzzers start from below DIR/readers, DIR/replies and
 * DIR/parse: the table of tricks, dialogues of servers, words.
 */
#include "../../bpf/frame.h"
#include "../lib/frames.h"
#include "../lib/tricks.h"
#include "input.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char *const dialogues[] = {
	"220 mx.example ESMTP\r\n250 ok\r\n",
	"220-mx.example\r\n220-no spam\r\n220 go\r\n",
	"250-mx.example\r\n250-STARTTLS\r\n250 SIZE\r\n220 go\r\n\x16\x03\x01\x02",
	"554 no\r\n",
	"421 busy\r\n",
	"421\r\n",
	"554-5.7.1 listed\r\n554 5.7.1 see there\r\n",
	"220 a\r\n250 b\r\n354 c\r\n450 d\r\n550 e\r\n221 f\r\n",
	"hello\r\n199 x\r\n600 y\r\n25 z\r\n2500 w\r\n2x0\r\n\r\n220",
	"220 bare lf\n250 bare lf\n",
};

static const char *const words[] = {
	"5/s",
	"200/h:50",
	"1000000/s",
	"60/min",
	"1/d:100000",
	"90s",
	"15m",
	"36600d",
	"2w",
	"2026-12-24T00:00:00Z",
	"2024-02-29 23:59:60.5-23:59",
	"52:54:00:12:34:56",
	"52-54-00-12-34-56",
	"203.0.113.5",
	"10.0.0.0/8",
	"2001:db8:1::/64",
	"::ffff:192.0.2.1",
	"::ffff:0:0/95",
	"::/0",
	"default",
	"tenant:acme",
	"vm:web1",
	"port:tap3",
	"mac:52:54:00:12:34:56",
	"ip:2001:db8::/32",
	"block",
	"reset",
	"strict",
	"1min",
	"65535",
};

static void die(const char *what)
{
	fprintf(stderr, "seeds: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void write_seed(const char *dir, const char *sort, size_t n, const void *head,
		       size_t headlen, const void *body, size_t len)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, sort);
	if (mkdir(path, 0777) < 0 && errno != EEXIST)
		die(path);
	snprintf(path, sizeof(path), "%s/%s/seed-%03zu", dir, sort, n);
	f = fopen(path, "wb");
	if (!f || fwrite(head, 1, headlen, f) != headlen || fwrite(body, 1, len, f) != len ||
	    fclose(f))
		die(path);
}

/* Each row as it is to and from a VM, with the linear part a tap may show. */
static void write_frames(const char *dir)
{
	static const uint8_t linear[] = { 14, 54, 255 };
	uint8_t bytes[FRAME_MAX];

	for (size_t i = 0; i < NTRICKS; i++) {
		struct frame_spec spec = { .dport = tricks[i].dport };
		uint8_t head[INPUT_HEADER] = { linear[i % sizeof(linear)] };
		int len;

		if (i % 4 == 3) {
			head[2] = INPUT_REPLY | INPUT_PORTS;
			spec.sport = tricks[i].dport ? tricks[i].dport : 25;
			spec.dport = 40000;
		}
		len = frame_build(tricks[i].words, &spec, bytes);
		write_seed(dir, "readers", i, head, sizeof(head), bytes, (size_t)len);
	}
}

int main(int argc, char **argv)
{
	static const uint8_t cuts[] = { 1, 3, 7, 2 };

	if (argc != 2) {
		fprintf(stderr, "usage: seeds DIR\n");
		return 2;
	}
	if (mkdir(argv[1], 0777) < 0 && errno != EEXIST)
		die(argv[1]);
	write_frames(argv[1]);
	for (size_t i = 0; i < sizeof(dialogues) / sizeof(dialogues[0]); i++)
		write_seed(argv[1], "replies", i, cuts, sizeof(cuts), dialogues[i],
			   strlen(dialogues[i]));
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		write_seed(argv[1], "parse", i, "", 0, words[i], strlen(words[i]));
	return 0;
}
