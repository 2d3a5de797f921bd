// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * GET /v1/events: the notices kept, then, with follow=1, each as it comes. A
 * follower that has nothing to read is suspended; one that reads too slowly
 * loses lines and is told how many.
 */
#include "control_priv.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_SIZE (16 * 1024)

struct follower {
	struct follower *next, **prev;
	struct gate_control *ctl;
	struct MHD_Connection *conn;
	char subject[GATE_SUBJECT_LEN + 4]; /* "" = all */
	uint64_t at;			    /* number of the next line */
	uint64_t until;			    /* without follow: where it ends */
	bool follow, suspended, gone;
	struct gate_buf part; /* a line that did not fit */
	size_t sent;
};

static void load_line(struct follower *f)
{
	const struct gate_events *v = f->ctl->setup.events;
	uint64_t first = gate_events_first(v);
	struct gate_event_line line;

	f->part.len = f->sent = 0;
	if (f->at < first) {
		gate_buf_printf(&f->part,
				"{\"version\":1,\"kind\":\"lost\",\"count\":%llu,\"text\":\"%llu "
				"events were not told: this reader is too slow\"}\n",
				(unsigned long long)(first - f->at),
				(unsigned long long)(first - f->at));
		f->at = first;
		return;
	}
	gate_events_line(v, f->at++, &line);
	if (!f->subject[0] || !strcmp(f->subject, line.subject))
		gate_buf_add(&f->part, line.text, line.len);
}

static bool has_line(const struct follower *f)
{
	return f->at < (f->follow ? gate_events_next(f->ctl->setup.events) : f->until);
}

static ssize_t read_events(void *arg, uint64_t pos, char *to, size_t max)
{
	struct follower *f = arg;
	size_t n = 0, part;

	if (f->gone || f->ctl->closing)
		return MHD_CONTENT_READER_END_OF_STREAM;
	while (n < max) {
		if (f->sent == f->part.len) {
			if (!has_line(f))
				break;
			load_line(f);
		}
		part = f->part.len - f->sent;
		if (part > max - n)
			part = max - n;
		if (part)
			memcpy(to + n, f->part.data + f->sent, part);
		f->sent += part;
		n += part;
	}
	if (f->part.failed)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	if (n)
		return (ssize_t)n;
	if (!f->follow)
		return MHD_CONTENT_READER_END_OF_STREAM;
	f->suspended = true;
	MHD_suspend_connection(f->conn);
	return 0;
}

static void resume(struct follower *f)
{
	if (!f->suspended)
		return;
	f->suspended = false;
	MHD_resume_connection(f->conn);
	gate_http_kick(f->ctl->http);
}

void gate_control_followers_wake(void *arg, const struct gate_notice *n,
				 const struct gate_event_line *line)
{
	struct gate_control *ctl = arg;
	struct follower *f;

	for (f = ctl->followers; f; f = f->next) {
		if (!f->subject[0] || !strcmp(f->subject, line->subject))
			resume(f);
		else if (f->suspended) /* had read all: nothing is lost on it */
			f->at = gate_events_next(ctl->setup.events);
	}
}

void gate_control_followers_end(struct gate_control *ctl)
{
	struct follower *f;

	for (f = ctl->followers; f; f = f->next)
		resume(f);
}

void gate_control_followers_check(struct gate_control *ctl)
{
	struct follower *f;
	struct pollfd p;

	/* a suspended connection is not watched by MHD: it would wait for ever */
	for (f = ctl->followers; f; f = f->next) {
		p.fd = MHD_get_connection_info(f->conn, MHD_CONNECTION_INFO_CONNECTION_FD)
			       ->connect_fd;
		p.events = 0;
		if (f->suspended && poll(&p, 1, 0) == 1) {
			f->gone = true;
			resume(f);
		}
	}
}

static void free_follower(void *arg)
{
	struct follower *f = arg;

	*f->prev = f->next;
	if (f->next)
		f->next->prev = f->prev;
	f->ctl->nfollowers--;
	gate_buf_free(&f->part);
	free(f);
}

/* Canonical text of ?subject=; what is gone may have left events. */
static int read_subject(struct request *r, char *out, size_t size, struct gate_error *err)
{
	const char *text = gate_control_query(r, "subject");
	struct gate_subject s;
	int ret;

	*out = '\0';
	if (!text)
		return 0;
	if (gate_parse_subject(text, &s))
		return gate_error_set(err, GATE_ERR_USAGE, "\"%.80s\" is no subject", text);
	if (s.kind == GATE_S_WORD) {
		struct gate_subject word = s;

		ret = gate_engine_resolve(r->ctl->setup.engine, &word, &s, err);
		if (ret)
			return ret;
	}
	gate_format_subject(&s, out, size);
	return 0;
}

static struct follower *new_follower(struct request *r, bool follow, const char *subject)
{
	struct gate_control *ctl = r->ctl;
	struct follower *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->ctl = ctl;
	f->conn = r->conn;
	f->follow = follow;
	f->at = gate_events_first(ctl->setup.events);
	f->until = gate_events_next(ctl->setup.events);
	strcpy(f->subject, subject);
	f->next = ctl->followers;
	f->prev = &ctl->followers;
	if (f->next)
		f->next->prev = &f->next;
	ctl->followers = f;
	ctl->nfollowers++;
	return f;
}

int gate_control_events(struct request *r, struct gate_buf *out, struct gate_error *err)
{
	char subject[GATE_SUBJECT_LEN + 4];
	struct MHD_Response *response;
	struct follower *f;
	uint64_t follow = 0;
	int ret;

	ret = gate_control_query_uint(r, "follow", 1, &follow, err);
	if (!ret)
		ret = read_subject(r, subject, sizeof(subject), err);
	if (ret)
		return ret;
	if (r->ctl->nfollowers >= CONTROL_FOLLOWERS)
		return gate_control_fail(r, MHD_HTTP_SERVICE_UNAVAILABLE, err, GATE_ERR_FAILED,
					 "%d others follow the events already", CONTROL_FOLLOWERS);
	f = new_follower(r, follow != 0, subject);
	if (!f)
		return gate_error_set(err, GATE_ERR_FAILED, "out of memory");
	response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_SIZE, read_events, f,
						     free_follower);
	if (!response)
		free_follower(f);
	gate_control_send(r, MHD_HTTP_OK, "application/x-ndjson", response);
	return 0;
}
