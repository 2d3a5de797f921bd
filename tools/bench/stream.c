// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * When did the door close? A stream of new flows from one VM, each frame bearing the
 * time at which it was sent; the last one that arrives tells.
 *
 * stream --send FD --receive FD [--source MAC-TAIL]   (packet sockets, bound, from the caller)
 *
 * Commands on stdin, one JSON object for each:
 *   start       sends without end; {} once the first frame has arrived
 *   stop        {"sent": frames, "arrived": frames, "last": CLOCK_MONOTONIC ns at which
 *               the last frame that arrived was sent, "gap": longest time between two
 *               frames sent, ns}
 */
#include "lib/bench.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define STAMP_AT 54 /* behind the headers; the frame is 62 bytes */
#define SIZE	 (STAMP_AT + 8)
#define AFTER	 100 /* frames sent after the door was shut */

struct stream {
	int send, receive;
	bool stop; /* atomic */
	uint64_t sent, arrived, last, gap;
	uint8_t frame[BENCH_FRAME_MAX];
};

static void receive_all(struct stream *s)
{
	uint8_t in[256];
	uint64_t stamp;

	while (recv(s->receive, in, sizeof(in), MSG_DONTWAIT) >= SIZE) {
		if (memcmp(in, s->frame, 6) != 0)
			continue;
		memcpy(&stamp, in + STAMP_AT, sizeof(stamp));
		__atomic_fetch_add(&s->arrived, 1, __ATOMIC_RELAXED);
		if (stamp > s->last)
			s->last = stamp;
	}
}

/* One thread sends and receives: on two cores, one is left for whom is measured. */
static void *run(void *arg)
{
	struct stream *s = arg;
	const struct sched_param first = { .sched_priority = 1 };
	uint64_t before, now;
	uint16_t port = 1024;

	/* Between two frames lies what cannot be seen: nobody may come in between. */
	pthread_setschedparam(pthread_self(), SCHED_FIFO, &first);
	before = bench_now();

	while (!__atomic_load_n(&s->stop, __ATOMIC_RELAXED)) {
		now = bench_now();
		if (now - before > s->gap)
			s->gap = now - before;
		before = now;
		port = port == 65535 ? 1024 : port + 1;
		s->frame[34] = port >> 8;
		s->frame[35] = port;
		memcpy(s->frame + STAMP_AT, &now, sizeof(now));
		if (send(s->send, s->frame, SIZE, 0) < 0 && errno != ENOBUFS)
			bench_die("cannot send: %m");
		__atomic_fetch_add(&s->sent, 1, __ATOMIC_RELAXED);
		receive_all(s);
	}
	return NULL;
}

static void wait_for_arrival(const struct stream *s)
{
	uint64_t end = bench_now() + 2000000000;

	while (!__atomic_load_n(&s->arrived, __ATOMIC_RELAXED) && bench_now() < end)
		sched_yield();
}

/* The door is shut by now: some frames more, to see that it is. */
static void finish(struct stream *s, pthread_t thread)
{
	uint64_t end, more = __atomic_load_n(&s->sent, __ATOMIC_RELAXED) + AFTER;

	while (__atomic_load_n(&s->sent, __ATOMIC_RELAXED) < more)
		sched_yield();
	__atomic_store_n(&s->stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	for (end = bench_now() + 20000000; bench_now() < end;)
		receive_all(s);
	printf("{\"sent\":%llu,\"arrived\":%llu,\"last\":%llu,\"gap\":%llu}\n",
	       (unsigned long long)s->sent, (unsigned long long)s->arrived,
	       (unsigned long long)s->last, (unsigned long long)s->gap);
}

int main(int argc, char **argv)
{
	struct stream s = { .send = (int)bench_option(argc, argv, "--send", -1),
			    .receive = (int)bench_option(argc, argv, "--receive", -1) };
	pthread_t thread;
	char line[64];
	bool on = false;

	bench_frame(BENCH_SYN, SIZE, s.frame);
	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof(line), stdin)) {
		if (!strcmp(line, "start\n") && !on) {
			s.sent = s.arrived = s.last = s.gap = 0;
			s.stop = false;
			if (pthread_create(&thread, NULL, run, &s))
				bench_die("cannot start a thread");
			wait_for_arrival(&s);
			printf("{}\n");
			on = true;
		} else if (!strcmp(line, "stop\n") && on) {
			finish(&s, thread);
			on = false;
		} else {
			bench_die("start or stop, in turn");
		}
	}
	return 0;
}
