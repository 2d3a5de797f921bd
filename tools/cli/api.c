// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Requests as docs/control-api.md has them: paths, JSON in and out, errors. */
#include "cli.h"
#include "http.h"
#include "parse.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ANSWER_TIMEOUT_S 30

/* ---- paths ---- */

static char *append_encoded(char *p, const char *s)
{
	static const char hex[] = "0123456789ABCDEF";

	for (; *s; s++) {
		unsigned char ch = (unsigned char)*s;
		bool plain = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') ||
			     (ch >= '0' && ch <= '9') || strchr("-._~", ch);

		if (plain) {
			*p++ = (char)ch;
			continue;
		}
		*p++ = '%';
		*p++ = hex[ch >> 4];
		*p++ = hex[ch & 15];
	}
	*p = '\0';
	return p;
}

char *cli_path(const char *prefix, const char *name, const char *query)
{
	size_t query_len = query && *query ? strlen(query) + 1 : 0;
	char *path = malloc(strlen(prefix) + 3 * strlen(name) + query_len + 1);

	if (!path)
		return NULL;
	strcpy(path, prefix);
	append_encoded(path + strlen(path), name);
	if (query_len) {
		strcat(path, "?");
		strcat(path, query);
	}
	return path;
}

int cli_query(char **query, const char *key, const char *value)
{
	size_t used = *query ? strlen(*query) : 0;
	char *grown = realloc(*query, used + strlen(key) + 3 * strlen(value) + 3);

	if (!grown)
		return -ENOMEM;
	*query = grown;
	grown[used] = '\0';
	sprintf(grown + used, "%s%s=", used ? "&" : "", key);
	append_encoded(grown + strlen(grown), value);
	return 0;
}

/* ---- answers ---- */

struct body {
	char *data;
	size_t len, room;
};

static int keep(void *arg, int status, const char *data, size_t len)
{
	struct body *b = arg;

	if (b->len + len > b->room) {
		size_t room = b->room ? 2 * b->room : 4096;
		char *grown;

		while (room < b->len + len)
			room *= 2;
		grown = realloc(b->data, room);
		if (!grown)
			return -ENOMEM;
		b->data = grown;
		b->room = room;
	}
	memcpy(b->data + b->len, data, len);
	b->len += len;
	return 0;
}

static enum gate_error_code code_of(const char *name, int status)
{
	static const struct {
		const char *name;
		int status;
		enum gate_error_code code;
	} codes[] = {
		{ "usage", 400, GATE_ERR_USAGE },     { "no_subject", 404, GATE_ERR_NO_SUBJECT },
		{ "denied", 403, GATE_ERR_DENIED },   { "conflict", 409, GATE_ERR_CONFLICT },
		{ "too_large", 413, GATE_ERR_USAGE }, { "failed", 500, GATE_ERR_FAILED },
	};

	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		if (name ? strcmp(name, codes[i].name) == 0 : status == codes[i].status)
			return codes[i].code;
	}
	return GATE_ERR_FAILED;
}

/* The error of an answer that is none of 2xx, in the daemon's own words. */
static int refused(int status, const struct body *b, struct gate_error *err)
{
	json_t *root = json_loadb(b->data ? b->data : "", b->len, 0, NULL);
	const json_t *error = json_object_get(root, "error");
	const char *message = cli_str(error, "message");
	enum gate_error_code code = code_of(cli_str(error, "code"), status);
	int ret;

	if (message)
		ret = gate_error_set(err, code, "%s", message);
	else
		ret = gate_error_set(err, code, "gate25d answered with HTTP status %d", status);
	json_decref(root);
	return ret;
}

/* sudo: the history should name the person too. Only root can say so. */
static const char *actor(void)
{
	const char *name = geteuid() == 0 ? getenv("SUDO_USER") : NULL;

	return name && gate_name_valid(name) ? name : NULL;
}

static int exchange(struct cli *c, const char *method, const char *path, char *text, int *status,
		    struct body *b, struct gate_error *err)
{
	struct http_request r = {
		.method = method,
		.path = path,
		.actor = actor(),
		.body = text,
		.body_len = text ? strlen(text) : 0,
		.body_fd = -1,
		.timeout_s = ANSWER_TIMEOUT_S,
	};
	int ret = http_exchange(c->socket, &r, status, keep, b, err);

	if (ret == -ENOMEM)
		return gate_error_set(err, GATE_ERR_FAILED, "out of memory");
	return ret;
}

int cli_call(struct cli *c, const char *method, const char *path, const json_t *body, json_t **out,
	     struct gate_error *err)
{
	char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	struct body b = { 0 };
	json_t *root = NULL;
	int status = 0, ret;

	if (!path || (body && !text)) {
		free(text);
		return gate_error_set(err, GATE_ERR_FAILED, "out of memory");
	}
	ret = exchange(c, method, path, text, &status, &b, err);
	if (!ret && (status < 200 || status > 299))
		ret = refused(status, &b, err);
	if (!ret && out) {
		root = json_loadb(b.data ? b.data : "", b.len, 0, NULL);
		if (!json_is_object(root)) {
			json_decref(root);
			ret = gate_error_set(err, GATE_ERR_FAILED,
					     "the answer is not of gate25's control API: no JSON");
		} else {
			*out = root;
		}
	}
	free(b.data);
	free(text);
	return ret;
}

/* ---- streams ---- */

struct stream {
	int (*sink)(void *, const char *, size_t);
	void *arg;
	struct body error; /* what an answer that is none of 2xx holds */
};

static int pass_on(void *arg, int status, const char *data, size_t len)
{
	struct stream *s = arg;

	if (status < 200 || status > 299)
		return keep(&s->error, status, data, len);
	return s->sink(s->arg, data, len);
}

int cli_stream(struct cli *c, const char *method, const char *path, int body_fd, int timeout_s,
	       int (*sink)(void *, const char *, size_t), void *arg, struct gate_error *err)
{
	struct http_request r = {
		.method = method,
		.path = path,
		.actor = actor(),
		.body_fd = body_fd,
		.timeout_s = timeout_s,
	};
	struct stream s = { .sink = sink, .arg = arg };
	int status = 0, ret;

	if (!path)
		return gate_error_set(err, GATE_ERR_FAILED, "out of memory");
	ret = http_exchange(c->socket, &r, &status, pass_on, &s, err);
	if (ret == -ENOMEM)
		ret = gate_error_set(err, GATE_ERR_FAILED, "out of memory");
	if (!ret && (status < 200 || status > 299))
		ret = refused(status, &s.error, err);
	free(s.error.data);
	return ret;
}
