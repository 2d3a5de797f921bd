/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * A libmicrohttpd daemon inside the sd-event loop: no thread, its epoll set is
 * one source of ours, its next timeout another. Serves the control socket and
 * the metrics listener.
 */
#ifndef GATE25_HTTP_H
#define GATE25_HTTP_H

#include "error.h"

#include <microhttpd.h>
#include <systemd/sd-event.h>

struct gate_http;

struct gate_http_setup {
	int fd; /* listening socket, non-blocking; the daemon closes it, also on failure */
	unsigned connections; /* at most; more wait in the backlog */
	unsigned per_address; /* of these, from one address; 0 = any number */
	unsigned timeout_s;   /* of a connection on which nothing moves */
	size_t memory;	      /* of a connection: what one write holds; 0 = what MHD has */
	const char *what;     /* for the log */
	MHD_AccessHandlerCallback handler;
	MHD_RequestCompletedCallback completed;	 /* may be NULL */
	MHD_NotifyConnectionCallback connection; /* may be NULL */
	void *arg;				 /* of all three */
};

int gate_http_open(struct gate_http **out, sd_event *ev, const struct gate_http_setup *s,
		   struct gate_error *err);
/*
 * To be called after MHD_resume_connection(): without threads MHD notices only
 * when it runs for another reason.
 */
void gate_http_kick(struct gate_http *h);
/* No connection may be suspended. */
void gate_http_close(struct gate_http *h);

#endif
