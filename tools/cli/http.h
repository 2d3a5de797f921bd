/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * A small HTTP/1.1 client for a UNIX socket: one request, one answer, with a
 * length or in chunks. Trusts nothing that it reads: garbage, cut answers and a
 * server that goes away are errors with a sentence each.
 */
#ifndef GATE25_CLI_HTTP_H
#define GATE25_CLI_HTTP_H

#include "error.h"

#include <stddef.h>

struct http_request {
	const char *method, *path; /* path: percent-encoded, with query */
	const char *actor;	   /* X-Gate25-Actor, NULL = none */
	const char *body;	   /* NULL = none, or from body_fd */
	size_t body_len;
	int body_fd;   /* sent in chunks until its end; -1 = none */
	int timeout_s; /* without a byte from the server; 0 = for ever */
};

/* What comes: called with pieces of the body, decoded. A value but 0 ends it. */
typedef int (*http_sink)(void *arg, int status, const char *data, size_t len);

/*
 * *status is set once the head of the answer is read. Returns 0 when the whole
 * answer was read, what `sink` returned, or -errno with err filled:
 * GATE_ERR_UNREACHABLE, GATE_ERR_DENIED (connect refused by permission), or
 * GATE_ERR_FAILED (not HTTP).
 */
int http_exchange(const char *socket_path, const struct http_request *r, int *status,
		  http_sink sink, void *arg, struct gate_error *err);

#endif
