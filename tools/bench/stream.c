// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * When did the door close? A stream of new flows from one VM, each frame with its
 * number. The kernel stamps what arrives at the far end (SO_TIMESTAMPNS), behind the
 * gate; so no stamp is older than the frame's passage, whatever holds the sender up.
 * The door closed after the last frame that arrived and before the next was judged.
 *
 * stream --send FD --receive FD   (packet sockets, bound, from the caller)
 *
 * It sends on its second CPU; whom it measures should have the first to himself.
 *
 * Commands on stdin, one JSON object for each:
 *   start       sends without end; {} once the first frame has arrived
 *   stop        {"sent": frames, "arrived": frames, "last": when the last one arrived,
 *               "next": when the frame behind it was sent}, CLOCK_REALTIME in ns, which
 *               is the clock of the kernel's stamps
 */
#include "lib/bench.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NUMBER_AT 54 /* behind the headers; the frame is 62 bytes */
#define SIZE	  (NUMBER_AT + 8)
#define KEPT	  (1U << 20) /* times of sending; the newest, a power of two */
#define AFTER	  100	     /* frames sent after the door was shut */
#define DRAIN_NS  20000000

struct stream {
	int send, receive;
	bool stop;		/* atomic */
	uint64_t sent, arrived; /* atomic */
	uint64_t last, last_at; /* number of the last one that arrived, from 1 on */
	uint64_t times[KEPT];	/* of sending, by number */
	uint8_t frame[BENCH_FRAME_MAX];
};

static uint64_t ns_of(const struct timespec *t)
{
	return t->tv_sec * 1000000000ULL + t->tv_nsec;
}

static uint64_t real_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return ns_of(&now);
}

static uint64_t stamp_of(struct msghdr *m)
{
	struct timespec at;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_TIMESTAMPNS)
			continue;
		memcpy(&at, CMSG_DATA(c), sizeof(at));
		return ns_of(&at);
	}
	bench_die("this kernel does not stamp what it receives");
}

/* Takes one frame that has arrived; false: there is none. */
static bool receive_one(struct stream *s)
{
	uint8_t in[256], control[CMSG_SPACE(sizeof(struct timespec))] = { 0 };
	struct iovec data = { .iov_base = in, .iov_len = sizeof(in) };
	struct msghdr m = { .msg_iov = &data,
			    .msg_iovlen = 1,
			    .msg_control = control,
			    .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(s->receive, &m, MSG_DONTWAIT);
	uint64_t number;

	if (n < 0)
		return false;
	if (n < SIZE || memcmp(in, s->frame, 6) != 0)
		return true;
	memcpy(&number, in + NUMBER_AT, sizeof(number));
	if (number > s->last) {
		s->last = number;
		s->last_at = stamp_of(&m);
	}
	__atomic_fetch_add(&s->arrived, 1, __ATOMIC_RELAXED);
	return true;
}

static void receive_all(struct stream *s)
{
	while (receive_one(s))
		;
}

/* One thread sends and receives: on two cores, one is left for whom is measured. */
static void *run(void *arg)
{
	struct stream *s = arg;
	uint64_t number = 0;
	uint16_t port = 1024;

	/*
	 * What happens between two frames is not seen, so whoever comes in between costs
	 * a round; but a real-time thread would keep the kernel's own workers of this CPU
	 * waiting, and with them whoever waits for a disk.
	 */
	bench_pin(1);
	setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), -20);

	while (!__atomic_load_n(&s->stop, __ATOMIC_RELAXED)) {
		number++;
		port = port == 65535 ? 1024 : port + 1;
		s->frame[34] = port >> 8;
		s->frame[35] = port;
		memcpy(s->frame + NUMBER_AT, &number, sizeof(number));
		s->times[number % KEPT] = real_now();
		if (send(s->send, s->frame, SIZE, 0) < 0 && errno != ENOBUFS)
			bench_die("cannot send: %m");
		__atomic_fetch_add(&s->sent, 1, __ATOMIC_RELAXED);
		receive_one(s);
	}
	return NULL;
}

static void wait_for_arrival(const struct stream *s)
{
	uint64_t end = bench_now() + 2000000000;

	while (!__atomic_load_n(&s->arrived, __ATOMIC_RELAXED) && bench_now() < end)
		sched_yield();
}

static void start(struct stream *s, pthread_t *thread)
{
	receive_all(s); /* late ones of the last round */
	s->sent = s->arrived = s->last = s->last_at = 0;
	s->stop = false;
	if (pthread_create(thread, NULL, run, s))
		bench_die("cannot start a thread");
	wait_for_arrival(s);
	printf("{}\n");
}

/* The door is shut by now: some frames more, to see that it is. */
static void finish(struct stream *s, pthread_t thread)
{
	uint64_t end, more = __atomic_load_n(&s->sent, __ATOMIC_RELAXED) + AFTER;

	while (__atomic_load_n(&s->sent, __ATOMIC_RELAXED) < more)
		sched_yield();
	__atomic_store_n(&s->stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	for (end = bench_now() + DRAIN_NS; bench_now() < end;)
		receive_all(s);
	if (s->sent - s->last >= KEPT)
		bench_die("the door was shut too long ago");
	printf("{\"sent\":%llu,\"arrived\":%llu,\"last\":%llu,\"next\":%llu}\n",
	       (unsigned long long)s->sent, (unsigned long long)s->arrived,
	       (unsigned long long)s->last_at, (unsigned long long)s->times[(s->last + 1) % KEPT]);
}

int main(int argc, char **argv)
{
	static struct stream s; /* large */
	const int on = 1;
	bool runs = false;
	pthread_t thread;
	char line[64];

	s.send = (int)bench_option(argc, argv, "--send", -1);
	s.receive = (int)bench_option(argc, argv, "--receive", -1);
	bench_pin(0);
	if (setsockopt(s.receive, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)))
		bench_die("cannot have what arrives stamped: %m");
	bench_frame(BENCH_SYN, SIZE, s.frame);
	memset(s.times, 0, sizeof(s.times)); /* no page fault between two frames */
	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof(line), stdin)) {
		if (!strcmp(line, "start\n") && !runs)
			start(&s, &thread);
		else if (!strcmp(line, "stop\n") && runs)
			finish(&s, thread);
		else
			bench_die("start or stop, in turn");
		runs = !runs;
	}
	return 0;
}
