// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "exporter.h"
#include "http.h"
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS 32
#define PER_ADDRESS 16	   /* who holds more keeps no other from scraping */
#define MEMORY	    262144 /* of a connection: what is written at once; others come in between */
#define SILENT_S    3	   /* until a request is there: who scrapes gives up after 10 */
#define TIMEOUT_S   10
#define BACKLOG	    32
#define PERIOD_US   (15 * 1000000ULL)
#define ACCURACY_US 1000000
#define FILE_MODE   0644

static const char text_type[] = "text/plain; version=0.0.4; charset=utf-8";
static const char openmetrics_type[] = "application/openmetrics-text; version=1.0.0; charset=utf-8";

struct gate_exporter {
	sd_event *ev;
	sd_event_source *timer;
	struct gate_metrics_source source;
	struct gate_http *http;
	char *listen, *textfile; /* "" = none */
};

/* ---- HTTP ---- */

static enum MHD_Result send_text(struct MHD_Connection *c, unsigned status, const char *type,
				 struct gate_buf *b)
{
	struct MHD_Response *response;
	enum MHD_Result result;
	size_t len;
	char *text;

	if (b->failed)
		return MHD_NO;
	text = gate_buf_steal(b, &len);
	response = MHD_create_response_from_buffer(len, text, MHD_RESPMEM_MUST_FREE);
	if (!response) {
		free(text);
		return MHD_NO;
	}
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	result = MHD_queue_response(c, status, response);
	MHD_destroy_response(response);
	return result;
}

/* A page on its way to one scraper. */
struct answer {
	struct gate_metrics_page *page;
	struct gate_buf piece;
	size_t given; /* of the piece */
};

static ssize_t read_answer(void *arg, uint64_t pos, char *buf, size_t max)
{
	struct answer *a = arg;
	size_t n, done = 0;

	while (done < max) {
		if (a->given == a->piece.len) {
			a->given = a->piece.len = 0;
			if (!gate_metrics_next(a->page, &a->piece))
				break;
			if (a->piece.failed)
				return MHD_CONTENT_READER_END_WITH_ERROR;
			continue;
		}
		n = a->piece.len - a->given < max - done ? a->piece.len - a->given : max - done;
		memcpy(buf + done, a->piece.data + a->given, n);
		a->given += n;
		done += n;
	}
	return done ? (ssize_t)done : MHD_CONTENT_READER_END_OF_STREAM;
}

static void free_answer(void *arg)
{
	struct answer *a = arg;

	gate_metrics_close(a->page);
	gate_buf_free(&a->piece);
	free(a);
}

static enum MHD_Result send_page(struct gate_exporter *x, struct MHD_Connection *c,
				 bool openmetrics)
{
	struct answer *a = calloc(1, sizeof(*a));
	struct MHD_Response *response;
	enum MHD_Result result;

	if (!a || gate_metrics_open(&a->page, &x->source, openmetrics)) {
		free(a);
		return MHD_NO;
	}
	response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, MEMORY, read_answer, a,
						     free_answer);
	if (!response) {
		free_answer(a);
		return MHD_NO;
	}
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
				openmetrics ? openmetrics_type : text_type);
	result = MHD_queue_response(c, MHD_HTTP_OK, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *c, const char *url,
				  const char *method, const char *version, const char *data,
				  size_t *len, void **state)
{
	static char seen;
	struct gate_exporter *x = arg;
	struct gate_buf b = { 0 };
	bool openmetrics;

	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
		gate_buf_puts(&b, "only GET\n");
		return send_text(c, MHD_HTTP_METHOD_NOT_ALLOWED, text_type, &b);
	}
	if (!*state) { /* an answer to the first call would end the connection */
		*state = &seen;
		MHD_set_connection_option(c, MHD_CONNECTION_OPTION_TIMEOUT, (unsigned)TIMEOUT_S);
		return MHD_YES;
	}
	if (*len) /* a GET with a body */
		return MHD_NO;
	if (strcmp(url, "/metrics") != 0) {
		gate_buf_puts(&b, "gate25: the metrics are at /metrics\n");
		return send_text(c, strcmp(url, "/") ? MHD_HTTP_NOT_FOUND : MHD_HTTP_OK, text_type,
				 &b);
	}
	openmetrics = gate_metrics_accepts_openmetrics(
		MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT));
	return send_page(x, c, openmetrics);
}

/* "127.0.0.1:9625", "[::1]:9625", ":9625" -> host and port in place. */
static int split_address(char *text, char **host, char **port)
{
	char *colon = strrchr(text, ':');

	if (!colon || !colon[1])
		return -EINVAL;
	*colon = '\0';
	*port = colon + 1;
	*host = text;
	if (*text == '[') {
		if (colon == text + 1 || colon[-1] != ']')
			return -EINVAL;
		colon[-1] = '\0';
		*host = text + 1;
	}
	return 0;
}

static int listen_on(const struct addrinfo *a)
{
	int fd, one = 1, r;

	fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, a->ai_addr, a->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0) {
		r = -errno;
		close(fd);
		return r;
	}
	return fd;
}

static int open_socket(const char *address)
{
	struct addrinfo hints = {
		.ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV,
		.ai_socktype = SOCK_STREAM,
	};
	struct addrinfo *list = NULL;
	char *copy = strdup(address), *host, *port;
	int fd = -EINVAL;

	if (!copy)
		return -ENOMEM;
	if (!split_address(copy, &host, &port) &&
	    !getaddrinfo(*host ? host : NULL, port, &hints, &list)) {
		fd = listen_on(list);
		freeaddrinfo(list);
	}
	free(copy);
	return fd;
}

static void try_listen(struct gate_exporter *x)
{
	struct gate_http_setup http = {
		.connections = CONNECTIONS,
		.per_address = PER_ADDRESS,
		.timeout_s = SILENT_S,
		.memory = MEMORY,
		.what = "the metrics",
		.handler = on_request,
		.arg = x,
	};
	struct gate_error err;

	if (x->http || !x->listen[0])
		return;
	http.fd = open_socket(x->listen);
	if (http.fd < 0) {
		gate_engine_problem_set(x->source.engine, "metrics", "listen",
					"cannot serve metrics on %s: %s", x->listen,
					strerror(-http.fd));
		return;
	}
	if (gate_http_open(&x->http, x->ev, &http, &err)) {
		gate_engine_problem_set(x->source.engine, "metrics", "listen", "%s", err.message);
		return;
	}
	gate_engine_problem_clear(x->source.engine, "metrics", "listen");
	log_info("metrics are served on %s", x->listen);
}

/* ---- textfile ---- */

static int write_all(int fd, const char *data, size_t len)
{
	ssize_t n;

	while (len) {
		n = write(fd, data, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

int gate_exporter_write_file(const struct gate_metrics_source *s, const char *path)
{
	_cleanup_buf_ struct gate_buf b = { 0 };
	char *temporary = NULL;
	int fd, r;

	r = gate_metrics_build(s, false, &b);
	if (r)
		return r;
	/* node_exporter reads *.prom only */
	if (asprintf(&temporary, "%s.%d.new", path, (int)getpid()) < 0)
		return -ENOMEM;
	fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, FILE_MODE);
	if (fd < 0) {
		r = -errno;
	} else {
		/* whatever the umask, which is 027 in the unit: the collector is another user */
		r = fchmod(fd, FILE_MODE) < 0 ? -errno : write_all(fd, b.data, b.len);
		if (close(fd) < 0 && !r)
			r = -errno;
		if (!r && rename(temporary, path) < 0)
			r = -errno;
		if (r)
			unlink(temporary);
	}
	free(temporary);
	return r;
}

static void try_file(struct gate_exporter *x)
{
	int r;

	if (!x->textfile[0])
		return;
	r = gate_exporter_write_file(&x->source, x->textfile);
	if (r)
		gate_engine_problem_set(x->source.engine, "metrics", "textfile",
					"cannot write the metrics to %s: %s", x->textfile,
					strerror(-r));
	else
		gate_engine_problem_clear(x->source.engine, "metrics", "textfile");
}

/* ---- life ---- */

static int on_timer(sd_event_source *s, uint64_t usec, void *arg)
{
	struct gate_exporter *x = arg;

	try_listen(x);
	try_file(x);
	sd_event_source_set_time_relative(s, PERIOD_US);
	sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
	return 0;
}

int gate_exporter_reconfigure(struct gate_exporter *x, const struct gate_config *c)
{
	char *listen_copy = strdup(c->listen ? c->listen : "");
	char *textfile = strdup(c->textfile ? c->textfile : "");

	if (!listen_copy || !textfile) {
		free(listen_copy);
		free(textfile);
		return -ENOMEM;
	}
	if (!x->listen || strcmp(x->listen, listen_copy) != 0) {
		gate_http_close(x->http);
		x->http = NULL;
		gate_engine_problem_clear(x->source.engine, "metrics", "listen");
	}
	if (x->textfile && strcmp(x->textfile, textfile) != 0)
		gate_engine_problem_clear(x->source.engine, "metrics", "textfile");
	free(x->listen);
	free(x->textfile);
	x->listen = listen_copy;
	x->textfile = textfile;
	x->source.per_vm = c->per_vm;
	try_listen(x);
	/* and the file at once, not at the end of a period */
	sd_event_source_set_time(x->timer, 0);
	sd_event_source_set_enabled(x->timer, SD_EVENT_ONESHOT);
	return 0;
}

int gate_exporter_open(struct gate_exporter **out, sd_event *ev,
		       const struct gate_metrics_source *s, const struct gate_config *c,
		       struct gate_error *err)
{
	struct gate_exporter *x = calloc(1, sizeof(*x));

	if (!x)
		return gate_error_set(err, GATE_ERR_FAILED, "out of memory");
	x->ev = ev;
	x->source = *s;
	if (sd_event_add_time_relative(ev, &x->timer, CLOCK_MONOTONIC, 0, ACCURACY_US, on_timer,
				       x) < 0 ||
	    gate_exporter_reconfigure(x, c) < 0) {
		gate_exporter_close(x);
		return gate_error_set(err, GATE_ERR_FAILED, "cannot serve the metrics");
	}
	*out = x;
	return 0;
}

void gate_exporter_close(struct gate_exporter *x)
{
	if (!x)
		return;
	sd_event_source_disable_unref(x->timer);
	gate_http_close(x->http);
	free(x->listen);
	free(x->textfile);
	free(x);
}
