/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What the files of the control API share. */
#ifndef GATE25_CONTROL_PRIV_H
#define GATE25_CONTROL_PRIV_H

#include "control.h"
#include "http.h"
#include "peer.h"
#include "show.h"

#include <netinet/in.h>
#include <sys/un.h>

#define CONTROL_CONNECTIONS 256
/* Of one uid that is not root: with readers anybody may connect. */
#define CONTROL_PER_UID		 32
#define CONTROL_PER_UID_NO_RIGHT 4
/* Of all who have no right: by subuids one person is many. */
#define CONTROL_NO_RIGHT  64
#define CONTROL_FOLLOWERS 64
/* Bytes of answers kept for one uid that is not root; a single answer may be longer. */
#define CONTROL_HELD_MAX  (64 << 20)
#define CONTROL_TIMEOUT_S 20
#define CONTROL_BODY_MAX  (1 << 20)
/* Read and thrown away so that the sender sees the answer; then it is cut off. */
#define CONTROL_DISCARD_MAX (16 << 20)

struct follower;
struct set_upload;

/* One connection; lives in MHD's socket context. */
struct connection {
	struct connection *next, **prev;
	int fd; /* MHD's */
	struct gate_peer peer;
	size_t held; /* bytes of its answer that are kept until it has been read */
};

struct gate_control {
	struct gate_control_setup setup;
	struct gate_http *http;
	struct gate_peer_policy policy;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	struct gate_show_host host;
	struct connection *connections;
	struct follower *followers;
	unsigned nfollowers;
	sd_event_source *check;
	bool closing;
	gate_why_fn why;
	void *why_arg;
};

struct request;

struct route {
	const char *method;
	const char *path; /* ends in '/': what follows is the request's `rest` */
	enum gate_right right;
	bool stream;	      /* the body goes to the policy set's reader, without a limit */
	const char *query[5]; /* names it knows, NULL-terminated */
	/* Writes the answer, or queues it itself and sets `answered`, or fails. */
	int (*handle)(struct request *r, struct gate_buf *out, struct gate_error *err);
};

struct request {
	struct gate_control *ctl;
	struct MHD_Connection *conn;
	const struct route *route;
	char *rest; /* decoded; what follows the route's path */
	struct gate_peer peer;
	struct gate_actor actor;
	struct gate_buf body;
	struct set_upload *upload;
	size_t discarded;
	struct gate_error err;
	unsigned status; /* decided before the body was read; 0 = not yet */
	char allow[32];	 /* of a 405 */
	bool answered;
	enum MHD_Result result; /* of an answer queued by the handler */
};

/* MHD's callbacks; arg is the struct gate_control. */
enum MHD_Result gate_control_handle(void *arg, struct MHD_Connection *c, const char *url,
				    const char *method, const char *version, const char *data,
				    size_t *len, void **state);
void gate_control_completed(void *arg, struct MHD_Connection *c, void **state,
			    enum MHD_RequestTerminationCode how);

/* Those of no fixed place in enum gate_error_code: the handler sets r->status too. */
int gate_control_fail(struct request *r, unsigned status, struct gate_error *err,
		      enum gate_error_code code, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
const char *gate_control_query(const struct request *r, const char *key);
/* A number from the query, absent = unchanged. */
int gate_control_query_uint(const struct request *r, const char *key, uint64_t max, uint64_t *out,
			    struct gate_error *err);
/* Queues a response and gives up our reference. */
void gate_control_send(struct request *r, unsigned status, const char *type,
		       struct MHD_Response *response);

/*
 * To be asked before an answer of so many bytes is queued as a whole: who asks for much,
 * often, and reads none of it, must not fill the daemon's memory.
 */
int gate_control_hold(struct request *r, size_t len, struct gate_error *err);

const struct route *gate_control_routes(size_t *n);

/* The routes, by file. */
int gate_control_vms(struct request *r, struct gate_buf *out, struct gate_error *err);
int gate_control_policy_set_get(struct request *r, struct gate_buf *out, struct gate_error *err);
int gate_control_policy_set_put(struct request *r, struct gate_buf *out, struct gate_error *err);
int gate_control_shadow_get(struct request *r, struct gate_buf *out, struct gate_error *err);
int gate_control_shadow_promote(struct request *r, struct gate_buf *out, struct gate_error *err);
int gate_control_shadow_drop(struct request *r, struct gate_buf *out, struct gate_error *err);
int gate_control_policies(struct request *r, struct gate_buf *out, struct gate_error *err);
int gate_control_events(struct request *r, struct gate_buf *out, struct gate_error *err);
int gate_control_report(struct request *r, struct gate_buf *out, struct gate_error *err);
int gate_control_undo(struct request *r, struct gate_buf *out, struct gate_error *err);

/* Upload of a policy set: bytes as they come; a line that is wrong is told at the end. */
int gate_control_upload_open(struct request *r);
void gate_control_upload_data(struct request *r, const char *data, size_t len);
void gate_control_upload_free(struct set_upload *u);

/* Followers of events. */
void gate_control_followers_wake(void *arg, const struct gate_notice *n,
				 const struct gate_event_line *line);
void gate_control_followers_end(struct gate_control *ctl);
/* Once in a while: those whose peer has gone make room. */
void gate_control_followers_check(struct gate_control *ctl);

#endif
