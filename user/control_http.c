// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The life of a request: route, rights, body, answer. What is wrong is known
 * before the body comes, but told behind it, so that the sender reads the
 * answer and not a broken pipe; only a body that is too large is not waited for.
 */
#include "control_priv.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char json_type[] = "application/json";

int gate_control_fail(struct request *r, unsigned status, struct gate_error *err,
		      enum gate_error_code code, const char *fmt, ...)
{
	char message[sizeof(err->message)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	r->status = status;
	return gate_error_set(err, code, "%s", message);
}

const char *gate_control_query(const struct request *r, const char *key)
{
	return MHD_lookup_connection_value(r->conn, MHD_GET_ARGUMENT_KIND, key);
}

int gate_control_query_uint(const struct request *r, const char *key, uint64_t max, uint64_t *out,
			    struct gate_error *err)
{
	const char *s = gate_control_query(r, key);
	uint64_t n = 0;
	size_t i;

	if (!s)
		return 0;
	for (i = 0; s[i] >= '0' && s[i] <= '9' && n <= max; i++)
		n = n * 10 + (uint64_t)(s[i] - '0');
	if (!i || s[i] || n > max)
		return gate_error_set(err, GATE_ERR_USAGE,
				      "the query's %s must be a number up to %llu", key,
				      (unsigned long long)max);
	*out = n;
	return 0;
}

void gate_control_send(struct request *r, unsigned status, const char *type,
		       struct MHD_Response *response)
{
	r->answered = true;
	r->result = MHD_NO;
	if (!response)
		return;
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	if (r->allow[0])
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, r->allow);
	r->result = MHD_queue_response(r->conn, status, response);
	MHD_destroy_response(response);
}

static struct connection *connection_of(struct MHD_Connection *c)
{
	return MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

int gate_control_hold(struct request *r, size_t len, struct gate_error *err)
{
	struct connection *own = connection_of(r->conn);
	const struct connection *c;
	size_t held = 0;

	if (!own)
		return 0;
	for (c = r->ctl->connections; c; c = c->next)
		held += c->peer.uid == own->peer.uid ? c->held : 0;
	/* what has been changed is told in any case */
	if (own->peer.uid && held && held + len > CONTROL_HELD_MAX &&
	    r->route->right == GATE_RIGHT_READ)
		return gate_control_fail(r, MHD_HTTP_SERVICE_UNAVAILABLE, err, GATE_ERR_FAILED,
					 "%zu MB of answers to other requests of yours have not "
					 "been read yet",
					 held >> 20);
	own->held = len;
	return 0;
}

static void send_buf(struct request *r, unsigned status, struct gate_buf *b)
{
	struct MHD_Response *response;
	size_t len;
	char *text;

	if (b->failed) {
		gate_control_send(r, status, json_type, NULL);
		return;
	}
	text = gate_buf_steal(b, &len);
	response = MHD_create_response_from_buffer(len, text, MHD_RESPMEM_MUST_FREE);
	if (!response)
		free(text);
	gate_control_send(r, status, json_type, response);
}

static void is_store(void *arg, const struct gate_problem *p)
{
	if (!strcmp(p->code, "store"))
		*(bool *)arg = true;
}

static unsigned status_of(struct request *r)
{
	bool store = false;

	switch (r->err.code) {
	case GATE_ERR_USAGE:
		return MHD_HTTP_BAD_REQUEST;
	case GATE_ERR_NO_SUBJECT:
		return MHD_HTTP_NOT_FOUND;
	case GATE_ERR_DENIED:
		return MHD_HTTP_FORBIDDEN;
	case GATE_ERR_CONFLICT:
		return MHD_HTTP_CONFLICT;
	default:
		/* what fails while the store is broken fails for that */
		gate_engine_problems(r->ctl->setup.engine, is_store, &store);
		return store ? MHD_HTTP_INSUFFICIENT_STORAGE : MHD_HTTP_INTERNAL_SERVER_ERROR;
	}
}

static const char *code_of(unsigned status)
{
	switch (status) {
	case MHD_HTTP_BAD_REQUEST:
		return "usage";
	case MHD_HTTP_FORBIDDEN:
		return "denied";
	case MHD_HTTP_NOT_FOUND:
		return "no_subject";
	case MHD_HTTP_METHOD_NOT_ALLOWED:
		return "method";
	case MHD_HTTP_CONFLICT:
		return "conflict";
	case MHD_HTTP_CONTENT_TOO_LARGE:
		return "too_large";
	case MHD_HTTP_INSUFFICIENT_STORAGE:
		return "store";
	default:
		return "failed";
	}
}

static enum MHD_Result send_error(struct request *r)
{
	struct gate_buf b = { 0 };

	if (!r->status)
		r->status = status_of(r);
	gate_json_open(&b, NULL, '{');
	gate_json_version(&b);
	gate_json_open(&b, "error", '{');
	gate_json_string(&b, "code", code_of(r->status));
	gate_json_string(&b, "message", r->err.message[0] ? r->err.message : "it failed");
	gate_buf_puts(&b, "}}\n");
	send_buf(r, r->status, &b);
	gate_buf_free(&b);
	return r->result;
}

static enum MHD_Result answer(struct request *r)
{
	struct gate_buf out = { 0 };

	if (r->status)
		return send_error(r);
	if (r->route->handle(r, &out, &r->err) ||
	    (!r->answered && gate_control_hold(r, out.len, &r->err))) {
		gate_buf_free(&out);
		return send_error(r);
	}
	if (!r->answered) {
		gate_buf_putc(&out, '\n');
		send_buf(r, MHD_HTTP_OK, &out);
	}
	gate_buf_free(&out);
	return r->result;
}

/* ---- before the body ---- */

static const struct route *find_route(struct request *r, const char *method, const char *url)
{
	size_t n, i, len;
	const struct route *routes = gate_control_routes(&n);

	for (i = 0; i < n; i++) {
		const char *path = routes[i].path;

		len = strlen(path);
		if (path[len - 1] == '/' ? strncmp(url, path, len) != 0 || !url[len]
					 : strcmp(url, path) != 0)
			continue;
		if (!strcmp(routes[i].method, method)) {
			r->rest = strdup(url + len);
			return r->rest ? &routes[i] : NULL;
		}
		if (r->allow[0])
			strcat(r->allow, ", ");
		strcat(r->allow, routes[i].method);
	}
	return NULL;
}

static enum MHD_Result check_query(void *arg, enum MHD_ValueKind kind, const char *key,
				   const char *value)
{
	struct request *r = arg;
	unsigned i;

	for (i = 0; r->route->query[i]; i++)
		if (!strcmp(r->route->query[i], key) && value)
			return MHD_YES;
	gate_control_fail(r, MHD_HTTP_BAD_REQUEST, &r->err, GATE_ERR_USAGE,
			  "unknown or empty query key \"%.60s\"", key);
	return MHD_NO;
}

static void check_rights(struct request *r)
{
	const char *actor = MHD_lookup_connection_value(r->conn, MHD_HEADER_KIND, "X-Gate25-Actor");

	if (r->peer.right < r->route->right)
		gate_control_fail(r, MHD_HTTP_FORBIDDEN, &r->err, GATE_ERR_DENIED,
				  r->peer.right ? "you may read but not change anything here"
						: "you are not a member of the gate's group");
	/* of who only reads no name is shown, and to ask for one may take long */
	else if ((actor || r->route->right == GATE_RIGHT_WRITE) &&
		 gate_peer_actor(&r->peer, actor, &r->actor, &r->err))
		r->status = MHD_HTTP_BAD_REQUEST;
}

static void begin(struct request *r, const char *method, const char *url)
{
	const struct connection *c = connection_of(r->conn);

	r->peer = c ? c->peer : (struct gate_peer){ .uid = (uid_t)-1 };
	r->route = find_route(r, method, url);
	if (r->peer.right == GATE_RIGHT_NONE) {
		gate_control_fail(r, MHD_HTTP_FORBIDDEN, &r->err, GATE_ERR_DENIED,
				  "you are not a member of the gate's group");
		return;
	}
	if (!r->route && r->allow[0]) {
		gate_control_fail(r, MHD_HTTP_METHOD_NOT_ALLOWED, &r->err, GATE_ERR_USAGE,
				  "%.200s knows %s, not %.20s", url, r->allow, method);
		return;
	}
	if (!r->route) {
		gate_control_fail(r, MHD_HTTP_NOT_FOUND, &r->err, GATE_ERR_USAGE,
				  "there is no %.200s here", url);
		return;
	}
	r->allow[0] = '\0';
	check_rights(r);
	if (!r->status)
		MHD_get_connection_values(r->conn, MHD_GET_ARGUMENT_KIND, check_query, r);
	if (!r->status && r->route->stream && gate_control_upload_open(r))
		gate_control_fail(r, MHD_HTTP_INTERNAL_SERVER_ERROR, &r->err, GATE_ERR_FAILED,
				  "out of memory");
}

static void too_large(struct request *r)
{
	gate_control_fail(r, MHD_HTTP_CONTENT_TOO_LARGE, &r->err, GATE_ERR_USAGE,
			  "the body is larger than %d bytes", CONTROL_BODY_MAX);
}

/* A body that is announced too large, or refused before 100 Continue, never comes. */
static bool answer_now(struct request *r)
{
	const char *length = MHD_lookup_connection_value(r->conn, MHD_HEADER_KIND,
							 MHD_HTTP_HEADER_CONTENT_LENGTH);
	bool large = length && strtoull(length, NULL, 10) > CONTROL_BODY_MAX;

	if (large && !r->status && !r->route->stream)
		too_large(r);
	return r->status && (large || MHD_lookup_connection_value(r->conn, MHD_HEADER_KIND,
								  MHD_HTTP_HEADER_EXPECT));
}

/* ---- the body ---- */

static enum MHD_Result take(struct request *r, const char *data, size_t len)
{
	if (r->upload && !r->status) {
		gate_control_upload_data(r, data, len);
		return MHD_YES;
	}
	if (!r->status && r->body.len + len > CONTROL_BODY_MAX)
		too_large(r);
	if (r->status) {
		gate_buf_free(&r->body);
		r->discarded += len;
		return r->discarded > CONTROL_DISCARD_MAX ? MHD_NO : MHD_YES;
	}
	gate_buf_add(&r->body, data, len);
	return r->body.failed ? MHD_NO : MHD_YES;
}

enum MHD_Result gate_control_handle(void *arg, struct MHD_Connection *c, const char *url,
				    const char *method, const char *version, const char *data,
				    size_t *len, void **state)
{
	struct request *r = *state;
	size_t n = *len;

	if (!r) {
		r = calloc(1, sizeof(*r));
		if (!r)
			return MHD_NO;
		*state = r;
		r->ctl = arg;
		r->conn = c;
		begin(r, method, url);
		return answer_now(r) ? send_error(r) : MHD_YES;
	}
	if (!n)
		return answer(r);
	*len = 0;
	return take(r, data, n);
}

void gate_control_completed(void *arg, struct MHD_Connection *c, void **state,
			    enum MHD_RequestTerminationCode how)
{
	struct connection *own = connection_of(c);
	struct request *r = *state;

	if (own)
		own->held = 0;
	if (!r)
		return;
	gate_control_upload_free(r->upload);
	gate_buf_free(&r->body);
	free(r->rest);
	free(r);
	*state = NULL;
}
